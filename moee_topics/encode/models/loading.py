"""A hub name or a folder to a base model without head, and its tokenizer. No code of a checkpoint ever runs."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
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

from moee_topics.defaults import SEED
from moee_topics.encode.models import (
    attention,
    bitsandbytes_quantizer,
    checkpoint,
    deepseek,
    experts,
    int4_checkpoint,
    integer_products,
    memory,
    small_operators,
)
from moee_topics.encode.models.families import UNSUPPORTED
from moee_topics.encode.settings import POCKET, EncoderSettings, resolve
from moee_topics.errors import InputError, ModelError
from moee_topics.progress import full_disk

# transformers 5.23 sets torch's default dtype for the whole process while it loads, and a hook on a module sees every
# thread that calls it. A forward pass on a CPU takes all cores as it is; several GPUs are for several processes.
ONE_AT_A_TIME = threading.RLock()
"""Held by whoever loads or runs a model, whichever model it is."""

# Layers are made one by one, before a weight is read: a wrong number would take hours. The deepest known have 126.
MOST_LAYERS = 2000

# What a wrong value in a file becomes depends on who reads it first; 10,000 mutated checkpoints raised each of these.
READER_ERRORS = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, ImportError, ArithmeticError, AssertionError),
    *(RuntimeError, SafetensorError, StrictDataclassError),
)


def load_model(
    settings: EncoderSettings, *, trained: bool = True, with_head: bool = False
) -> tuple[PreTrainedModel, Any]:
    """Loads the base model (evaluation mode) and its tokenizer.

    The hub is asked only if the files are not at hand, and never where ``HF_HUB_OFFLINE`` is set. With
    ``trained=False`` the model has its shape alone, and weights as before any training; in 16 bits or more, whatever
    its files are. With ``with_head=True`` it has its language-model head too, and writes text.

    Raises:
        ModelError: the model is missing or not supported, or was not quantized as asked.
    """
    name = settings.model
    place = device_of(settings.device)
    integer_products.check_kernel(settings.quantize, place)
    config = load_config(name, revision=settings.revision)
    loader = loader_of(config)
    loader = AutoModelForCausalLM if with_head and loader is AutoModel else loader
    attention.register()
    dtype = getattr(torch, settings.dtype) if settings.dtype else default_dtype(str(place))
    with checkpoint_errors(name):
        _check_size(loader, config, Path(resolve(name)))
    model = _with_weights(loader, settings, config, dtype) if trained else _at_random(loader, name, config, dtype)
    model = model if loader is AutoModel or with_head else model.get_decoder()
    if not int4_checkpoint.is_compact(config):  # whose weights were expanded, each into memory of its own
        memory.own_memory(model)
    model = model.eval().requires_grad_(False).to(place)
    if kind := bitsandbytes_quantizer.stored_kind(model.config):
        bitsandbytes_quantizer.check_quantized(model, kind)
    if place.type in ("cpu", "cuda"):
        experts.use(model)
    small_operators.use(model, dtype)
    if place.type == "cpu":
        memory.keep_for_next_pass()
    tokenizer = load_tokenizer(name, revision=settings.revision)
    memory.give_back()  # last: what a tokenizer.json is read into is 20 MB
    return model, tokenizer


def _with_weights(loader: Any, settings: EncoderSettings, config: Any, dtype: torch.dtype) -> Any:
    """The model of a configuration with the weights of its files, none of which is missing."""
    name = settings.model
    quantizer = bitsandbytes_quantizer.quantization_config(config, settings.quantize, name)
    packed = int4_checkpoint.is_compact(config)
    # The automatic class asks for a place on disk even where it is given the weights.
    model_class = loader._model_mapping[type(config)] if packed else loader
    with ONE_AT_A_TIME, checkpoint_errors(name), quiet():
        model, info = model_class.from_pretrained(
            None if packed else resolve(name),
            config=config,
            state_dict=int4_checkpoint.read_compact(Path(resolve(name)), dtype) if packed else None,
            dtype=dtype,
            revision=settings.revision,
            trust_remote_code=False,
            use_safetensors=True,  # no pickles
            output_loading_info=True,
            quantization_config=quantizer,
        )
    # A weight that the files do not hold would be random; transformers only warns of it.
    if lacking := sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"]):
        raise ModelError(
            f"The checkpoint {name} lacks {len(lacking)} weights of its model or holds them in another shape, "
            f"the first is {lacking[0]}. Download it again, or check that config.json belongs to these weights."
        )
    return model


def _at_random(loader: Any, name: str, config: Any, dtype: torch.dtype) -> Any:
    """The model of a configuration as its class begins a training, the same at every call."""
    vars(config).pop("quantization_config", None)  # of weights that are not read
    with ONE_AT_A_TIME, checkpoint_errors(name), quiet(), torch.random.fork_rng():
        torch.manual_seed(SEED)
        return loader.from_config(config, dtype=dtype)


def _check_size(loader: Any, config: Any, folder: Path) -> None:
    """Refuses a configuration of far more numbers than the files hold: transformers would make them all, at random."""
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    if not stored:
        return  # a name of the hub, or the error about a folder without weights
    with torch.device("meta"), quiet():
        model = loader.from_config(copy.deepcopy(config), dtype=torch.bfloat16)
    numbers = sum(weight.numel() for weight in model.parameters())
    if numbers > 8 * stored:  # four bits are two numbers a byte
        raise ModelError(
            f"config.json in {folder} is of a model of {numbers:,} numbers, and its weights are {stored:,} bytes: "
            "one of them is damaged or of another model. Download them again."
        )


def load_config(name_or_path: str | Path, *, revision: str | None = None) -> Any:
    """Reads the configuration of a model, no weights.

    Raises:
        ModelError: there is none, or its model type is not known.
    """
    deepseek.register()
    source = resolve(name_or_path)
    with checkpoint_errors(name_or_path):
        if Path(source).is_dir():
            if revision:
                raise InputError(
                    f"encoder.revision is {revision!r}, and {source} is a folder, which has none: leave it out."
                )
            checkpoint.check_folder(Path(source))
        else:
            checkpoint.check_hub(str(source), revision)
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        layers = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
        if layers > MOST_LAYERS:
            raise ModelError(
                f"The model {str(name_or_path)!r} says it has {layers:,} layers; {MOST_LAYERS:,} are the most."
            )
    # config.json may name a kernel of the hub as its attention, which transformers would download and run.
    config._attn_implementation = config._experts_implementation = None
    return config


def load_tokenizer(name_or_path: str | Path, *, revision: str | None = None) -> Any:
    """Loads the tokenizer of a model, with the BOS token that its files ask for.

    Raises:
        ModelError: there is none.
    """
    source, options = resolve(name_or_path), {"revision": revision, "trust_remote_code": False}
    with checkpoint_errors(name_or_path):
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        files = get_tokenizer_config(source, revision=revision)
        # Llama's class put BOS before a text unless told otherwise.
        llama = str(files.get("tokenizer_class", "")).startswith("LlamaTokenizer")
        asked = bool(files.get("bos_token")) and bool(files.get("add_bos_token", llama))
        bos = tokenizer.bos_token_id
        if asked and (bos is None or tokenizer("a")["input_ids"][:1] != [bos]):
            # transformers 5.23 ignores add_bos_token of tokenizer_config.json beside a tokenizer.json.
            tokenizer = AutoTokenizer.from_pretrained(source, **options, add_bos_token=True)
    return tokenizer


def device_of(name: str | None = None) -> torch.device:
    """A device by its name; without one the first GPU if there is one, else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"encoder.device is {name!r}, which names no device. Use cpu, cuda or cuda:0.") from error
    # "meta" and the like exist in every torch, and hold no numbers.
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "xpu": torch.xpu.device_count()}
    here["mps"] = int(torch.backends.mps.is_available())
    if (device.index or 0) >= here.get(device.type, 0):
        raise InputError(
            f"encoder.device is {name!r}, and torch {torch.__version__} sees {here['cuda']} GPUs here. "
            "Use encoder.device=cpu, or leave it out; `moee-topics doctor` says what there is."
        )
    return device


