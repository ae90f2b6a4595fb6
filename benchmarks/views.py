"""What a view costs beside the pass that it is read of, and what ending the pass early saves, in processor time.

    python -m benchmarks.views --threads 1

Each way of reading encodes the same texts in turn, five times, and its fastest time is told as a share of the usual
reading's: a machine that others use makes some rounds slower, and none faster.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.encode import EncoderSettings, MoEEncoder
from moee_topics.store import write_json

READINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "one layer more": {"layers": ["last", 15]},
    "one pooling more": {"pooling": ["mean", "last_token"]},
    "frequency": {"routing": ["mean", "frequency"]},
    "five layers, four poolings": {
        "layers": ["last", 5, 10, 15, 20],
        "pooling": ["mean", "last_token", "weighted_mean", "mean_without_prompt"],
    },
    "all layers": {"layers": ["last", "all"]},
    "ends at three quarters": {"layers": 0.75, "routing": "none"},
    "ends at half": {"layers": 0.5, "routing": "none"},
}


def main() -> None:
    """Times every reading and writes what each takes of the usual one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/views.json"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    texts = [document.text for document in open_corpus(CorpusSettings("docstrings"))][: asked.texts]
    settings = {"model": asked.model, "prompt": "none", "pooling": "mean", "max_tokens": 128}
    encoder = MoEEncoder.from_settings(EncoderSettings(**settings))  # type: ignore[arg-type]
    specs = {name: spec_of(encoder, {**settings, **more}) for name, more in READINGS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in specs}
    for _ in range(asked.rounds + 1):  # the first round warms up
        for name, spec in specs.items():
            encoder.spec = spec
            started = time.process_time()
            encoder.encode_entries(texts, spec.reading.entries)
            seconds[name].append(time.process_time() - started)
    shares = {name: round(min(times[1:]) / min(seconds["usual"][1:]), 3) for name, times in seconds.items()}
    tokens = encoder.report.tokens // (len(READINGS) * (asked.rounds + 1))
    found = {"model": asked.model, "texts": len(texts), "tokens": tokens, "torch": torch.__version__}
    found |= {"threads": asked.threads, "usual_seconds": round(min(seconds["usual"][1:]), 3), "share_of_usual": shares}
    write_json(asked.output, found)
    print(json.dumps(found, indent=1))


def spec_of(encoder: MoEEncoder, options: dict[str, Any]) -> Any:
    """The spec of other views of the same weights."""
    from dataclasses import replace

    from moee_topics.encode.views import key_of_reading

    reading = EncoderSettings.checked(**options).reading(len(encoder.layers))
    return replace(encoder.spec, **{"views": (), **key_of_reading(reading)})


if __name__ == "__main__":
    main()
