"""Folders of weights in four bits: they load as what was rounded, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from carved_models import dense, rows
from safetensors.torch import load_file, save_file
from tiny_models import tiny_tokenizer

from moee_topics.encode import MoEEncoder
from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.carving import CarveSettings
from moee_topics.encode.models import load_model
from moee_topics.encode.quantization import int4_blocks, int4_checkpoint
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import ModelError


def test_a_compact_folder_loads_as_what_was_rounded(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1))
    (tmp_path / "compact").mkdir()
    int4_checkpoint.write_compact(model, tmp_path / "compact", tiny_tokenizer())
    texts = ["Space probes orbit planets", "the goalie saves the puck and the court heard"]
    for dtype in ("bfloat16", "float32"):
        encoder = MoEEncoder.from_pretrained(tmp_path / "compact", dtype=dtype, prompt="none", pooling="mean")
        together, alone = encoder.encode(texts), encoder.encode(texts[1])
        np.testing.assert_allclose(together.hidden_states[1], alone.hidden_states[0], atol=2e-5)

    for name, weight in model.state_dict().items():
        rounded = weight.dim() >= 2 and not name.endswith("gate.weight") and "embed" not in name
        wanted = int4_blocks.rounded(weight, int4_blocks.block_scales(weight)) if rounded else weight
        assert (encoder.model.state_dict()[name] - wanted).abs().max() < (1e-6 if rounded else 0.01), name


def test_a_compact_folder_that_is_broken_is_refused(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1))
    (tmp_path / "compact").mkdir()
    int4_checkpoint.write_compact(model, tmp_path / "compact", tiny_tokenizer())
    path = next((tmp_path / "compact").glob("*.safetensors"))
    stored = load_file(path)
    name = next(name for name in stored if name.endswith(".scales"))
    for scales in ({}, {name: stored[name].reshape(-1)[:-1]}):
        save_file(
            {key: value for key, value in stored.items() if key != name} | scales, path, metadata={"format": "pt"}
        )
        with pytest.raises(ModelError, match="damaged"):
            MoEEncoder.from_pretrained(tmp_path / "compact")
    path.write_bytes(b"broken")
    with pytest.raises(ModelError, match="damaged"):
        MoEEncoder.from_pretrained(tmp_path / "compact")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of what is mapped")
def test_a_compact_folder_is_not_mapped_any_more_once_it_is_loaded(tmp_path: Path) -> None:
    """The 3 kB of the embedded model's buffers once kept the 75 MB of its files in memory."""
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1))
    int4_checkpoint.write_compact(model, tmp_path, tiny_tokenizer())
    loaded, _ = load_model(EncoderSettings(str(tmp_path), dtype="float32"))
    assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert any("e_score_correction_bias" in name for name, _ in loaded.named_buffers())
