"""Where the time of encoding goes, part by part, in processor seconds of one thread.

    python -m benchmarks.parts --model pocket --documents 64 --words 1000

Documents are docstrings of scikit-learn, cut at 128 tokens; they go through the model into a store in a temporary
folder, as a run does it. A part that calls another is not charged for it. What no part is charged for is "other":
routers, sums with residuals, casts, and the interpreter between them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.nn import functional
from transformers import AttentionInterface

from benchmarks import bench, checkpoint
from moee_topics import embed
from moee_topics.corpus.docstrings import package_docstrings
from moee_topics.encode import MoEEncoder, encoder, router
from moee_topics.encode.models import PACKED, attention, integer_products, numba_kernels
from moee_topics.encode.models import experts as mixtures
from moee_topics.encode.prompts import PromptTokenizer
from moee_topics.store import EmbeddingStore

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("tokenizing", PromptTokenizer, "sequences"),
    ("packing", encoder, "plan_packs"),
    ("matrix products", functional, "linear"),
    ("matrix products", torch.Tensor, "__matmul__"),
    ("matrix products", integer_products.IntegerMatrix, "product"),
    ("whole numbers beside their products", integer_products, "rounded"),
    ("whole numbers beside their products", integer_products, "gated_and_rounded"),
    ("whole numbers beside their products", integer_products, "scaled"),
    ("whole numbers beside their products", integer_products, "add_scaled"),
    ("norms, rotations and gates", numba_kernels, "_in_threads"),
    ("experts beside their products", mixtures, "_all_at_once"),
    ("experts beside their products", mixtures, "_one_by_one"),
    ("pooling", encoder, "pool"),
    ("pooling", router.RouterCapture, "_keep"),
    ("hashing", embed, "content_hash"),
    ("rounding and writing", EmbeddingStore, "write"),
)


class Clock:
    """Processor seconds by part; what is inside another part is charged to the inner one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._open: list[str] = ["other"]
        self._since = time.process_time()

    def charge(self) -> None:
        """What has passed since the last call, to the part that is open."""
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, charged to a part."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.charge()
            self._open.append(part)
            try:
                return work(*args, **kwargs)
            finally:
                self.charge()
                self._open.pop()

        return wrapped


@contextmanager
def clocked() -> Iterator[Clock]:
    """A clock on every part while it is open."""
    clock = Clock()
    with ExitStack() as patched:
        for part, owner, name in PARTS:
            patched.enter_context(mock.patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        AttentionInterface.register(PACKED, clock.timed("attention", attention.packed_attention))
        patched.callback(AttentionInterface.register, PACKED, attention.packed_attention)
        clock.charge()
        clock.seconds.clear()
        yield clock
        clock.charge()


def measure(model: MoEEncoder, texts: Sequence[str]) -> dict[str, Any]:
    """Seconds by part, the share of each, and tokens a processor second, of texts that go into a new store."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = model.report.tokens
        with clocked() as clock:
            embed.Embedder.of(model, Path(folder)).ensure_texts(texts)
        total = sum(clock.seconds.values())
        read = model.report.tokens - tokens
    shares = {part: seconds / total for part, seconds in clock.seconds.most_common()}
    return {"texts": len(texts), "tokens": read, "seconds": total, "tokens_per_second": read / total, "shares": shares}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--quantize", help="by default auto")
    parser.add_argument("--vocabulary", type=int, help="of a checkpoint that bench.py wrote, whose words are read")
    parser.add_argument("--output", type=Path, default=bench.RESULTS / "parts.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = MoEEncoder.from_pretrained(given.model, max_tokens=128, dtype=given.dtype, quantize=given.quantize)
    model.shortens = False  # of few layers the last one is half the work, of many a small part
    if given.vocabulary:
        texts = checkpoint.texts_of([120] * given.documents, given.vocabulary)
        words = checkpoint.texts_of([1] * given.words, given.vocabulary, seed=1)
    else:
        found = [str(record.text) for record in package_docstrings("sklearn", 600)]
        texts = sorted(found, key=len)[-given.documents :]
        words = sorted({word for text in found for word in text.lower().split() if word.isalpha()})[: given.words]
    model.encode(texts[:2])  # fills caches
    result = {"documents": measure(model, texts), "words": measure(model, words)}
    result |= {"dtype": model.spec.dtype, "quantize": model.spec.quantize}
    settings = bench.Settings(threads=1)
    from moee_topics.store import write_json

    write_json(given.output, bench.surroundings(settings) | {"model": given.model} | result, indent=2)
    for name in ("documents", "words"):
        bench.say(f"{name}: {result[name]['tokens_per_second']:,.0f} tokens a second")
        for part, share in result[name]["shares"].items():
            bench.say(f"    {part} {share:.1%}")


if __name__ == "__main__":
    main()
