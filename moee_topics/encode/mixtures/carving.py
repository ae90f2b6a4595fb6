"""Carving: the feed-forward layers of a dense decoder, cut into a shared part and routed groups of neurons.

A gated feed-forward layer is a sum over its neurons, so any split of the neurons into groups computes the same sum.
What comes out is a checkpoint of a native mixture of transformers, ``Glm4MoeModel``: attention as in Llama, with Qwen's
biases and norms where the donor has them, a sigmoid router whose chosen weights are normalised and scaled by their
number, so that with small logits a chosen group counts fully, and a bias that only chooses.

Known from MoEfication (arXiv 2110.01786), LLaMA-MoE (2406.16554) and CMoE (2502.04416).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Glm4MoeConfig, Glm4MoeModel, PreTrainedModel

from moee_topics.encode.mixtures.donors import check_type
from moee_topics.encode.mixtures.finished_layers import FinishedLayers
from moee_topics.encode.mixtures.layer_cuts import LayerCut, cut_layer
from moee_topics.encode.mixtures.least_squares import fit_down_projections
from moee_topics.encode.mixtures.settings import CarveSettings
from moee_topics.encode.models.loading import quiet
from moee_topics.encode.router import ROUTER_STRENGTH
from moee_topics.errors import InputError, ModelError
from moee_topics.store import atomic_folder, refuse_existing, write_json

REPORT = "carving.json"


def check_settings(config: Any, settings: CarveSettings) -> None:
    """Refuses what cannot be carved, before any work.

    Raises:
        ModelError: the donor's layers are not gated or its attention is another one.
        InputError: the groups do not divide its neurons.
    """
    check_type(config.model_type)
    if getattr(config, "mlp_bias", False) or getattr(config, "sliding_window", None) is not None:
        raise ModelError(
            "This donor cannot be carved: its feed-forward layers have biases, or its attention is limited to a "
            "window, and the mixture that is written has neither."
        )
    left = config.intermediate_size - settings.groups * settings.group_size
    if settings.groups < 2 or settings.group_size < 1 or left < settings.group_size or left % settings.group_size:
        raise InputError(
            f"{settings.groups} groups of {settings.group_size} do not divide {config.intermediate_size} neurons: what "
            f"they leave for the shared part ({left}) must be a positive multiple of {settings.group_size}."
        )
    if not 0 <= settings.decorrelate < math.inf:
        raise InputError(f"decorrelate is 0 or more and finite, got {settings.decorrelate}.")
    if settings.seed < 0:
        raise InputError(f"seed is 0 or more, got {settings.seed}.")
    if not 0 < settings.strength <= 1:
        raise InputError(f"strength is above 0 and at most 1, got {settings.strength}.")
    if not isinstance(settings.active, int):
        raise InputError(
            f"active is one number for all layers, got {settings.active!r}: the router of every layer of Glm4MoeModel, "
            "which is written, reads the same num_experts_per_tok. dense_layers keeps the first layers whole."
        )
    if not 1 <= settings.active <= settings.groups or not 0 <= settings.dense_layers < config.num_hidden_layers:
        raise InputError(
            f"active must be 1 to {settings.groups} groups and dense_layers below {config.num_hidden_layers}; given "
            f"were {settings.active} and {settings.dense_layers}."
        )


def check_places(dense: PreTrainedModel, settings: CarveSettings) -> None:
    """Refuses a donor whose weights are not those that the mixture has a place for.

    Raises:
        ModelError: a layer is not gated, or a bias or a norm is there on one side alone.
    """
    for index, layer in enumerate(getattr(dense, "layers", [])):
        if not all(hasattr(getattr(layer, "mlp", None), name) for name in ("gate_proj", "up_proj", "down_proj")):
            raise ModelError(
                f"Layer {index} of this {type(dense).__name__} has no gated feed-forward (gate_proj, up_proj and "
                "down_proj); only such layers can be carved."
            )
    with torch.device("meta"):  # the names and shapes alone
        mixture = Glm4MoeModel(mixture_config(dense.config, settings))
    places, given = (
        {(name, tuple(weight.shape)) for name, weight in model.state_dict().items() if ".mlp." not in name}
        for model in (mixture, dense)
    )
    if places != given:
        name, shape = min(places ^ given)
        having, lacking = ("mixture", "donor") if (name, shape) in places else ("donor", "mixture")
        raise ModelError(
            f"This donor cannot be carved: the {having} has a weight {name} of shape {shape}, and the {lacking} none "
            "of that name and shape. Carve a model whose attention has the biases and norms of its published family."
        )


def check_rows(rows: Sequence[Sequence[int]], neurons: int) -> None:
    """Refuses calibration texts that say too little of so many neurons.

    Raises:
        InputError: they are too short, or a single one.
    """
    tokens = sum(len(row) for row in rows)
    if tokens < 2 * neurons:
        raise InputError(
            f"The calibration text has {tokens} tokens; at least {2 * neurons} are needed for {neurons} neurons, and "
            "ten times as many are better. Give a longer text."
        )
    if sum(len(row) > 1 for row in rows) < 2:  # whose means have no deviation
        raise InputError(
            f"The {tokens} tokens of calibration are all of one text; how texts differ is seen from two at least, "
            "and well from a hundred. Give more texts."
        )


def carve(
    dense: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    settings: CarveSettings,
    *,
    finished: FinishedLayers | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[PreTrainedModel, list[LayerCut]]:
    """Cuts every feed-forward layer of a dense decoder.

    Args:
        dense: the base model without head, in float32.
        rows: token ids of the calibration texts, one row a text.
        settings: the shape.
        finished: layers of the same carving that were cut before, to which the others are added.
        progress: called with the layers done and their number; by least squares each is done twice.

    Returns:
        The mixture, and the cut of each layer that was carved.

    Raises:
        ModelError: the donor is of a kind that cannot be carved.
        InputError: the settings do not fit it, or the calibration text is too short.
        ResourceError: the disk of the finished layers is full.
    """
    check_settings(dense.config, settings)
    check_places(dense, settings)
    check_rows(rows, dense.config.intermediate_size)
    finished = finished or FinishedLayers()
    layers = range(settings.dense_layers, dense.config.num_hidden_layers)
    steps = len(layers) * (1 + settings.least_squares)
    cuts: list[LayerCut] = []
    inputs: list[Tensor] = []
    for index in layers:
        if stored := finished.read(f"cut-{index:04}"):
            cut = LayerCut(**stored)
        else:
            if not inputs:  # which take as long as reading the text does: not if every layer was cut before
                inputs, first = feed_forward_inputs(dense, rows)
            cut = cut_layer(dense.layers[index].mlp, inputs[index].float(), first, settings, seed=index)
            finished.write(f"cut-{index:04}", vars(cut))
        cuts.append(cut)
        progress(len(cuts), steps)
    model = assemble(dense, cuts, settings)
    if settings.least_squares:
        del inputs
        fit_down_projections(
            model, dense, rows, finished=finished, progress=lambda done: progress(len(layers) + done, steps)
        )
    return model, cuts


@torch.no_grad()
def feed_forward_inputs(dense: PreTrainedModel, rows: Sequence[Sequence[int]]) -> tuple[list[Tensor], Tensor]:
    """What enters each feed-forward layer, (tokens, hidden) in bfloat16, and which tokens are the first of a text.

    Raises:
        ModelError: the donor computes what is no number.
    """
    inputs: list[list[Tensor]] = [[] for _ in dense.layers]

    def keep(index: int, _module: Any, arguments: tuple[Tensor]) -> None:
        # In 16 bits: all tokens of all layers are in memory together.
        inputs[index].append(arguments[0].reshape(-1, arguments[0].shape[-1]).bfloat16())

    handles = [layer.mlp.register_forward_pre_hook(partial(keep, i)) for i, layer in enumerate(dense.layers)]
    try:
        for row in rows:
            dense(input_ids=torch.tensor([list(row)]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    first = torch.cat([torch.arange(len(row)) == 0 for row in rows])
    whole = [torch.cat(parts) for parts in inputs]
    for index, layer in enumerate(whole):
        if not layer.isfinite().all():
            raise ModelError(
                f"What enters the feed-forward of layer {index} of this donor is not finite on the calibration text: "
                "its weights are damaged. Download it again, or carve another model."
            )
    return whole, first


def mixture_config(config: Any, settings: CarveSettings) -> Glm4MoeConfig:
    """The configuration of the mixture for a donor's."""
    shared = config.intermediate_size // settings.group_size - settings.groups
    rope = dict(config.rope_parameters) | {"partial_rotary_factor": 1.0}
    return Glm4MoeConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        hidden_act=config.hidden_act,
        max_position_embeddings=config.max_position_embeddings,
        rms_norm_eps=config.rms_norm_eps,
        tie_word_embeddings=config.tie_word_embeddings,
        rope_parameters=rope,
        attention_bias=config.model_type == "qwen2" or getattr(config, "attention_bias", False),
        use_qk_norm=config.model_type == "qwen3",
        moe_intermediate_size=settings.group_size,
        n_routed_experts=settings.groups,
        n_shared_experts=shared,
        num_experts_per_tok=settings.active,
        # Chosen weights are normalised to 1 and scaled by their number: with small logits each counts fully.
        routed_scaling_factor=float(settings.active),
        first_k_dense_replace=settings.dense_layers,
        norm_topk_prob=True,
        num_mtp_layers=0,
        **{ROUTER_STRENGTH: settings.strength},
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )


