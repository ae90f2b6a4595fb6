"""What reading the tokens of a prompt once saves, in processor time: short texts behind a beginning that all share.

    python -m benchmarks.prefix --data ../shared/data                  # embedded model, titles of arXiv
    python -m benchmarks.prefix --data ../shared/data --olmoe-layers 2 # random weights of OLMoE's width

A beginning of 40 tokens is a long instruction, one of 400 are about eight examples. Both ways encode the same texts in
turn, some rounds; a ratio is that of the same round, and its median is told beside what the numbers of tokens allow.
Adds to benchmarks/results/prefix.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import checkpoint
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.encode import EncoderSettings, MoEEncoder
from moee_topics.store import read_json, write_json

RESULTS = Path(__file__).with_name("results") / "prefix.json"
TITLES = "arxiv_clustering/archives.jsonl.gz"
OTHERS = 64
"""Titles that beginnings are made of."""


def measured(encoder: MoEEncoder, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Seconds of both ways in each round, and the ratio that tokens allow."""
    kept, seconds = encoder.beginnings, {"every time": list[float](), "once": list[float]()}
    for number in range(rounds + 1):  # the first round warms up, and reads the beginning
        for name, beginnings in (("every time", {}), ("once", kept)):
            encoder.beginnings = beginnings
            started = time.process_time()
            encoder.encode(texts if number else texts[:4])
            if number:
                seconds[name].append(round(time.process_time() - started, 3))
    (prompted,) = encoder.prompted.values()
    sequences = prompted.sequences(list(dict.fromkeys(texts)), "truncate")
    tokens, saved = sum(len(one.ids) for one in sequences), sum(prompted.shared(one.ids) for one in sequences)
    ratios = [whole / once for whole, once in zip(seconds["every time"], seconds["once"], strict=True)]
    return {
        "beginning": len(prompted.beginning),
        "texts": len(sequences),
        "tokens": tokens,
        "tokens_of_text": tokens - saved,
        "processor_seconds": seconds,
        "ratio": round(statistics.median(ratios), 2),
        "tokens_allow": round(tokens / (tokens - saved), 2),
    }


def beginning_of(tokenizer: Any, texts: Sequence[str], tokens: int) -> str:
    """So many tokens of other texts."""
    ids = tokenizer(" ".join(texts), add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode(ids[:tokens]))


def main() -> None:
    """Measures one model behind each beginning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--olmoe-layers", type=int, default=0, help="of a random OLMoE; 0 for the embedded model")
    parser.add_argument("--beginnings", nargs="*", default=["40:192", "400:48"], help="tokens, and how many texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    source = open_corpus(CorpusSettings(str(asked.data / TITLES), text="text", limit=OTHERS + 1024))
    titles = [document.text for document in source]
    settings: dict[str, Any] = {"pooling": "mean", "max_tokens": 512}
    with tempfile.TemporaryDirectory() as folder:
        model = "pocket"
        if asked.olmoe_layers:
            shape = checkpoint.Shape(layers=asked.olmoe_layers)
            model = str(checkpoint.write_checkpoint(Path(folder), shape))
            lengths = [len(title.split()) for title in titles]
            titles = checkpoint.texts_of(lengths, shape.vocabulary)
        encoder = MoEEncoder.from_settings(EncoderSettings(model, prompt="none", **settings))
        found = []
        for tokens, texts in (map(int, each.split(":")) for each in asked.beginnings):
            beginning = beginning_of(encoder.tokenizer, titles[:OTHERS], tokens)
            prompted = encoder.with_prompt(beginning + " {text}")
            found.append(measured(prompted, titles[OTHERS : OTHERS + texts], asked.rounds))
            print(found[-1], flush=True)
        name = f"OLMoE's width, {asked.olmoe_layers} layers" if asked.olmoe_layers else "pocket"
        facts = {"dtype": encoder.spec.dtype, "threads": asked.threads, "torch": torch.__version__}
    write_json(asked.output, {**read_json(asked.output, default={}), name: {**facts, "beginnings": found}})


if __name__ == "__main__":
    main()
