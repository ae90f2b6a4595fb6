"""A hub name or a folder to a base model without head, and its tokenizer. No code of a checkpoint ever runs."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging as transformers_logging

from moee_topics.defaults import SEED
from moee_topics.encode.models import (
    arithmetic,
    attention,
    checkpoint,
    deepseek,
    experts,
    memory,
    quantizer,
    small_operators,
)
from moee_topics.encode.models.arithmetic import Arithmetic
from moee_topics.encode.models.families import UNSUPPORTED
from moee_topics.encode.quantization import float8_checks, int4_checkpoint, integer_products
from moee_topics.encode.settings import AUTO, POCKET, EncoderSettings, Integer, Quantize, resolve
from moee_topics.errors import InputError, ModelError
from moee_topics.messages import first_lines
from moee_topics.progress import full_disk

logger = logging.getLogger(__name__)

# transformers 5.23 sets torch's default dtype for the whole process while it loads, and a hook on a module sees every
# thread that calls it. A forward pass on a CPU takes all cores as it is; several GPUs are for several processes.
ONE_AT_A_TIME = threading.RLock()
"""Held by whoever loads or runs a model, whichever model it is."""

PROBED = (4, 64)
"""Sequences, and tokens of each, whose states are compared in two arithmetics."""

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
    is_foreign = quantizer.quantized_as(config) != "none"
    kind = quantizer.stored_kind(config) or ("none" if is_foreign else settings.quantize)
    float8_checks.check_kernel(kind, place, _dtype_of(settings))
    loader = loader_of(config)
    loader = AutoModelForCausalLM if with_head and loader is AutoModel else loader
    # Before the weights, which may take minutes: a damaged one is told at once.
    tokenizer = load_tokenizer(name, revision=settings.revision)
    attention.register()
    with checkpoint_errors(name):
        shape = _shape(loader, config)
        _check_size(shape, Path(resolve(name)))
    if with_head or not trained:  # what is chosen is for many tokens at once, and true to what training has left
        settings = replace(settings, quantize=_named(settings).quantize)
    is_open = settings.quantize == AUTO
    chosen = arithmetic.choose(config, shape, place, _dtype_of(settings)) if is_open else _named(settings)
    if is_open and integer_products.is_integer(chosen.quantize):
        model, chosen = _in_integers(loader, settings, shape, chosen)
    else:
        model = _prepared(loader, replace(settings, quantize=chosen.quantize), config, trained, with_head)
    model.arithmetic = chosen
    if is_open:
        logger.log(logging.WARNING if chosen.inexact else logging.INFO, "%s is read in %s", name, chosen)
    memory.give_back()  # also what a tokenizer.json was read into, 20 MB
    return model, tokenizer


def _prepared(
    loader: Any, settings: EncoderSettings, config: Any, trained: bool = True, with_head: bool = False
) -> PreTrainedModel:
    """A model in its place, with our forward of its experts and our passes between products."""
    name, place, dtype = settings.model, device_of(settings.device), _dtype_of(settings)
    model = _with_weights(loader, settings, config, dtype) if trained else _at_random(loader, name, config, dtype)
    model = model if loader is AutoModel or with_head else model.get_decoder()
    if not int4_checkpoint.is_compact(config):  # whose weights were expanded, each into memory of its own
        memory.own_memory(model)
    model = model.eval().requires_grad_(False).to(place)
    if kind := quantizer.stored_kind(model.config):
        quantizer.check_quantized(model, kind)
    if place.type in ("cpu", "cuda"):
        experts.use(model)
    small_operators.use(model, dtype)
    if place.type == "cpu":
        memory.keep_for_next_pass()
    return model


def _in_integers(
    loader: Any, settings: EncoderSettings, shape: Any, chosen: Arithmetic
) -> tuple[PreTrainedModel, Arithmetic]:
    """A model in the 8-bit integers that were chosen by its shapes, unless its states are others than in 16 bits."""
    kind, dtype = cast(Integer, chosen.quantize), str(chosen.dtype).removeprefix("torch.")

    def loaded(quantize: Quantize) -> PreTrainedModel:
        # Read anew, since what is made of a model is noted in its configuration.
        config = load_config(settings.model, revision=settings.revision)
        return _prepared(loader, replace(settings, quantize=quantize), config)

    if not arithmetic.fits(shape, chosen.dtype):
        unseen = f"{chosen.why}; not compared with {dtype}, which finds no room in memory"
        return loaded(kind), replace(chosen, why=unseen)
    model = loaded("none")
    before = _probe(model)
    quantizer.to_integers(model, kind)
    cosine = float(torch.cosine_similarity(before, _probe(model), dim=-1).mean())
    if cosine >= arithmetic.LEAST_COSINE:
        return model, replace(chosen, why=f"{chosen.why}, and its states have a cosine of {cosine:.4f}")
    del model  # before the other one is in memory
    memory.give_back()
    why = f"in {kind} its states have a cosine of {cosine:.4f} alone, less than {arithmetic.LEAST_COSINE}"
    logger.warning("%s is read in %s: %s", settings.model, dtype, why)
    return loaded("none"), Arithmetic("none", chosen.dtype, why)


@torch.inference_mode()
def _probe(model: PreTrainedModel) -> Tensor:
    """The last states of some sequences of any tokens, (T, D) in float32."""
    tokens = model.get_input_embeddings().num_embeddings
    ids = torch.randint(tokens, PROBED, generator=torch.Generator().manual_seed(SEED))
    states: Tensor = model(ids.to(model.device), use_cache=False).last_hidden_state
    return states.flatten(0, 1).float()


def arithmetic_of(settings: EncoderSettings) -> Arithmetic:
    """What a model would be read in here, from its configuration and without its weights.

    Raises:
        ModelError: the model is missing or not supported.
    """
    if settings.quantize != AUTO:
        return _named(settings)
    config = load_config(settings.model, revision=settings.revision)
    with checkpoint_errors(settings.model):
        shape = _shape(loader_of(config), config)
    return arithmetic.choose(config, shape, device_of(settings.device), _dtype_of(settings))


def _named(settings: EncoderSettings) -> Arithmetic:
    """What was asked for; 16 or 32 bits where nothing was, and nothing is to be chosen."""
    return Arithmetic("none" if settings.quantize == AUTO else settings.quantize, _dtype_of(settings), "it was named")


def _dtype_of(settings: EncoderSettings) -> torch.dtype:
    return getattr(torch, settings.dtype) if settings.dtype else default_dtype(settings.device)


def _with_weights(loader: Any, settings: EncoderSettings, config: Any, dtype: torch.dtype) -> Any:
    """The model of a configuration with the weights of its files, none of which is missing."""
    name = settings.model
    stored_as = quantizer.quantized_as(config)
    quantization = quantizer.quantization_config(config, _named(settings).quantize, name)
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
            quantization_config=quantization,
        )
    # A weight that the files do not hold would be random; transformers only warns of it.
    if lacking := sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"]):
        raise ModelError(
            f"The checkpoint {name} lacks {len(lacking)} weights of its model or holds them in another shape, "
            f"the first is {lacking[0]}. Download it again, or check that config.json belongs to these weights."
        )
    if stored_as != "none" and quantizer.quantized_as(model.config) == "none":
        _in_one_type(model, dtype)
    return model


def _in_one_type(model: Any, dtype: torch.dtype) -> None:
    """Casts what lay in 16 or 32 bits beside quantized weights, since transformers expands those alone."""
    kept = {*model._keep_in_fp32_modules_strict, *(model._keep_in_fp32_modules if dtype == torch.float16 else ())}
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not any(f".{part}." in f".{name}." for part in kept):
            weight.data = weight.data.to(dtype)


def _at_random(loader: Any, name: str, config: Any, dtype: torch.dtype) -> Any:
    """The model of a configuration as its class begins a training, the same at every call."""
    vars(config).pop("quantization_config", None)  # of weights that are not read
    with ONE_AT_A_TIME, checkpoint_errors(name), quiet(), torch.random.fork_rng():
        torch.manual_seed(SEED)
        return loader.from_config(config, dtype=dtype)


def _shape(loader: Any, config: Any) -> PreTrainedModel:
    """The model of a configuration without any weight."""
    with torch.device("meta"), quiet():
        model = loader.from_config(copy.deepcopy(config), dtype=torch.bfloat16)
    return model if loader is AutoModel else model.get_decoder()


def _check_size(shape: PreTrainedModel, folder: Path) -> None:
    """Refuses a configuration of far more numbers than the files hold: transformers would make them all, at random."""
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    if not stored:
        return  # a name of the hub, or the error about a folder without weights
    numbers = sum(weight.numel() for weight in shape.parameters())
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
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


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
        if error is None or no_memory or not (of_rust or isinstance(error, READER_ERRORS)):
            return
        if full := full_disk(error, AGAIN):  # of the hub's cache
            raise full from error
        # The first line of a failed validation names the field, the second says what is wrong with it.
        first, kind = first_lines(error, 2 if isinstance(error, StrictDataclassError) else 1), type(error).__name__
        if not isinstance(error, OSError | ValueError) and first != kind:
            first = f"{kind}: {first}"
        if self.name == "pocket" and not (POCKET / "config.json").exists():
            message = f"The embedded model is not in this installation ({POCKET}). Install the package again."
        elif Path(self.name).exists():
            message = f"The folder {self.name} holds no model that can be loaded: {first}."
        else:
            message = (
                f"The model {self.name!r} cannot be loaded: {first}. Give a folder in hub layout (config.json, "
                "tokenizer.json, *.safetensors), the name of a hub model, or 'pocket' for the embedded one. If the hub "
                "cannot be reached, copy the model's files to a folder first, and unset HF_HUB_OFFLINE if it should be."
            )
        raise ModelError(message) from error
