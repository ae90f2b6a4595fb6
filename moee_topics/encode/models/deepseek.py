"""DeepSeekMoE v1 (``model_type: deepseek``, deepseek-moe-16b-base) as a native class: no code of the checkpoint runs.

The architecture of arXiv 2401.06066: Llama's attention, a first dense layer, then layers of many small routed experts
beside shared ones. transformers has both halves under other names, and none under this model type.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.deepseek_v2.modeling_deepseek_v2 import (
    DeepseekV2DecoderLayer,
    DeepseekV2MLP,
    DeepseekV2Model,
    DeepseekV2Moe,
    DeepseekV2PreTrainedModel,
    DeepseekV2RMSNorm,
    DeepseekV2TopkRouter,
)
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding
from transformers.utils.output_capturing import OutputRecorder

from moee_topics.errors import ModelError

MODEL_TYPE = "deepseek"


class DeepseekMoeConfig(LlamaConfig):  # type: ignore[misc]
    """Configuration of DeepSeekMoE v1, with the names and defaults of its checkpoints.

    Raises:
        ModelError: a variant that no published checkpoint has and that is not implemented.
    """

    model_type = MODEL_TYPE
    attribute_map = {"num_experts": "n_routed_experts"}  # noqa: RUF012

    n_routed_experts: int = 64
    n_shared_experts: int = 2
    num_experts_per_tok: int = 6
    moe_intermediate_size: int = 1407
    first_k_dense_replace: int = 0
    moe_layer_freq: int = 1
    norm_topk_prob: bool = False
    scoring_func: str = "softmax"
    routed_scaling_factor: float = 1.0
    topk_method: str = "greedy"
    n_group: int | None = None
    topk_group: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Checks the variant after transformers has read the file."""
        super().__post_init__(**kwargs)
        variant = {name: getattr(self, name) for name in ("moe_layer_freq", "norm_topk_prob", "scoring_func")}
        if variant != {"moe_layer_freq": 1, "norm_topk_prob": False, "scoring_func": "softmax"}:
            raise ModelError(
                f"This DeepSeekMoE has {variant}; supported is what the published checkpoints have: "
                "moe_layer_freq 1, norm_topk_prob false, scoring_func softmax."
            )


class DeepseekMoeDecoderLayer(DeepseekV2DecoderLayer):  # type: ignore[misc]
    """Llama's attention before a dense layer or a mixture with shared experts."""

    def __init__(self, config: DeepseekMoeConfig, layer_idx: int) -> None:
        nn.Module.__init__(self)  # the parent's own would make the attention of DeepSeek-V2
        self.hidden_size = config.hidden_size
        self.self_attn = LlamaAttention(config, layer_idx)
        self.mlp = (DeepseekV2MLP if layer_idx < config.first_k_dense_replace else DeepseekV2Moe)(config)
        self.input_layernorm = DeepseekV2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = DeepseekV2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class DeepseekMoeModel(DeepseekV2Model):  # type: ignore[misc]
    """The base model of DeepSeekMoE v1; its forward is that of DeepSeek-V2 with other layers inside."""

    config: DeepseekMoeConfig
    config_class = DeepseekMoeConfig
    _no_split_modules = ["DeepseekMoeDecoderLayer"]  # noqa: RUF012
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": DeepseekMoeDecoderLayer,
        "attentions": LlamaAttention,
        "router_logits": OutputRecorder(DeepseekV2TopkRouter, index=0),
    }

    def __init__(self, config: DeepseekMoeConfig) -> None:
        DeepseekV2PreTrainedModel.__init__(self, config)  # as above: the parent's own would make its layers
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(DeepseekMoeDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = DeepseekV2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        """Yes: transformers looks for a decorator in the source of this file, which is in the parent's."""
        return True


def register() -> None:
    """Makes the model type known to transformers, unless it knows it already; calling it again changes nothing."""
    if MODEL_TYPE in CONFIG_MAPPING:
        return
    AutoConfig.register(MODEL_TYPE, DeepseekMoeConfig)
    AutoModel.register(DeepseekMoeConfig, DeepseekMoeModel)
    # The files hold one tensor per expert; classes outside transformers are fused only where this is said.
    register_checkpoint_conversion_mapping(MODEL_TYPE, get_checkpoint_conversion_mapping("qwen2_moe"))
