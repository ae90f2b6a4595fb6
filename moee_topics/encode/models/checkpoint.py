"""What a checkpoint is, told from its files before any weight is loaded."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers.utils import cached_file

from moee_topics.encode.settings import POCKET, resolve
from moee_topics.errors import ModelError

_WHOLE = ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt")
_SAMPLES, _SAMPLE_BYTES = 64, 4096


def check_folder(folder: Path) -> None:
    """Refuses a folder whose model is not wholly in its own files.

    Raises:
        ModelError: it is an adapter, names weights elsewhere, or holds a device in the place of a file.
    """
    # transformers would take the base of an adapter from the hub where peft is installed, and forget it where not.
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} holds an adapter of another model. Merge it into that model, and give the result.")
    for path in folder.iterdir():
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path} is not a regular file, and reading it might not end. Take it out of the folder.")
    _check_config(folder / "config.json", str(folder))
    index = folder / "model.safetensors.index.json"
    shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.is_file() else set()
    # The hash of a folder is taken of the files in it: weights elsewhere could change and nobody would know.
    for shard in shards:
        if Path(shard).name != shard or Path(shard).suffix != ".safetensors":
            raise ModelError(f"{index} names the weights {shard!r}, expected a *.safetensors file beside it.")


def check_hub(name: str, revision: str | None) -> None:
    """The same for a model of the hub, of which only its configuration is fetched for that.

    Raises:
        ModelError: it is an adapter, or names another model.
    """
    missing_is_fine: Any = {"_raise_exceptions_for_missing_entries": False}
    missing_is_fine["_raise_exceptions_for_connection_errors"] = False  # whoever reads the configuration says it better
    config, adapter = (
        cached_file(name, file, revision=revision, **missing_is_fine) for file in ("config.json", "adapter_config.json")
    )
    if adapter:
        raise ModelError(f"{name} has an adapter of another model. Merge it into that model, and give the result.")
    if config:
        _check_config(Path(config), name)


def _check_config(path: Path, model: str) -> None:
    """A vision model may name another one of the hub as its backbone, at any depth, and transformers would fetch it."""
    pending = [json.loads(path.read_text(encoding="utf-8"))]
    while pending:
        value = pending.pop()
        if isinstance(value, dict) and (other := value.get("backbone")) and isinstance(other, str):
            raise ModelError(f"config.json of {model} names {other!r} as its backbone. Give a model of text alone.")
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def identity(name_or_path: str | Path, revision: str | None = None) -> tuple[str, str]:
    """What a model is, for a store's key: a hub name and its commit, or a hash of a folder's content.

    Moving or renaming a folder changes nothing, another weight or tokenizer does.

    Returns:
        Name and revision; for a folder "pocket" or "folder", and "sha256:" with the first 32 digits.
    """
    folder = Path(resolve(name_or_path))
    if not folder.is_dir():
        # transformers 5.23 notes no commit in a configuration any more; the cache keeps files under its name.
        cached = try_to_load_from_cache(str(name_or_path), "config.json", revision=revision)
        return str(name_or_path), Path(cached).parent.name if isinstance(cached, str) else "unknown"
    name = "pocket" if folder.resolve() == POCKET.resolve() else "folder"
    return name, f"sha256:{folder_hash(folder)[:32]}"


def folder_hash(folder: Path) -> str:
    """Hex sha256 of config.json and the tokenizer files, and of each weights file's header and samples of its bytes."""
    digest = hashlib.sha256()
    weights = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin"})
    for path in [folder / name for name in _WHOLE if (folder / name).is_file()] + weights:
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        if path not in weights:
            digest.update(path.read_bytes())
            continue
        # Samples, for a key is asked for at every start: all 14 GB of OLMoE would take half a minute (0.47 GB/s).
        size = path.stat().st_size
        with path.open("rb") as file:
            (header,) = struct.unpack("<Q", file.read(8)) if size >= 8 else (0,)
            digest.update(file.read(min(header, size)))
            for i in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def weights_are_here(name_or_path: str) -> bool:
    """Whether a model can be loaded without downloading it."""
    if Path(resolve(name_or_path)).is_dir():
        return True
    try:
        folder = Path(snapshot_download(name_or_path, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return False
    return any(folder.glob("*.safetensors"))
