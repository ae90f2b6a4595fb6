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


def test_stores_are_merged_and_damage_in_one_is_told(finished: Path, recipe: Path, tmp_path: Path) -> None:
    shares = [tmp_path / str(number) for number in (1, 2)]
    for share in shares:
        call("embed", recipe, "--output", share, "--shard", f"{share.name}/2")
    merged = json.loads(call("store", "merge", tmp_path / "all", *shares, "--json").stdout)
    assert [(entry["documents"], entry["new"]) for entry in merged["stores"]] == [(64, 64)] and not merged["damaged"]
    assert call("embed", recipe, "--output", tmp_path / "all", "--json").stdout.count('"encoded": 0') == 1
    shard = next(shares[1].glob("*/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    broken = call("store", "merge", tmp_path / "rest", *shares)
    assert broken.exit_code == 4 and f"{shard.name}: " in broken.stdout and "left out" in broken.stdout
