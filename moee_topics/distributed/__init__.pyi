from .fleet import Fleet as Fleet
from .share import WHOLE as WHOLE
from .share import Share as Share
