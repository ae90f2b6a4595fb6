from . import errors as errors
from .embed import Embedder as Embedder
from .embeddings import Embeddings as Embeddings
from .encode import MoEEncoder as MoEEncoder
from .fuse import Fusion as Fusion
from .recipe import Recipe as Recipe
from .recipe import load_recipe as load_recipe
from .run import run as run
from .run_folder import RunFolder as RunFolder
from .store import EmbeddingStore as EmbeddingStore
from .topics import MoEEBackend as MoEEBackend

__version__: str
