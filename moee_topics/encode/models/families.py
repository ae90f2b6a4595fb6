"""The mixture-of-experts families, and what their routers do. tests/encode/models/test_families.py checks them all."""

from __future__ import annotations

from dataclasses import dataclass

SOFTMAX = "softmax over all experts"
TOP_K = "softmax over the chosen experts"
SIGMOID = "sigmoid of each expert"
BIASED = "sigmoid of each expert, chosen with a learned bias"


@dataclass(frozen=True)
class Family:
    """One model type of transformers.

    Attributes:
        model_type: as in config.json; models of several parts (vision and text) go by that of their text decoder.
        router: how the model itself turns router scores into weights. What is stored is the same for all: the scores,
            and their softmax over all experts.
        layout: how documents run that one batch holds; see ``MoEEncoder.layout``.
        note: what is particular about it.
    """

    model_type: str
    router: str
    layout: str = "packed"
    note: str = ""


_LISTED = (
    Family("afmoe", BIASED),
    Family("aria_text", TOP_K),
    Family("axk1", BIASED),
    Family("axk2", BIASED, "padded"),
    Family("bailing_hybrid", BIASED, "padded"),
    Family("beam", BIASED),
    Family("cohere2_moe", f"{TOP_K}, or sigmoid, by its configuration"),
    Family("dbrx", SOFTMAX, note="16-bit only"),
    Family("deepseek", SOFTMAX, note="DeepSeekMoE v1, a native class of this package"),
    Family("deepseek_v2", SOFTMAX),
    Family("deepseek_v3", BIASED),
    Family("deepseek_v32", BIASED, "padded"),
    Family(
        "deepseek_v4", "square root of softplus, chosen with a learned bias", "padded", "hash-routed layers left out"
    ),
    Family("doge", TOP_K, "alone", "product keys: an expert scores the sum of its two halves; 16-bit only"),
    Family("dots1", BIASED),
    Family("dots3_note_text", BIASED, "padded"),
    Family("ernie4_5_moe", f"{SOFTMAX}, chosen with a learned bias"),
    Family("exaone_moe", BIASED),
    Family("flex_olmo", SOFTMAX),
    Family("flint", SIGMOID),
    Family("gemma4_text", SOFTMAX, note="records probabilities, stored as their logarithm"),
    Family("glm4_moe", BIASED),
    Family("glm4_moe_lite", BIASED),
    Family("glm4v_moe_text", BIASED),
    Family("glm5_next_text", BIASED, "padded"),
    Family("glm_moe_dsa", BIASED, "padded"),
    Family("gpt_oss", TOP_K, note="attention sinks"),
    Family("granitemoe", TOP_K),
    Family("granitemoe_swa", TOP_K, note="attention sinks"),
    Family("granitemoehybrid", TOP_K, "padded"),
    Family("granitemoeshared", TOP_K),
    Family("hunyuan_v1_moe", SOFTMAX),
    Family("hy_v3", BIASED),
    Family("hy_v4", BIASED, "padded"),
    Family("inkling2_text", BIASED, "padded"),
    Family("inkling_text", BIASED, "padded"),
    Family("jamba", SOFTMAX, "padded"),
    Family("jetmoe", TOP_K, note="two routers for each layer: attention and MLP; 16-bit only"),
    Family("kimi_linear", BIASED, "padded"),
    Family("kolibri1", SIGMOID),
    Family("laguna", BIASED),
    Family("lfm2_moe", BIASED, "padded"),
    Family("llama4_text", f"{SIGMOID}, the best one", note="16-bit only"),
    Family("longcat_flash", f"{SOFTMAX}, chosen with a learned bias", note="with experts that do nothing; 16-bit only"),
    Family("mellum", SOFTMAX),
    Family("mimo_v2_flash", BIASED),
    Family("minimax", SOFTMAX, "padded"),
    Family("minimax_m2", BIASED),
    Family("minimax_m3_vl_text", BIASED),
    Family("mistral4", SOFTMAX),
    Family("mistral_large4_text", SOFTMAX, "padded"),
    Family("mixtral", SOFTMAX),
    Family("muse_spark_text", SIGMOID),
    Family("nemotron_h", BIASED, "padded"),
    Family("olmoe", SOFTMAX),
    Family("phimoe", "sparse mixer"),
    Family("qwen2_moe", SOFTMAX),
    Family("qwen3_5_moe_text", SOFTMAX, "padded"),
    Family("qwen3_moe", SOFTMAX),
    Family("qwen3_next", SOFTMAX, "padded"),
    Family("qwen3_vl_moe_text", SOFTMAX),
    Family("qwen4_exp_text", SOFTMAX, "padded"),
    Family("solar_open", BIASED),
    Family("zaya", SOFTMAX, "padded", "an MLP as router, with a class for no expert"),
)

FAMILIES: dict[str, Family] = {family.model_type: family for family in _LISTED}

UNSUPPORTED: dict[str, str] = {
    "ernie4_5_vl_moe": "text and images go through two sets of experts; ernie4_5_moe is the text model",
    "openai_privacy_filter": "a classifier that attends to later tokens, no language model",
    "qwen3_omni_moe_thinker": "text, sound and images in one model, whose text part does not load by itself",
    "qwen3_vl_moe_vision": "the vision part of a model; its text part is qwen3_vl_moe_text",
    "switch_transformers": "an encoder and a decoder; only decoders are supported",
    "nllb-moe": "an encoder and a decoder; only decoders are supported",
}
"""Model types with routers that are not supported, and why."""
