"""The commands about models and stores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_line import call


def test_models_are_listed_and_inspected(tiny_olmoe: Path) -> None:
    assert "olmoe" in call("models", "ls").stdout
    assert {"olmoe", "qwen2_moe", "deepseek"} <= {
        item["model_type"] for item in json.loads(call("models", "ls", "--json").stdout)
    }
    card = json.loads(call("models", "inspect", tiny_olmoe, "--json").stdout)
    assert (card["family"], card["layers"], card["experts"], card["hidden_size"]) == ("olmoe", 2, 8, 64)
    assert "parameters" in call("models", "inspect", tiny_olmoe).stdout


def test_a_model_is_quantized_once_and_then_loaded_as_it_was_saved(tiny_olmoe: Path, tmp_path: Path) -> None:
    assert "0.516 bytes per expert weight" in call("models", "quantize", tiny_olmoe, tmp_path / "saved").stdout
    assert (
        json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))["quantization_config"]["kind"]
        == "nf4"
    )
    assert "parameters" in call("models", "inspect", tmp_path / "saved").stdout
    again = call("models", "quantize", tiny_olmoe, tmp_path / "saved")
    assert again.exit_code == 4


def test_a_store_is_listed_verified_and_mended(finished: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(finished / "store", tmp_path / "store"))
    assert "64 documents" in call("store", "ls", store).stdout
    assert call("store", "verify", store).exit_code == 0
    shard = next(store.glob("*/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    broken = call("store", "verify", store, "--json")
    assert broken.exit_code == 4 and [damage["name"] for damage in json.loads(broken.stdout)] == [shard.name]
    assert call("store", "verify", store, "--drop").exit_code == 0 and not shard.exists()
    assert call("store", "verify", store).exit_code == 0