@torch.no_grad()
def assemble(dense: PreTrainedModel, cuts: Sequence[LayerCut], settings: CarveSettings) -> PreTrainedModel:
    """The mixture with the donor's weights in their new places."""
    model = Glm4MoeModel(mixture_config(dense.config, settings)).eval().float()
    others = {name: weight for name, weight in dense.state_dict().items() if ".mlp." not in name}
    model.load_state_dict(others, strict=False)  # check_places saw that each has its place
    for index, layer in enumerate(model.layers):
        donor = dense.layers[index].mlp
        if index < settings.dense_layers:
            layer.mlp.load_state_dict(donor.state_dict())
            continue
        moe, cut = layer.mlp, cuts[index - settings.dense_layers]
        gate, up, down = (getattr(donor, name).weight for name in ("gate_proj", "up_proj", "down_proj"))
        moe.experts.gate_up_proj.copy_(torch.cat([gate[cut.groups], up[cut.groups]], dim=1))
        moe.experts.down_proj.copy_(down[:, cut.groups].transpose(0, 1))
        moe.shared_experts.gate_proj.weight.copy_(gate[cut.shared])
        moe.shared_experts.up_proj.weight.copy_(up[cut.shared])
        moe.shared_experts.down_proj.weight.copy_(down[:, cut.shared])
        moe.gate.weight.copy_(cut.router * settings.strength)
        # The bias is added after the sigmoid, whose slope at 0 is a quarter.
        moe.gate.e_score_correction_bias.copy_(cut.bias * (settings.strength / 4))
    return model


