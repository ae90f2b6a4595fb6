"""Quantization of a whole mixture to few bits while it is loaded, its routed experts too (``quantize`` of a recipe).

``BitsAndBytesConfig(load_in_4bit=True)`` of transformers 5 replaces ``nn.Linear`` only, and the routed experts, which
hold nine tenths of the weights, are no longer linear layers: they stay in 16 bit without a word. This module registers
a quantizer of its own that quantizes them too, one projection of one layer at a time as the files are read. Routers,
norms and embeddings keep their precision.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from moee_topics.encode.models import experts, memory
from moee_topics.encode.quantization import (
    bitsandbytes_blocks,
    few_bits,
    float8_checks,
    float8_weights,
    integer_products,
)
from moee_topics.encode.quantization.few_bits import KINDS, QuantizedLinear, linear_class
from moee_topics.encode.quantization.float8_products import Float8Linear
from moee_topics.encode.quantization.integer_products import IntegerLinear, IntegerMatrix
from moee_topics.encode.settings import AUTO, FewBits, Integer, Quantize
from moee_topics.errors import ModelError
from moee_topics.store import atomic_folder, refuse_existing, write_text

METHOD = "moee_topics"
"""``quant_method`` in the config.json of a checkpoint that was saved quantized."""

# With scales they are 0.516 and 1.0625, and 1.002 where a row of OLMoE's width has one; in 16 bits they would be 2.
MOST_BYTES_PER_EXPERT_WEIGHT: dict[FewBits, float] = {"nf4": 0.53, "int8": 1.07, "w8a8": 1.1, "w7a8": 1.1, "fp8": 1.1}


@dataclass(frozen=True)
class QuantizationReport:
    """What a model's weights really take, measured on its tensors."""

    kind: str
    expert_weights: int
    expert_bytes: int
    tensor_bytes: int
    """All parameters and buffers of the model."""

    @property
    def bytes_per_expert_weight(self) -> float:
        """Bytes that one weight of the routed experts takes, its share of the scales included."""
        return self.expert_bytes / max(1, self.expert_weights)


