"""Which model families work, and what a model is from its configuration alone, without its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from moee_topics.encode.models import deepseek, quantizer
from moee_topics.encode.models.families import FAMILIES, UNSUPPORTED, Family
from moee_topics.encode.models.loading import load_config
from moee_topics.encode.models.quantizer import BlockwiseConfig, BlockwiseQuantizer
from moee_topics.encode.quantization.few_bits import KINDS
from moee_topics.encode.router import find_routers
from moee_topics.encode.settings import Quantize
from moee_topics.errors import ModelError

# Each family's configuration has its own names for these.
_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers")


@dataclass(frozen=True)
class ModelCard:
    """What a model is, read from its configuration.

    Attributes:
        name: as it was given.
        family: the model type of its text decoder.
        supported: whether routers are captured from it.
        note: what is particular about it, or why it is not supported.
        router: how its router turns scores into weights.
        layers: MoE layers, L.
        experts: routed experts of a layer, E.
        experts_per_token: how many of them a token goes to; None where the configuration does not say.
        dense_layers: decoder layers without a router.
        shared_experts: whether every token also goes to shared experts.
        hidden_size: D.
        values_size: numbers of the values of a token in one layer, all heads together; 0 where they are not to be had.
        parameters: weights of the base model, without the language-model head.
        active_parameters: those that one token meets, embeddings included.
        memory: bytes of the weights in 16 bits ("none") and as each ``quantize`` keeps them; a precision that the model
            cannot be quantized to is left out.
    """

    name: str
    family: str
    supported: bool
    note: str
    router: str
    layers: int
    experts: int
    experts_per_token: int | None
    dense_layers: int
    shared_experts: bool
    hidden_size: int
    values_size: int
    parameters: int
    active_parameters: int
    memory: dict[Quantize, int]


def supported_families() -> list[Family]:
    """The families that this version of transformers has and whose routers are captured, by model type."""
    deepseek.register()
    return [family for family in FAMILIES.values() if family.model_type in CONFIG_MAPPING]


def describe(name_or_path: str | Path, *, revision: str | None = None) -> ModelCard:
    """Says what a model is from its configuration: nothing but that file is read, no weights are made.

    Raises:
        ModelError: there is no configuration, or its model type is not known.
    """
    return card_of(str(name_or_path), load_config(name_or_path, revision=revision))


def card_of(name: str, config: Any) -> ModelCard:
    """The card of a configuration; see ``describe``."""
    text = config.get_text_config()
    model = _without_weights(text)
    routers = find_routers(model)
    family = FAMILIES.get(text.model_type)
    parameters = sum(weight.numel() for weight in model.parameters())
    expert_weights = quantizer.measure(model).expert_weights
    top_k = _first(text, _TOP_K)
    # The router is as wide as the experts and those that do nothing, where a token may choose them.
    skipping = 1 if text.model_type == "zaya" else getattr(text, "zero_expert_num", 0)
    experts = (_first(text, _EXPERTS) or 0) + int(skipping)
    # By the number of the decoder layer, since some layers hold two routers.
    sparse_layers = {next((part for part in r.name.split(".") if part.isdigit()), r.name) for r in routers}
    idle = expert_weights * (1 - top_k / experts) if top_k and experts else 0
    return ModelCard(
        name=name,
        family=text.model_type,
        supported=bool(routers) and text.model_type not in UNSUPPORTED,
        note=UNSUPPORTED.get(text.model_type) or (family.note if family else "" if routers else "no routers"),
        router=family.router if family else "softmax",
        layers=len(routers),
        experts=experts if routers else 0,
        experts_per_token=top_k if routers else None,
        dense_layers=max(0, depth_of(config) - len(sparse_layers)),
        shared_experts=any("shared" in module for module, _ in model.named_modules()),
        hidden_size=model.get_input_embeddings().embedding_dim,
        values_size=values_size(model),
        parameters=parameters,
        active_parameters=round(parameters - idle),
        memory=dict(_memory(text, model)),
    )


def depth_of(config: Any) -> int:
    """Decoder layers of a configuration; 0 where it does not say."""
    text = config.get_text_config()
    # A layer of this family has two attentions, and its num_hidden_layers counts these.
    is_doubled = getattr(text, "model_type", None) == "longcat_flash"  # a damaged text_config may be a list
    return _first(text, ("num_layers",) if is_doubled else _LAYERS) or 0


def values_size(model: nn.Module) -> int:
    """Numbers of the values of a token in one layer, all heads together; 0 where no module makes values alone."""
    projections = (module for name, module in model.named_modules() if name.endswith("v_proj"))
    return int(getattr(next(projections, None), "out_features", 0))


def experts_per_token(config: Any) -> int:
    """How many experts a token goes to.

    Raises:
        ModelError: the configuration does not say.
    """
    top_k = _first(config.get_text_config(), _TOP_K)
    if top_k is None:
        raise ModelError(
            f"The configuration of a model of type {config.model_type!r} does not say how many experts take a token, "
            "so it cannot be counted how often each is chosen. Leave encoder.routing=frequency out."
        )
    return top_k


def _without_weights(config: Any) -> Any:
    """The base model with every weight on the meta device, which takes no memory."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.device("meta"):
            return AutoModel.from_config(config, dtype=torch.bfloat16)
    except (ValueError, KeyError, ImportError) as error:
        raise ModelError(f"transformers cannot make a model of type {config.model_type!r}: {error}") from error
    finally:
        logging.set_verbosity(level)


def _memory(config: Any, model: nn.Module) -> Iterator[tuple[Quantize, int]]:
    yield "none", _bytes(model)
    family = FAMILIES.get(config.model_type)
    if family and "16-bit only" in family.note:
        return
    for kind in KINDS:
        quantized = _without_weights(config)
        try:
            BlockwiseQuantizer(BlockwiseConfig(kind))._process_model_before_weight_loading(quantized)
        except ModelError:
            continue
        yield kind, _bytes(quantized)


def _bytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def _first(config: Any, names: tuple[str, ...]) -> int | None:
    """The first of these settings that there is, in the configuration or in its part about the experts."""
    for part in (config, getattr(config, "ffn_config", None)):
        for name in names:
            value = getattr(part, name, None)
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, int):
                return value
    return None
