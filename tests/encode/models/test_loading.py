"""Loading: what a checkpoint's files ask for is not done, and what this machine lacks is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import encoder_of
from safetensors.torch import load_file, save_file
from tiny_models import save_checkpoint, tiny_olmoe_config

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.encoder_source import EncoderSource
from moee_topics.encode.models import load_model
from moee_topics.encode.models.loading import _in_one_type, device_of, load_config
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import InputError, ModelError

KERNEL = "someone/a-kernel"


def test_the_attention_that_a_configuration_names_is_not_taken(tiny_olmoe: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_olmoe / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "attn_implementation": KERNEL}), encoding="utf-8")
    assert load_config(tmp_path)._attn_implementation is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "nothing", "meta", "mps:1", "cpu:1", "xla"])
def test_a_device_that_is_not_here_is_refused_by_name_before_a_file_is_read(device: str) -> None:
    for ask in (lambda: EncoderSource(EncoderSettings("no/model", device=device)).device, lambda: device_of(device)):
        with pytest.raises(InputError, match=rf"encoder\.device is '{device}'"):
            ask()
    with pytest.raises(InputError, match=r"encoder\.device"):
        MoEEncoder.from_pretrained("no/model", device=device)


def test_without_a_name_the_device_is_the_best_there_is() -> None:
    assert device_of(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_missing_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="folder in hub layout"):
        MoEEncoder.from_pretrained("nobody/no-such-model")
    with pytest.raises(ModelError, match="holds no model"):
        MoEEncoder.from_pretrained(tmp_path)


def test_weights_that_are_missing_from_a_checkpoint_are_an_error(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny_olmoe_config(), tmp_path / "model", shard_size="5GB")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*norm\.weight"):
        encoder_of(folder)


def test_loading_leaves_no_weight_in_a_mapped_file(tiny_olmoe: Path) -> None:
    model, _ = load_model(EncoderSettings(str(tiny_olmoe), dtype="float32"))
    storages = {parameter.untyped_storage().nbytes() for parameter in model.parameters()}
    assert max(storages) == max(parameter.nbytes for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not model.training


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU multiplies them as they are")
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_float8_of_transformers_is_read_in_one_type_whatever_lies_beside_it(
    tmp_path: Path, stored: torch.dtype, dtype: str
) -> None:
    plain, few_bits = (save_checkpoint(tiny_olmoe_config(), tmp_path / name, shard_size="5GB") for name in ("a", "b"))
    weights = {name: weight.to(stored) for name, weight in load_file(plain / "model.safetensors").items()}
    codes, scale = dict(weights), 1 / 64
    for name in [name for name in weights if "proj" in name]:
        codes[name] = (weights[name].float() / scale).to(torch.float8_e4m3fn)
        codes[f"{name}_scale_inv"] = torch.full((1, 1), scale)
        weights[name] = codes[name].float() * scale
    for folder, tensors in ((plain, weights), (few_bits, codes)):
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (few_bits / "config.json").write_text(json.dumps(config), encoding="utf-8")
    read, expected = (
        encoder_of(folder, dtype=dtype).encode(["a rocket orbits the moon"]).hidden_states
        for folder in (few_bits, plain)
    )
    np.testing.assert_allclose(read, expected, rtol=1e-5, atol=1e-5)


def test_modules_that_a_family_keeps_in_float32_stay_so_and_no_other_of_a_like_name() -> None:
    model: Any = torch.nn.ModuleDict({"gate": torch.nn.Linear(2, 2), "gate_proj": torch.nn.Linear(2, 2)})
    model._keep_in_fp32_modules_strict, model._keep_in_fp32_modules = {"gate"}, {"gate_proj"}
    _in_one_type(model, torch.bfloat16)
    assert model["gate"].weight.dtype == torch.float32 and model["gate_proj"].weight.dtype == torch.bfloat16
