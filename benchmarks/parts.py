"""Where the time of encoding goes, part by part, in processor seconds of one thread.

    python -m benchmarks.parts --documents 32 --words 1000
    python -m benchmarks.parts --layers 4 --experts 18 --documents 16 --words 200 --dtype bfloat16 --quantize none
    python -m benchmarks.parts --layers 4 --experts 18 --documents 16 --words 200 --quantize w8a8

The first reads docstrings of scikit-learn, cut at 128 tokens, by the embedded model; with ``--layers`` weights of
OLMoE's width are random, and so are the 120 words of a document. They go through the model into a store in a temporary
folder, as a run does it. A part that calls another is not charged for it. What no part is charged for is "other":
sums with residuals, casts, and the interpreter between them. The products of routers are matrix products; their choice
stands with norms where it is one pass, else under "other". Each model and arithmetic is a line of the file, which is
replaced when it is measured again.
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
from benchmarks.checkpoint import Shape
from moee_topics import embed
from moee_topics.corpus.docstrings import package_docstrings
from moee_topics.encode import MoEEncoder, encoder, router
from moee_topics.encode.kernels import numba_kernels
from moee_topics.encode.models import PACKED, attention
from moee_topics.encode.models import experts as mixtures
from moee_topics.encode.prompts import PromptTokenizer
from moee_topics.encode.quantization import integer_products
from moee_topics.store import EmbeddingStore, read_json, write_json

PRODUCTS = "matrix products"
"""Of the dense layers; those that experts ask for are a part of their own."""
PARTS: tuple[tuple[str, Any, str], ...] = (
    ("tokenizing", PromptTokenizer, "sequences"),
    ("packing", encoder, "plan_packs"),
    (PRODUCTS, functional, "linear"),
    (PRODUCTS, torch.Tensor, "__matmul__"),
    (PRODUCTS, integer_products.IntegerMatrix, "product"),
    ("integers beside their products", integer_products, "rounded"),
    ("integers beside their products", integer_products, "gated_and_rounded"),
    ("integers beside their products", integer_products, "scaled"),
    ("integers beside their products", integer_products, "add_scaled"),
    # And the attention of words, and the choice of a router by sigmoids.
    ("norms, rotations, gates and sums of experts", numba_kernels, "_in_threads"),
    ("experts beside their products", mixtures, "_all_at_once"),
    ("experts beside their products", mixtures, "_one_by_one"),
    ("experts beside their products", mixtures, "_in_integers"),
    ("gathering the rows of experts", mixtures, "_filled_up"),
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
            is_of_experts = part == PRODUCTS and self._open[-1].startswith("experts")
            self._open.append(f"{PRODUCTS} of experts" if is_of_experts else part)
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
    parts = clock.seconds.most_common()
    return {
        "texts": len(texts),
        "tokens": read,
        "seconds": total,
        "tokens_per_second": read / total,
        "shares": {part: seconds / total for part, seconds in parts},
        "microseconds_a_token": {part: 1e6 * seconds / read for part, seconds in parts},
    }


def profile(given: argparse.Namespace, model: str | Path, texts: list[str], words: list[str]) -> dict[str, Any]:
    """What documents and words cost, part by part, with the versions and the machine."""
    torch.set_num_threads(1)
    encoder = MoEEncoder.from_pretrained(model, max_tokens=128, dtype=given.dtype, quantize=given.quantize)
    encoder.shortens = False  # of few layers the last one is half the work, of many a small part
    encoder.encode(texts[:2])  # fills caches
    result = {"documents": measure(encoder, texts), "words": measure(encoder, words)}
    arithmetic = {"dtype": encoder.spec.dtype, "quantize": encoder.spec.quantize}
    return bench.surroundings(bench.Settings(threads=1)) | arithmetic | result


def of_random_weights(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The name and the profile of a checkpoint of OLMoE's width, which is written into a temporary folder."""
    shape = Shape(layers=given.layers, experts=given.experts, vocabulary=12_000)
    texts = checkpoint.texts_of([120] * given.documents, shape.vocabulary)
    words = checkpoint.single_words(given.words, shape.vocabulary, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        found = profile(given, checkpoint.write_checkpoint(Path(folder), shape), texts, words)
    return f"OLMoE's width, {given.layers} layers of {given.experts} experts, random weights", found


def of_a_model(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The name and the profile of a model, on docstrings."""
    found = [str(record.text) for record in package_docstrings("sklearn", 600)]
    texts = sorted(found, key=len)[-given.documents :]
    words = sorted({word for text in found for word in text.lower().split() if word.isalpha()})[: given.words]
    return given.model, profile(given, given.model, texts, words)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--layers", type=int, help="of random weights of OLMoE's width, instead of a model")
    parser.add_argument("--experts", type=int, default=64, help="of a layer of random weights; a token goes to eight")
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--quantize", help="by default auto")
    parser.add_argument("--output", type=Path, default=bench.RESULTS / "parts.json")
    given = parser.parse_args(arguments)
    name, found = of_random_weights(given) if given.layers else of_a_model(given)
    name += f", {found['quantize']} {found['dtype']}"
    write_json(given.output, read_json(given.output, default={}) | {name: found}, indent=2)
    for kind in ("documents", "words"):
        bench.say(f"{name}, {kind}: {found[kind]['tokens_per_second']:,.0f} tokens a second")
        for part, share in found[kind]["shares"].items():
            bench.say(f"    {part} {share:.1%}, {found[kind]['microseconds_a_token'][part]:,.1f} microseconds a token")


if __name__ == "__main__":
    main()
