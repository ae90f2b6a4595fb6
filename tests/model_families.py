"""The model families that every test of a family goes through."""

from __future__ import annotations

import pytest

from moee_topics.encode.models.families import FAMILIES

POPULAR = [
    "olmoe",
    "flex_olmo",
    "qwen2_moe",
    "qwen3_moe",
    "qwen3_next",
    "mixtral",
    "deepseek_v2",
    "deepseek_v3",
    "gpt_oss",
    "granitemoe",
    "phimoe",
    "ernie4_5_moe",
    "glm4_moe",
    "dots1",
    "hunyuan_v1_moe",
    "lfm2_moe",
    "minimax",
    "llama4_text",
    "jetmoe",
]
DECODERS = sorted(FAMILIES.keys() - {"deepseek"})


def every(families: list[str]) -> list[object]:
    """Popular families run always, the others where slow tests do."""
    return [pytest.param(name, marks=() if name in POPULAR else pytest.mark.slow) for name in families]
