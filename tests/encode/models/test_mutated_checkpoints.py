"""Checkpoints with a value or bytes of one file changed: an encoding of finite numbers, or our error in words."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated, mutated_json

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import MoEETopicsError

SEED = 20261125
FILES = ("config.json", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
KEYS = ("auto_map", "quantization_config", "text_config", "dtype", "model_type", "num_experts", "rope_parameters")


def mutate(folder: Path, rng: random.Random) -> tuple[Path, bytes]:
    """Changes one file of a checkpoint, and gives it with what was in it."""
    weights = sorted(path.name for path in folder.glob("*.safetensors"))
    file = folder / rng.choice([*FILES, rng.choice(weights)])
    before = file.read_bytes()
    if file.suffix == ".json":
        file.write_bytes(mutated_json(before, rng, KEYS))
    else:  # the header, and a little of what follows
        file.write_bytes(mutated(before, rng, within=int.from_bytes(before[:8], "little") + 16))
    return file, before


@pytest.mark.parametrize("tries", [40, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_checkpoint_encodes_or_is_refused(tiny_olmoe: Path, tmp_path: Path, tries: int) -> None:
    rng, outcomes, folder = random.Random(SEED), Counter[str](), Path(shutil.copytree(tiny_olmoe, tmp_path / "model"))
    for _ in range(tries):
        file, before = mutate(folder, rng)
        try:
            vectors = MoEEncoder.from_pretrained(folder, dtype="float32", prompt="none").encode(["a text", "the fox"])
            assert np.isfinite(vectors.hidden_states).all() and not np.isnan(vectors.router_logits).any()
            outcomes["encoded"] += 1
        except MoEETopicsError:
            outcomes["refused"] += 1
        file.write_bytes(before)
    assert outcomes["encoded"] and outcomes["refused"]
