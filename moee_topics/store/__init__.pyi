from .files import writing_alone as writing_alone
from .keys import JSON as JSON
from .keys import content_hash as content_hash
from .keys import key_digest as key_digest
from .shard import DamagedShard as DamagedShard
from .shard import Shard as Shard
from .shard import write_shard as write_shard
from .store import EmbeddingStore as EmbeddingStore
