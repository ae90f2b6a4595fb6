from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_checkpoint, tiny_olmoe_config, tiny_qwen2_moe_config


@pytest.fixture(scope="session")
def tiny_olmoe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random OLMoE with config, tokenizer.json and sharded per-expert safetensors."""
    return save_checkpoint(tiny_olmoe_config(), tmp_path_factory.mktemp("hub") / "tiny-olmoe")


@pytest.fixture(scope="session")
def tiny_qwen2_moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Qwen2-MoE: one dense layer, two sparse ones, a shared expert."""
    return save_checkpoint(tiny_qwen2_moe_config(), tmp_path_factory.mktemp("hub") / "tiny-qwen2-moe")
