"""Turn the open pretraining texts into a tokenizer and packed token rows.

    python -m pocket.prepare --data ../shared/data --out build/pocket

Writes ``tokenizer/`` (a BOS-free byte-level BPE as ``PreTrainedTokenizerFast`` files), ``train.npy`` and
``held_out.npy`` (``uint16 [rows, length + 1]``) and ``meta.json`` (what went in, per source).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.datasets import fetch_20newsgroups
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

log = logging.getLogger("pocket.prepare")

END = "<|endoftext|>"
SPACE = re.compile(r"\s+")
SHORTEST_MATCH = 40


@dataclass(frozen=True)
class Source:
    """One pretraining file, its share of the tokens and its licence."""

    name: str
    file: str
    share: float
    licence: str


SOURCES = (
    Source("wikipedia", "wikipedia.parquet", 0.35, "CC BY-SA 3.0"),
    Source("reddit", "reddit_selftext.parquet", 0.30, "PDDL 1.0 (as stated by its collector)"),
    Source("arxiv", "arxiv_abstracts.parquet", 0.20, "CC0 1.0"),
    Source("wikinews", "wikinews.parquet", 0.15, "CC BY 2.5"),
)


def normalised_hash(text: str) -> bytes:
    """Return a hash that ignores case and white space."""
    return hashlib.blake2b(SPACE.sub(" ", text).strip().lower().encode(), digest_size=12).digest()


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string inside a decoded JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings_in(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings_in(item))


def newsgroup_posts(data_home: Path) -> Iterator[str]:
    """Yield all 20 Newsgroups posts, whole and without their headers, as scikit-learn reads its own cache."""
    if not data_home.is_dir():
        return
    for post in fetch_20newsgroups(data_home=data_home, subset="all", download_if_missing=False).data:
        yield post
        yield post.partition("\n\n")[2]


def evaluation_texts(data: Path) -> Iterator[str]:
    """Yield every text of every evaluation set under ``data``."""
    for path in sorted(data.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                yield from strings_in(record)
                if isinstance(record, dict) and {"text", "abstract"} <= record.keys():
                    yield f"{record['text']}\n{record['abstract']}"
    yield from newsgroup_posts(data / "scikit_learn_data")


def forbidden_hashes(data: Path) -> set[bytes]:
    """Hash the evaluation texts long enough for an equal text to be the same document."""
    return {normalised_hash(text) for text in evaluation_texts(data) if len(text) >= SHORTEST_MATCH}


def is_forbidden(text: str, forbidden: set[bytes]) -> bool:
    """Whether the document, its first line or the rest is an evaluation text."""
    title, _, body = text.partition("\n")
    return any(len(part) >= SHORTEST_MATCH and normalised_hash(part) in forbidden for part in (text, title, body))


def read_documents(path: Path, rng: np.random.Generator, forbidden: set[bytes]) -> tuple[list[str], int]:
    """Read, filter and shuffle one source; return its documents and how many were dropped."""
    texts = [text.strip() for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]
    kept = [text for text in texts if len(text) >= 80 and not is_forbidden(text, forbidden)]
    assert not any(normalised_hash(text) in forbidden for text in kept)
    return [kept[i] for i in rng.permutation(len(kept))], len(texts) - len(kept)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE; the end mark is also the pad token, and nothing is put in front of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, unk_token=END, model_max_length=512
    )


def take_bytes(texts: list[str], budget: float, longest: int = 20_000) -> list[str]:
    """Return leading documents, each cut at ``longest`` characters, up to a total of ``budget`` characters."""
    ends = np.cumsum([min(len(text), longest) for text in texts])
    return [text[:longest] for text in texts[: int(np.searchsorted(ends, budget)) + 1]]


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str], budget: int) -> list[np.ndarray]:
    """Encode documents until ``budget`` tokens are reached, each ended by the end mark."""
    found: list[np.ndarray] = []
    total = 0
    for start in range(0, len(texts), 1000):
        batch = tokenizer.backend_tokenizer.encode_batch_fast(texts[start : start + 1000])
        found += [np.array([*item.ids, tokenizer.eos_token_id], dtype=np.uint16) for item in batch]
        total += sum(len(ids) for ids in found[start:])
        if total >= budget:
            break
    return found


def pack(documents: list[np.ndarray], length: int, rng: np.random.Generator) -> np.ndarray:
    """Join shuffled documents, cut and shuffle rows: ``uint16 [rows, length + 1]``."""
    stream = np.concatenate([documents[i] for i in rng.permutation(len(documents))])
    rows = len(stream) // (length + 1)
    return rng.permutation(stream[: rows * (length + 1)].reshape(rows, length + 1))


def tokenizer_sample(corpora: dict[str, list[str]], size: int) -> list[str]:
    """Draw ``size`` characters from the sources in the proportions of the mix."""
    return [text for source in SOURCES for text in take_bytes(corpora[source.name], size * source.share)]


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Run the whole preparation and return what ``meta.json`` holds."""
    rng = np.random.default_rng(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    forbidden = forbidden_hashes(options.data)
    log.info("%d evaluation texts stay out", len(forbidden))
    meta: dict[str, Any] = {"length": options.length, "evaluation_texts": len(forbidden), "sources": {}}
    corpora: dict[str, list[str]] = {}
    for source in SOURCES:
        corpora[source.name], dropped = read_documents(options.data / "pretraining" / source.file, rng, forbidden)
        meta["sources"][source.name] = {"licence": source.licence, "dropped": dropped}
        log.info("%s: %d documents, %d dropped", source.name, len(corpora[source.name]), dropped)
    tokenizer = train_tokenizer(tokenizer_sample(corpora, options.tokenizer_characters), options.vocabulary)
    tokenizer.save_pretrained(options.out / "tokenizer")
    log.info("tokenizer of %d tokens", len(tokenizer))
    documents: list[np.ndarray] = []
    for source in SOURCES:
        texts = take_bytes(corpora[source.name], 6.0 * options.tokens * source.share)
        encoded = encode(tokenizer, texts, int(options.tokens * source.share))
        tokens = sum(map(len, encoded))
        size = sum(len(text.encode()) for text in texts[: len(encoded)])
        meta["sources"][source.name] |= {"documents": len(encoded), "tokens": tokens, "bytes_per_token": size / tokens}
        log.info("%s: %s", source.name, meta["sources"][source.name])
        documents += encoded
    rows = pack(documents, options.length, rng)
    np.save(options.out / "held_out.npy", rows[: options.held_out])
    np.save(options.out / "train.npy", rows[options.held_out :])
    meta |= {"vocabulary": len(tokenizer), "train_tokens": int(rows[options.held_out :].size)}
    (options.out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    return meta


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and prepare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket"))
    parser.add_argument("--vocabulary", type=int, default=12_288)
    parser.add_argument("--tokens", type=int, default=60_000_000)
    parser.add_argument("--tokenizer-characters", type=int, default=24_000_000)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--held-out", type=int, default=512, help="rows kept for the held-out loss")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if not (options.data / "pretraining").is_dir():
        parser.exit(0, f"skipped: no pretraining texts under {options.data}\n")
    started = time.perf_counter()
    prepare(options)
    log.info("done in %.0f s", time.perf_counter() - started)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