@register_quantization_config(METHOD)
class BlockwiseConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What ``from_pretrained(quantization_config=...)`` takes, and what config.json of a quantized checkpoint holds."""

    def __init__(self, kind: FewBits = "nf4", **saved: Any) -> None:
        if kind not in KINDS:
            known = ", ".join([AUTO, *get_args(Quantize)])
            raise ModelError(f"The quantization {kind!r} is not known. Known are: {known}.")
        self.quant_method = METHOD
        self.kind = kind
        self.block = saved.get("block", bitsandbytes_blocks.BLOCK)
        if self.block != bitsandbytes_blocks.BLOCK:
            raise ModelError(
                f"This checkpoint was quantized in blocks of {self.block}; this version reads "
                f"{bitsandbytes_blocks.BLOCK}. Quantize the original checkpoint again."
            )


def quantization_config(config: Any, kind: Quantize, name: str) -> BlockwiseConfig | None:
    """What to hand to ``from_pretrained(quantization_config=...)``; None if nothing is to be quantized now.

    Raises:
        ModelError: the checkpoint is quantized already, in another way.
    """
    if kind == "none" or kind == quantized_as(config):  # "fp8" is also a method of transformers' own
        return None
    if stored := getattr(config, "quantization_config", None):
        raise ModelError(
            f"The checkpoint {name} is quantized already ({stored}); it cannot be quantized to {kind} again. "
            "Use quantize: none, which takes it as it is, or the original checkpoint."
        )
    return BlockwiseConfig(kind)


def stored_kind(config: Any) -> FewBits | None:
    """How a model is quantized, or was saved by ``save_quantized``; None if it was not."""
    stored = getattr(config, "quantization_config", None)
    stored = stored.to_dict() if isinstance(stored, QuantizationConfigMixin) else stored or {}
    return stored["kind"] if stored.get("quant_method") == METHOD else None


def quantized_as(config: Any) -> str:
    """How the weights of a model are stored: "none", a kind of this package, or the method of a foreign quantizer."""
    stored = getattr(config, "quantization_config", None)
    method = stored.get("quant_method") if isinstance(stored, dict) else getattr(stored, "quant_method", None)
    return str(stored_kind(config) or method or "none")


def check_quantized(model: nn.Module, kind: str) -> QuantizationReport:
    """Measures a loaded model and refuses it if its experts are not in the precision that was asked for.

    Raises:
        ModelError: the experts take more bytes than the kind allows, as with ``load_in_4bit``.
    """
    report = measure(model, kind)
    if not report.expert_weights and _routers(model):
        raise ModelError(f"The experts of this {type(model).__name__} could not be found, so not quantized to {kind}.")
    most = MOST_BYTES_PER_EXPERT_WEIGHT.get(kind, math.inf)  # type: ignore[call-overload]
    if report.bytes_per_expert_weight > most:
        raise ModelError(
            f"The experts of this {type(model).__name__} take {report.bytes_per_expert_weight:.3f} bytes per weight; "
            f"{kind} must take at most {most}. They were not quantized. Load the model with moee_topics' own "
            "quantization_config, or with quantize: none."
        )
    return report


def measure(model: nn.Module, kind: str = "none") -> QuantizationReport:
    """Counts the weights of the routed experts, their bytes, and the bytes of all tensors."""
    expert_weights = expert_bytes = packed_bytes = 0
    parts: Sequence[Tensor | IntegerMatrix]
    for module in model.modules():
        packed = [matrix for matrices in integer_products.packed(module).values() for matrix in matrices]
        packed_bytes += sum(matrix.nbytes for matrix in packed)
        if isinstance(module, QuantizedLinear | IntegerLinear | Float8Linear):
            continue
        if shapes := getattr(module, "quantized_shapes", None):
            parts = packed or [tensor for name in shapes for tensor in few_bits.quantized_parts(module, name).values()]
            expert_weights += sum(math.prod(shape) for shape in shapes.values())
        else:
            parts = stacked = [weight for weight in module.parameters(recurse=False) if _is_stacked(module, weight)]
            expert_weights += sum(weight.numel() for weight in stacked)
        expert_bytes += sum(part.nbytes for part in parts)
    # By address: tied weights are one tensor under two names.
    tensors = {t.data_ptr(): t.nbytes for t in [*model.parameters(), *model.buffers()]}
    return QuantizationReport(kind, expert_weights, expert_bytes, packed_bytes + sum(tensors.values()))


def _is_stacked(module: nn.Module, weight: Tensor) -> bool:
    """Whether a plain parameter holds several experts: three dimensions, or a class that is named so (dbrx).

    Experts that every token goes through (InklingSharedExperts) are no routed experts and may stay in 16 bits.
    """
    # GraniteMoeSharedExperts are the routed experts of the model GraniteMoeShared.
    if "Shared" in type(module).__name__.removeprefix("GraniteMoeShared"):
        return False
    if weight.dim() == 3:
        return not isinstance(module, nn.modules.conv._ConvNd) and weight.shape[-2] > 1
    return weight.dim() == 2 and "Expert" in type(module).__name__ and min(weight.shape) >= bitsandbytes_blocks.BLOCK


def quantizable_weights(model: PreTrainedModel, kind: FewBits) -> dict[str, list[str]]:
    """The name of each module whose weights can be held in few bits -> the names of these; experts first.

    Raises:
        ModelError: the experts cannot be held so.
    """
    layers = dict(experts.experts_modules(model))
    for name, module in model.named_modules():
        # Experts that are neither linear layers nor replaceable would stay in 16 bits without a word.
        if name not in layers and any(_is_stacked(module, part) for part in module.parameters(recurse=False)):
            raise ModelError(
                f"Models of type {model.config.model_type!r} cannot be quantized: their experts ({name}, "
                f"{type(module).__name__}) have a forward of their own that reads 16-bit weights. "
                "Use quantize: none."
            )
        if name in layers and (reason := _refused(module, kind)):
            raise ModelError(
                f"Models of type {model.config.model_type!r} cannot be quantized to {kind}: their experts {reason}. "
                "Use quantize: int8."
            )
    linear = [name for name, plain in _linear_layers(model) if _is_held(model, name, plain, kind)]
    of_experts = {name: [*experts.weight_names(layer)] for name, layer in layers.items()}
    return of_experts | {name: ["weight"] for name in linear}


def replace_linear_layers(model: PreTrainedModel, kind: FewBits) -> list[tuple[Any, list[str]]]:
    """Puts layers that read few bits in the place of linear layers; no weight is rounded yet.

    Returns:
        the modules whose weights are to be rounded, experts too, and the names of these weights.

    Raises:
        ModelError: the experts cannot be held so; then nothing was replaced.
    """
    modules = []
    for path, names in quantizable_weights(model, kind).items():
        module: Any = model.get_submodule(path)
        if type(module) is nn.Linear:
            module = linear_class(kind)(module)
            model.set_submodule(path, module)
        modules.append((module, names))
    return modules


def _refused(layer: Any, kind: FewBits) -> str:
    """Why experts cannot be held so; empty where they can."""
    if kind in bitsandbytes_blocks.KINDS:
        return ""
    if layer.is_transposed or layer.has_bias:
        return "are stored transposed or have a bias"
    shapes = [tuple(getattr(layer, name).shape) for name in experts.weight_names(layer)]
    if kind == float8_weights.KIND and not all(map(float8_weights.takes, shapes)):
        return f"are {shapes[-1][1]} x {shapes[-1][2]}, no multiples of {float8_weights.MULTIPLE}"
    return ""


def _is_held(model: PreTrainedModel, name: str, plain: nn.Linear, kind: FewBits) -> bool:
    """Whether a linear layer is to be held in few bits; some gates are of no shape that is taken."""
    if integer_products.is_integer(kind):
        return True
    if kind != float8_weights.KIND:
        return bitsandbytes_blocks.quantizable(plain.weight.shape)
    # Queries, keys, values and outputs stay: in float8 they save 3 to 8 % of the time, and the vectors of OLMoE's shape
    # have a cosine of 0.9957 where experts alone leave 0.9999 (benchmarks/LOG.md).
    layer = model.get_submodule(name.rpartition(".")[0])
    is_gated = {"gate_proj", "up_proj", "down_proj"} <= {child for child, _ in layer.named_children()}
    return is_gated and float8_weights.takes(plain.weight.shape)


def _linear_layers(model: PreTrainedModel) -> list[tuple[str, nn.Linear]]:
    """Those that may be rounded: a rounded router would send tokens elsewhere, which costs more than its bytes save."""
    kept = {part for router in _routers(model) for part in router.modules()} | {model.get_output_embeddings()}
    in_fp32 = {*(model._keep_in_fp32_modules or []), *(model._keep_in_fp32_modules_strict or [])}
    return [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module not in kept and not in_fp32 & set(name.split("."))
    ]


def to_integers(model: PreTrainedModel, kind: Integer) -> None:
    """Rounds the weights of a model in memory, one module after the other: as it would be, had it been loaded so.

    Raises:
        ModelError: the experts cannot be held so, or no kernel here multiplies a weight of this shape exactly.
    """
    for module, names in replace_linear_layers(model, kind):
        few_bits.round_weights(module, names, kind)
        memory.give_back()
    model.config.quantization_config = BlockwiseConfig(kind)
    experts.use(model)


@register_quantizer(METHOD)
class BlockwiseQuantizer(HfQuantizer):  # type: ignore[misc]
    """Quantizes while loading; see ``transformers.quantizers.HfQuantizer`` for when each method is called."""

    def validate_environment(self, *args: Any, **kwargs: Any) -> None:
        """Needs bitsandbytes, a processor that multiplies 8-bit integers, or a GPU that multiplies float8."""
        kind = self.quantization_config.kind
        if kind == float8_weights.KIND:
            float8_checks.check_kernel(kind, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        elif integer_products.is_integer(kind):
            integer_products.check_here(kind)
        else:
            bitsandbytes_blocks.bitsandbytes()

    def update_device_map(self, device_map: dict[str, Any] | None) -> dict[str, Any] | None:
        """Quantizes on the GPU if there is one and no other place was named."""
        # transformers would load to the CPU first, where the 16-bit weights of a large model may not fit.
        if device_map is None and torch.cuda.is_available():
            return {"": torch.cuda.current_device()}
        return device_map

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:
        kind = self.quantization_config.kind
        for module, names in replace_linear_layers(model, kind):
            few_bits.hold_quantized(module, names, kind)
        experts.use(model)

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> PreTrainedModel:
        if integer_products.is_integer(self.quantization_config.kind):
            for module in model.modules():
                integer_products.pack(module)
        float8_checks.check_weights(model)
        return model

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **kwargs: Any) -> bool:
        """Whether this weight of the files is to be quantized."""
        path, _, name = param_name.rpartition(".")
        return name in getattr(model.get_submodule(path), "quantized_shapes", {})

    def get_quantize_ops(self) -> ConversionOps:
        """The step after a weight of the files has been merged over the experts."""
        return _Quantize(self.quantization_config.kind)

    def is_serializable(self) -> bool:
        """``save_quantized`` saves it; ``save_pretrained`` would split the experts into their files' layout."""
        return False

    @property
    def is_trainable(self) -> bool:
        """No gradients."""
        return False


