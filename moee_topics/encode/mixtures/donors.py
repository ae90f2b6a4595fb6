"""Dense decoders to carve: from the hub, a folder or a GGUF file, and their vocabulary cut to its first merges."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    modeling_gguf_pytorch_utils,
)

from moee_topics.encode.models.families import FAMILIES
from moee_topics.encode.models.loading import READER_ERRORS, quiet
from moee_topics.encode.settings import resolve
from moee_topics.errors import InputError, ModelError, import_extra
from moee_topics.messages import first_lines

DONORS = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose attention and norms are those of ``Glm4MoeModel``, which a carving writes."""

_UNTIED = ("lm_head.weight",)


def check_type(model_type: str) -> None:
    """Refuses what is no dense decoder of a kind that can be carved.

    Raises:
        ModelError: a mixture already, or of attention or norms that the mixture has not.
    """
    if model_type in FAMILIES:
        raise ModelError(
            f"A model of type {model_type!r} is already a mixture of experts; give the dense decoder, one of type "
            f"{', '.join(DONORS)}."
        )
    if model_type not in DONORS:
        raise ModelError(
            f"A model of type {model_type!r} cannot be carved: its attention or norms are not those of the "
            f"mixture that is written. Known to work are: {', '.join(DONORS)}."
        )


def load_donor(source: str | Path, *, revision: str | None = None) -> tuple[PreTrainedModel, Any]:
    """The base model of a dense decoder in float32, and its tokenizer.

    Args:
        source: a hub name, a folder in hub layout, or a ``.gguf`` file, which is expanded.
        revision: a commit, branch or tag of a hub model.

    Raises:
        ModelError: it is missing, is broken, lacks weights, or is of a kind that cannot be carved.
        MissingExtraError: a GGUF file is given and the package gguf is not installed.
    """
    place, options = resolve(source), {"revision": revision, "trust_remote_code": False}
    if place.endswith(".gguf"):
        import_extra("gguf", "carve")
        if not Path(place).is_file():
            raise ModelError(f"There is no file {place}.")
        place, options["gguf_file"] = str(Path(place).parent), Path(place).name
    with quiet(), without_bar():
        try:
            config = AutoConfig.from_pretrained(place, **options)
            check_type(config.get_text_config().model_type)  # before the weights: those of a mixture may be packed
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
            model, info = AutoModelForCausalLM.from_pretrained(
                place, config=config, dtype=torch.float32, output_loading_info=True, **options
            )
        # A broken GGUF ends in whatever its reader stumbles over: an index, a struct, an enumeration.
        except (*READER_ERRORS, struct.error) as error:
            raise ModelError(
                f"The model {source} cannot be loaded: {first_lines(error)}. Give a hub name, a folder in hub layout, "
                "or a whole .gguf file of a dense decoder; download it again if it may be cut short."
            ) from error
    if lacking := sorted(set(info["missing_keys"]) - set(_UNTIED)):
        raise ModelError(f"The checkpoint {source} lacks {len(lacking)} weights; the first is {lacking[0]}.")
    decoder = _plain(model.get_decoder())
    for name, weight in decoder.named_parameters():
        if not weight.isfinite().all():
            raise ModelError(f"The weight {name} of {source} holds numbers that are not finite. Download it again.")
    return decoder, tokenizer


@contextmanager
def without_bar() -> Iterator[None]:
    """No bar while a GGUF file is expanded: transformers 5.23 draws it by tqdm itself, whatever its own are told."""
    drawn = modeling_gguf_pytorch_utils.tqdm
    modeling_gguf_pytorch_utils.tqdm = partial(drawn, disable=True)
    try:
        yield
    finally:
        modeling_gguf_pytorch_utils.tqdm = drawn


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """Without the marks of a quantizer, which forbid to save the expanded weights."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.config.tie_word_embeddings = False  # there is no head any more that they could be tied to
    return model.float().eval().requires_grad_(False)


def cut_vocabulary(model: PreTrainedModel, tokenizer: Any, keep: int) -> Any:
    """Keeps the first ``keep`` tokens of a BPE: its bytes, its special tokens and the merges that came first.

    A text is then more tokens, all of which the model knows. The embeddings of the model are cut in place.

    Returns:
        The new tokenizer.

    Raises:
        ModelError: the tokenizer is no BPE whose tokens are numbered in the order of their merges.
        InputError: fewer tokens are to be kept than bytes and special tokens, or more than there are.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str()) if hasattr(tokenizer, "backend_tokenizer") else {}
    if state.get("model", {}).get("type") != "BPE":
        raise ModelError("Only the vocabulary of a BPE tokenizer can be cut to its first merges; this one is no BPE.")
    vocabulary = state["model"]["vocab"]
    # Before tokenizers 0.20 a merge was one string with a space between its parts.
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in state["model"]["merges"]]
    numbers = [vocabulary["".join(pair)] for pair in merges]
    made = set(numbers)
    basic = [number for number in vocabulary.values() if number not in made]
    special = [token["id"] for token in state["added_tokens"]]
    if any(vocabulary[part] >= number for pair, number in zip(merges, numbers, strict=True) for part in pair):
        raise ModelError("The tokens of this BPE are not numbered in the order of their merges; it cannot be cut.")
    if not max([*basic, *special]) < keep <= len(model.get_input_embeddings().weight):
        raise InputError(
            f"The vocabulary cannot be cut to {keep} tokens: its bytes and special tokens take the first "
            f"{max([*basic, *special]) + 1}, and it has {len(model.get_input_embeddings().weight)}."
        )
    state["model"]["vocab"] = {token: number for token, number in vocabulary.items() if number < keep}
    state["model"]["merges"] = [list(pair) for pair, number in zip(merges, numbers, strict=True) if number < keep]
    full = model.get_input_embeddings()
    cut = nn.Embedding(keep, full.embedding_dim)
    cut.weight = nn.Parameter(full.weight[:keep].clone(), requires_grad=False)
    model.set_input_embeddings(cut)
    model.config.vocab_size = keep
    named = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), model_max_length=tokenizer.model_max_length, **named
    )
