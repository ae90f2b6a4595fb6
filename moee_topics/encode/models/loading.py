"""Loading: a hub name or a folder to a base model without head, and its tokenizer."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging

from moee_topics.encode.models import attention, deepseek, experts, memory, quantization
from moee_topics.encode.models.families import UNSUPPORTED
from moee_topics.encode.settings import POCKET, Quantize, resolve
from moee_topics.errors import ModelError


def load_model(
    name_or_path: str | Path,
    *,
    quantize: Quantize = "none",
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
) -> tuple[PreTrainedModel, Any]:
    """Loads the base model (no language-model head, evaluation mode) and its tokenizer.

    No code of a checkpoint is ever run. The hub is asked only if the files are not at hand, and never where
    ``HF_HUB_OFFLINE`` is set.

    Args:
        name_or_path: a hub name, a folder in hub layout, or "pocket".
        quantize: "int8" or "nf4" store the linear and expert weights in 8 or 4 bits.
        device: by default the GPU if there is one, else the CPU.
        dtype: by default bfloat16 where the device multiplies it fast, else float32. See ``default_dtype``.
        revision: a commit, branch or tag of a hub model.

    Raises:
        ModelError: the model is missing or not supported, or was not quantized as asked.
    """
    source = resolve(name_or_path)
    place = torch.device(device) if device else default_device()
    config = load_config(name_or_path, revision=revision)
    options: dict[str, Any] = {"dtype": dtype or default_dtype(place), "revision": revision, "trust_remote_code": False}
    if quantize != "none" and quantization.stored_kind(config) != quantize:
        _refuse_second_quantization(name_or_path, config, quantize)
        options["quantization_config"] = quantization.quantization_config(quantize)
    attention.register()
    with _loading_errors(name_or_path), _quiet():
        model = _decoder(source, config, options)
    memory.own_memory(model)
    model = model.eval().requires_grad_(False).to(place)
    memory.give_back()
    if kind := quantization.stored_kind(model.config):
        quantization.check_quantized(model, kind)
    if place.type == "cpu":
        experts.use(model)
    return model, load_tokenizer(name_or_path, revision=revision)


def quantized_as(model: Any) -> str:
    """How the weights of a loaded model are stored: "none", "int8", "nf4", or the method of a foreign quantizer."""
    stored = getattr(model.config, "quantization_config", None)
    return str(quantization.stored_kind(model.config) or getattr(stored, "quant_method", None) or "none")


def _refuse_second_quantization(name_or_path: str | Path, config: Any, quantize: Quantize) -> None:
    stored = getattr(config, "quantization_config", None)
    if stored:
        raise ModelError(
            f"The checkpoint {name_or_path} is quantized already ({stored}); it cannot be quantized to {quantize} "
            "again. Use quantize: none, which takes it as it is, or the original checkpoint."
        )


def load_config(name_or_path: str | Path, *, revision: str | None = None) -> Any:
    """Reads the configuration of a model, no weights.

    Raises:
        ModelError: there is none, or its model type is not known.
    """
    deepseek.register()
    with _loading_errors(name_or_path):
        return AutoConfig.from_pretrained(resolve(name_or_path), revision=revision, trust_remote_code=False)


def load_tokenizer(name_or_path: str | Path, *, revision: str | None = None) -> Any:
    """Loads the tokenizer of a model, with the BOS token that its files ask for.

    Raises:
        ModelError: there is none.
    """
    source = resolve(name_or_path)
    with _loading_errors(name_or_path):
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        wanted = get_tokenizer_config(source, revision=revision)
        if wants_bos(wanted) and not starts_with_bos(tokenizer):
            # transformers 5.23 ignores add_bos_token of tokenizer_config.json beside a tokenizer.json.
            tokenizer = AutoTokenizer.from_pretrained(
                source, revision=revision, trust_remote_code=False, add_bos_token=True
            )
    return tokenizer


def wants_bos(tokenizer_config: dict[str, Any]) -> bool:
    """Whether the files of a tokenizer ask for a BOS token: Llama's class did so unless told otherwise."""
    llama = str(tokenizer_config.get("tokenizer_class", "")).startswith("LlamaTokenizer")
    return bool(tokenizer_config.get("bos_token")) and bool(tokenizer_config.get("add_bos_token", llama))