class _Quantize(ConversionOps):  # type: ignore[misc]
    def __init__(self, kind: FewBits) -> None:
        self.kind = kind

    def convert(self, input_dict: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        memory.give_back()  # what the weight before this one took in 16 bits
        parts = dict[str, Tensor]()
        for name, given in input_dict.items():
            weight = given[0] if isinstance(given, list) else given
            quantized = few_bits.quantize(weight, self.kind)
            parts |= {name + ending: nn.Parameter(part, requires_grad=False) for ending, part in quantized.items()}
        return parts


def _routers(model: nn.Module) -> list[nn.Module]:
    declared: list[Any] = [
        (getattr(part, "_can_record_outputs", None) or {}).get("router_logits") for part in model.modules()
    ]
    # A class declares one recorder, or a list of them where it has routers of several kinds.
    recorders = [one for some in declared for one in (some if isinstance(some, list) else [some])]
    classes = tuple(one.target_class for one in recorders if getattr(one, "target_class", None))
    return [module for module in model.modules() if isinstance(module, classes)]


def save_quantized(model: PreTrainedModel, folder: str | Path, tokenizer: Any = None) -> Path:
    """Saves a quantized model so that it loads again without quantizing, by the same call as any other folder.

    Args:
        model: as loaded with ``quantization_config``.
        folder: a new folder; config.json, safetensors of at most 4 GB with an index, and the tokenizer if given.

    Raises:
        InputError: the folder exists already.
        ModelError: the model is not quantized by this package, or to integers, which lie as its processor wants.
    """
    folder = Path(folder)
    if stored_kind(model.config) in integer_products.KINDS:
        raise ModelError("Weights in 8-bit integers are made anew at each start. Save the model in int8 or nf4.")
    if stored_kind(model.config) is None:
        raise ModelError(
            "This model was not quantized by this package, so there is nothing to save. Load a checkpoint in 16 or 32 "
            "bits with quantize: int8, nf4 or fp8; one that is quantized already is read as it is."
        )
    refuse_existing(folder)
    tensors = model.state_dict()
    split = split_torch_state_dict_into_shards(tensors, max_shard_size="4GB")
    with atomic_folder(folder) as unfinished:
        # Not save_pretrained: transformers 5.23 would take the experts apart into the layout of their files.
        for name, keys in split.filename_to_tensors.items():
            save_file({key: tensors[key].contiguous() for key in keys}, unfinished / name, metadata={"format": "pt"})
        if split.is_sharded:
            index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
            write_text(unfinished / "model.safetensors.index.json", json.dumps(index, indent=2))
        for part in [model.config] + ([tokenizer] if tokenizer is not None else []):
            part.save_pretrained(unfinished)
    return folder