def default_dtype(device: str | None = None) -> torch.dtype:
    """bfloat16 where the hardware multiplies it (Ampere on, AVX512-BF16, AMX): 2 to 4 times as fast; else float32."""
    if device_of(device).type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        # Under ONEDNN_MAX_CPU_ISA=AVX2 the flags are still there, and a product of 2048 rows takes 140 s, not 0.1 s.
        fast = fast and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.bfloat16 if fast else torch.float32


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
    wholes = (AutoModelForCausalLM, AutoModelForImageTextToText)
    return next((whole for whole in wholes if type(config) in whole._model_mapping), AutoModelForCausalLM)


@contextmanager
def quiet() -> Iterator[None]:
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


AGAIN = "What was fetched is kept: run the same command again."


class checkpoint_errors:
    """Turns what the readers of a checkpoint raise about its files into one clear error; lack of memory passes.

    A class, not a generator: tokenizers 0.23 raises bare ``Exception``, which is caught here without catching all.
    """

    def __init__(self, name_or_path: str | Path) -> None:
        self.name = str(name_or_path)

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raises a ModelError in the place of an error of a reader."""
        # A panic of Rust is a BaseException whose class has no place to import it from.
        of_rust = type(error) is Exception or type(error).__name__ == "PanicException"
        no_memory = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if no_memory or not (of_rust or isinstance(error, READER_ERRORS)):
            return
        if full := full_disk(error, AGAIN):  # of the hub's cache
            raise full from error
        lines = str(error).strip().splitlines() or [""]
        # The first line of a failed validation names the field, the second says what is wrong with it.
        first = " ".join(line.strip() for line in lines[: 2 if isinstance(error, StrictDataclassError) else 1])
        if not isinstance(error, OSError | ValueError) or not first:
            first = f"{type(error).__name__}: {first}"
        if self.name == "pocket" and not (POCKET / "config.json").exists():
            message = f"The embedded model is not in this installation ({POCKET}). Install the package again."
        elif Path(self.name).exists():
            message = f"The folder {self.name} holds no model that can be loaded: {first}"
        else:
            message = (
                f"The model {self.name!r} cannot be loaded: {first} Give a folder in hub layout (config.json, "
                "tokenizer.json, *.safetensors), the name of a hub model, or 'pocket' for the embedded one. If the hub "
                "cannot be reached, copy the model's files to a folder first, and unset HF_HUB_OFFLINE if it should be."
            )
        raise ModelError(message) from error