def megaflops(config: Any, length: int = 128) -> float:
    """Multiplications and additions of one token in millions, attention over ``length`` tokens included."""
    head = config.head_dim
    width = head * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
    attention = config.hidden_size * width + head * config.num_attention_heads * length
    size = config.moe_intermediate_size
    sparse = 3 * config.hidden_size * size * (config.n_shared_experts + config.num_experts_per_tok)
    sparse += config.hidden_size * config.n_routed_experts
    full = 3 * config.hidden_size * config.intermediate_size
    dense = config.first_k_dense_replace
    layers = config.num_hidden_layers
    total: float = 2 * (layers * attention + (layers - dense) * sparse + dense * full) / 1e6
    return total


def calibration_rows(tokenizer: Any, texts: Iterable[str], *, tokens: int, longest: int = 256) -> list[list[int]]:
    """Token ids of texts, each cut at ``longest``, until ``tokens`` are reached."""
    rows: list[list[int]] = []
    taken = 0
    for text in texts:  # no further than needed: the source may be a corpus of the hub that is read as a stream
        if taken >= tokens:
            break
        row = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
        if len(row) > 1:
            rows.append(row)
            taken += len(row)
    return rows


@torch.no_grad()
def pooled_cosine(model: PreTrainedModel, dense: PreTrainedModel, rows: Sequence[Sequence[int]]) -> float:
    """Mean cosine of the two models' means over a text, each dimension standardized over the texts first."""
    # Raw means have a cosine near 1 whatever is lost.
    means = [
        torch.stack([each(input_ids=torch.tensor([list(row)]), use_cache=False)[0][0].mean(0) for row in rows])
        for each in (model, dense)
    ]
    center, deviation = means[1].mean(0), means[1].std(0).clamp_min(1e-6)
    ours, theirs = ((mean - center) / deviation for mean in means)
    return float(nn.functional.cosine_similarity(ours, theirs).mean())


def write_carved(
    folder: Path, model: PreTrainedModel, tokenizer: Any, cuts: Sequence[LayerCut], report: dict[str, Any]
) -> None:
    """Writes the mixture in hub layout and ``carving.json``: each layer's numbers beside what is given.

    Raises:
        InputError: the folder exists.
        ResourceError: the disk is full.
    """
    refuse_existing(folder)
    layers = [{n: round(v, 4) for n, v in vars(cut).items() if isinstance(v, float)} for cut in cuts]
    with atomic_folder(folder) as unfinished, quiet():
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        write_json(unfinished / REPORT, {**report, "layers": layers})
