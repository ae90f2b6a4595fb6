from __future__ import annotations

import os
from pathlib import Path

import pytest

# The suite gives the same answers on every machine, so it sees no GPU; `make test-gpu` runs what is about one.
if not os.environ.get("MOEE_TOPICS_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from tiny_models import save_checkpoint, tiny_olmoe_config, tiny_qwen2_moe_config


@pytest.fixture(scope="session")
def tiny_olmoe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random OLMoE with config, tokenizer.json and sharded per-expert safetensors."""
    return save_checkpoint(tiny_olmoe_config(), tmp_path_factory.mktemp("hub") / "tiny-olmoe")


@pytest.fixture(scope="session")
def tiny_qwen2_moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Qwen2-MoE: one dense layer, two sparse ones, a shared expert."""
    return save_checkpoint(tiny_qwen2_moe_config(), tmp_path_factory.mktemp("hub") / "tiny-qwen2-moe")
