from .fleet import Fleet as Fleet
from .ray_crew import RayCrew as RayCrew
from .settings import RaySettings as RaySettings
from .share import WHOLE as WHOLE
from .share import Share as Share
