"""The wall: embeddings on disk, raw and in float16, so that nothing below it ever encodes again.

One folder per key (everything a vector depends on), in it::

    key.json                     what was encoded how
    shard-<digest>.safetensors   ids, content hashes and arrays of some documents; key and checksum in its metadata
    index.json                   the finished shards with size and checksum; can always be rebuilt from them
    writer.lock, writer.json     held while a process writes; writer-PART.* by one of several that fill it at once

A shard is written under a temporary name, synced and renamed, then indexed, so a process killed at any moment loses at
most the shard it was writing. Shards are named by the digest of their content hashes and carry no times, so the same
writes give the same bytes.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
