"""Stores of a model that can be computed by eye, how to fill and to damage them, and one that 0.1.0 wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.embeddings import Embeddings
from moee_topics.store import EmbeddingStore, content_hash

KEY = {"model": "tiny", "prompt": "none", "max_tokens": 512}


DIMENSIONS, LAYERS, EXPERTS = 4, 2, 3


STEP = 5


def texts(count: int, start: int = 0) -> list[str]:
    return [f"document {i}" for i in range(start, start + count)]


def hashes_of(documents: list[str]) -> list[bytes]:
    return [content_hash(text) for text in documents]


def encode(documents: list[str], mean: bool = False) -> Embeddings:
    """A model by eye: every number of a document is its own number, divided by a power of two."""
    number = np.array([int(text.split()[1]) for text in documents], dtype=np.float32)
    logits = np.broadcast_to((number / 64)[:, None, None], (len(number), LAYERS, EXPERTS))
    hidden = np.broadcast_to((number / 8)[:, None], (len(number), DIMENSIONS))
    return Embeddings(hidden, logits, logits / 2 if mean else None)


def fill(store: EmbeddingStore, documents: list[str], step: int = STEP) -> int:
    """Encodes what is missing, ``step`` documents a shard, and says how many."""
    hashes = hashes_of(documents)
    missing = store.missing(hashes)
    for start in range(0, len(missing), step):
        rows = missing[start : start + step]
        part = [documents[i] for i in rows]
        store.write(encode(part), part, [hashes[i] for i in rows])
    return len(missing)


def make(root: Path, documents: list[str], step: int = STEP, *, key: Mapping[str, Any] = KEY) -> Path:
    with EmbeddingStore.open(root, key, writable=True) as store:
        fill(store, documents, step)
        return store.folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def assert_reads(root: Path, documents: list[str]) -> None:
    got = EmbeddingStore.open(root, KEY).read(hashes_of(documents))
    np.testing.assert_array_equal(got.hidden_states, encode(documents).hidden_states.astype(np.float16))
    np.testing.assert_array_equal(got.router_logits, encode(documents).router_logits.astype(np.float16))


def flip(path: Path, place: int, bit: int = 2) -> None:
    blob = bytearray(path.read_bytes())
    blob[place] ^= 1 << bit
    path.write_bytes(blob)


WORKER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import stores as t
kill_at, call = int(sys.argv[3]), 0
def die_at(name, after):
    real = getattr(*name)
    def wrapped(*args, **kwargs):
        global call
        if not after:
            call += 1
            if call == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if after:
            call += 1
            if call == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(*name, wrapped)
moment = sys.argv[4]
if moment == "before_sync": die_at((os, "fsync"), False)
if moment == "before_rename": die_at((Path, "replace"), False)
if moment == "after_rename": die_at((Path, "replace"), True)
t.make(Path(sys.argv[2]), t.texts(20), 5)
print("finished")
"""


def run_worker(root: Path, kill_at: int, moment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(root), str(kill_at), moment]
    return subprocess.run(command, capture_output=True)


OLD = Path(__file__).parent / "store" / "data" / "store-0.1.0"


OLD_TEXTS = ["first", "second", "dritte — ähnlich", "第四", "fifth"]


OLD_IDS = ["a", "b", "ü", "四", ""]


def old_embeddings(pooling: str) -> Embeddings:
    """What 0.1.0 was given to store."""
    number, scores = np.arange(5, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    logits = number[:, None, None] / 64 - scores
    mean = (number[:, None, None] + scores) / 16 if pooling == "mean" else None
    return Embeddings(number[:, None] / 8 + np.arange(4, dtype=np.float32), logits, mean)
