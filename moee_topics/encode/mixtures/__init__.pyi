from .mixture_checkpoints import carve_checkpoint as carve_checkpoint
from .mixture_checkpoints import distil_checkpoint as distil_checkpoint
from .settings import CALIBRATION_TOKENS as CALIBRATION_TOKENS
from .settings import CarveSettings as CarveSettings
from .settings import DistilSettings as DistilSettings
from .settings import Grouping as Grouping
from .settings import Learn as Learn
