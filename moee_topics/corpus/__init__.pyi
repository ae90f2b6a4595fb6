from .document import Corpus as Corpus
from .document import CorpusCounts as CorpusCounts
from .document import Document as Document
from .open import open_corpus as open_corpus
from .settings import CorpusOptions as CorpusOptions
from .surveying import Survey as Survey
from .surveying import Surveyor as Surveyor
from .surveying import survey as survey