def starts_with_bos(tokenizer: Any) -> bool:
    """Whether a tokenizer puts its BOS token before a text."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def default_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: str | torch.device | None = None) -> torch.dtype:
    """bfloat16 on a GPU and on CPUs with AVX512-BF16 or AMX, where it is 2 to 4 times as fast; else float32."""
    place = torch.device(device) if device else default_device()
    fast = place.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def _decoder(source: str, config: Any, options: dict[str, Any]) -> PreTrainedModel:
    """The base model; of a model of several parts (vision and text) only its text decoder."""
    kind = loader_of(config)
    model, found = kind.from_pretrained(source, config=config, output_loading_info=True, **options)
    _refuse_incomplete(source, found)
    return model if kind is AutoModel else model.get_decoder()


def loader_of(config: Any) -> Any:
    """The class of transformers that loads a configuration's base model, or a whole that holds its text decoder.

    Raises:
        ModelError: the family is known not to work.
    """
    text = config.get_text_config()
    if reason := UNSUPPORTED.get(config.model_type) or UNSUPPORTED.get(text.model_type):
        raise ModelError(f"Models of type {config.model_type!r} are not supported: {reason}.")
    if text is config:
        return AutoModel
    known = (
        kind for kind in (AutoModelForCausalLM, AutoModelForImageTextToText) if type(config) in kind._model_mapping
    )
    return next(known, AutoModelForCausalLM)


def _refuse_incomplete(source: str, found: dict[str, Any]) -> None:
    """A weight that the files do not hold would be random; transformers only warns of it."""
    lacking = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if lacking:
        raise ModelError(
            f"The checkpoint {source} lacks {len(lacking)} weights of its model or holds them in another shape, "
            f"the first is {lacking[0]}. Download it again, or check that config.json belongs to these weights."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no load report from transformers: the missing language-model head is meant to be missing."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _loading_errors(name_or_path: str | Path) -> Iterator[None]:
    """Turns what transformers raises about a model's files into one clear error."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(_explain(name_or_path, error)) from error


def _explain(name_or_path: str | Path, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if str(name_or_path) == "pocket" and not (POCKET / "config.json").exists():
        return f"The embedded model is not in this installation ({POCKET}). Install the package again."
    if Path(name_or_path).exists():
        return f"The folder {name_or_path} holds no model that can be loaded: {first}"
    return (
        f"The model {str(name_or_path)!r} cannot be loaded: {first} Give a folder in hub layout (config.json, "
        "tokenizer.json, *.safetensors), the name of a hub model, or 'pocket' for the embedded one. If the hub cannot "
        "be reached, copy the model's files to a folder first, and unset HF_HUB_OFFLINE if it should be."
    )


def weights_are_here(name_or_path: str) -> bool:
    """Whether a model can be loaded without downloading it."""
    if Path(resolve(name_or_path)).is_dir():
        return True
    try:
        folder = Path(snapshot_download(name_or_path, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return False
    return any(folder.glob("*.safetensors"))


def identity(name_or_path: str | Path, config: Any) -> tuple[str, str]:
    """What a model is, for a store's key: a hub name and its commit, or a hash of a folder's content.

    Moving or renaming a folder changes nothing, another weight or tokenizer does. Hashed are config.json and the
    tokenizer files whole, and of each weights file its header and samples spread over its bytes.

    Returns:
        Name and revision; for a folder "pocket" or "folder", and "sha256:" with the first 32 digits.
    """
    folder = Path(resolve(name_or_path))
    if not folder.is_dir():
        return str(name_or_path), str(getattr(config, "_commit_hash", None) or "unknown")
    name = "pocket" if folder.resolve() == POCKET.resolve() else "folder"
    return name, f"sha256:{folder_hash(folder)[:32]}"


_WHOLE = ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt")
_SAMPLES, _SAMPLE_BYTES = 64, 4096


def folder_hash(folder: Path) -> str:
    """Hex sha256 of what a checkpoint folder holds, without reading all of its weights."""
    digest = hashlib.sha256()
    weights = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin"})
    for path in [folder / name for name in _WHOLE if (folder / name).is_file()] + weights:
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        for piece in _sampled(path) if path in weights else [path.read_bytes()]:
            digest.update(piece)
    return digest.hexdigest()


def _sampled(path: Path) -> Iterator[bytes]:
    """Header and evenly spread samples of a weights file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        (header,) = struct.unpack("<Q", file.read(8)) if size >= 8 else (0,)
        yield file.read(min(header, size))
        for i in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)
