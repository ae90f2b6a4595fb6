"""The ways of encoding that are compared. Each takes a checkpoint folder and gives a function from texts to vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import llama
from moee_topics.encode.quantization.integer_products import check_kernel, is_exact, is_integer
from moee_topics.errors import ModelError

Texts = list[str]
PROMPT = 'This sentence : "{text}" means in one word:"'
MAX_TOKENS = 512
BATCH_REFERENCE, BATCH_SENTENCE_TRANSFORMERS = 32, 32  # the published code takes 64: more pads, and 10 GB at work


@dataclass(frozen=True)
class Vectors:
    """Last-token hidden states (N, D), and router logits (N, L, E) where the way gives them."""

    hidden_states: np.ndarray
    router_logits: np.ndarray | None

    def of(self, rows: np.ndarray) -> Vectors:
        """Those of some documents."""
        return Vectors(self.hidden_states[rows], None if self.router_logits is None else self.router_logits[rows])


Encode = Callable[[Texts], Vectors]


@dataclass(frozen=True)
class Way:
    """A model, what encodes with it, and what it computes in where its name does not say so."""

    model: Any
    encode: Encode
    note: str = ""


def reference(folder: Path, device: str) -> Way:
    """As the published code runs it: a causal LM, left padding, arrival order, everything returned and kept."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")

    def encode(texts: Texts) -> Vectors:
        hidden, routers = [], []
        for start in range(0, len(texts), BATCH_REFERENCE):
            batch = [PROMPT.format(text=text) for text in texts[start : start + BATCH_REFERENCE]]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            inputs = {name: inputs[name].to(device) for name in ("input_ids", "attention_mask")}
            with torch.no_grad():
                out = model(**inputs, output_hidden_states=True, output_router_logits=True)
            hidden.append(out.hidden_states[-1][:, -1].float().cpu())
            layers = [logits.float().cpu().view(len(batch), -1, logits.shape[-1]) for logits in out.router_logits]
            routers.append(torch.stack([logits[:, -1] for logits in layers], dim=1))
        return Vectors(torch.cat(hidden).numpy(), torch.cat(routers).numpy())

    return Way(model, encode)


def sentence_transformers(folder: Path, device: str) -> Way:
    """The encode of sentence-transformers: the base model, sorted by length, right padding, no router scores."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    options = {"model_kwargs": {"dtype": torch.bfloat16}, "max_seq_length": MAX_TOKENS}
    transformer = Transformer(str(folder), **options)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
    model = SentenceTransformer(modules=[transformer, pooling], device=device)

    def encode(texts: Texts) -> Vectors:
        prompted = [PROMPT.format(text=text) for text in texts]
        return Vectors(
            model.encode(prompted, batch_size=BATCH_SENTENCE_TRANSFORMERS, show_progress_bar=False).astype(np.float32),
            None,
        )

    return Way(model, encode)


def grouped_experts(folder: Path, device: str) -> Way:
    """transformers' own grouped experts: the base model, sorted by length, right padding, all routers kept."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16, experts_implementation="grouped_mm")
    model, tokenizer = model.to(device).eval(), AutoTokenizer.from_pretrained(folder, padding_side="right")

    def encode(texts: Texts) -> Vectors:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        hidden, routers = [], []
        for start in range(0, len(texts), BATCH_REFERENCE):
            batch = [PROMPT.format(text=texts[row]) for row in order[start : start + BATCH_REFERENCE]]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            inputs = {name: inputs[name].to(device) for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                out = model(**inputs, output_router_logits=True, use_cache=False)
            rows, last = torch.arange(len(batch), device=device), inputs["attention_mask"].sum(1) - 1
            hidden.append(out.last_hidden_state[rows, last].float().cpu())
            layers = [scores.view(len(batch), -1, scores.shape[-1])[rows, last] for scores in out.router_logits]
            routers.append(torch.stack(layers, dim=1).float().cpu())
        back = np.argsort(order)
        return Vectors(torch.cat(hidden).numpy()[back], torch.cat(routers).numpy()[back])

    return Way(model, encode)


def llama_cpp(folder: Path, kind: str) -> Way:
    """llama.cpp in embedding mode, which says nothing of routing."""
    model, encode = llama.encoder(folder, kind, PROMPT, MAX_TOKENS)
    return Way(model, lambda texts: Vectors(encode(texts), None), llama.kernels())


def ours(folder: Path, device: str, quantize: str, dtype: str | None) -> Way:
    """``MoEEncoder`` of this package, with the last layer whole."""
    from moee_topics.encode import MoEEncoder

    encoder = MoEEncoder.from_pretrained(
        folder, quantize=quantize, prompt=PROMPT, max_tokens=MAX_TOKENS, device=device, dtype=dtype
    )
    # Peers run the last layer for all tokens, and of two layers it is nearly half the work: what it saves is in LOG.md.
    encoder.shortens = False

    def encode(texts: Texts) -> Vectors:
        embeddings = encoder.encode(texts)
        return Vectors(embeddings.hidden_states, embeddings.router_logits)

    return Way(encoder.model, encode, f"{encoder.spec.quantize} {encoder.spec.dtype}")


def lacking(name: str, device: str) -> str:
    """Why a variant cannot run here; empty if it can."""
    if name in llama.KINDS and (package := llama.lacking()):
        return f"{package} is not installed"
    if is_integer(name):
        try:
            check_kernel(name, torch.device(device))
        except ModelError as error:
            return str(error)
    if name == "w7a8" and is_exact("w8a8"):
        return "w8a8 is exact here, and truer"
    return ""


def load(name: str, folder: Path, device: str) -> Way:
    """A variant, ready to encode."""
    if name == "reference":
        return reference(folder, device)
    if name == "sentence-transformers":
        return sentence_transformers(folder, device)
    if name == "grouped experts":
        return grouped_experts(folder, device)
    if name in llama.KINDS:
        return llama_cpp(folder, llama.KINDS[name])
    if name == "auto" or is_integer(name):  # beside them what this machine is fastest in: on AVX2 bfloat16 is a trap
        return ours(folder, device, name, None)
    quantize, dtype = {"fp32": ("none", "float32"), "bf16": ("none", "bfloat16")}.get(name, (name, "bfloat16"))
    return ours(folder, device, quantize, dtype)


OURS = ("fp32", "bf16", "w8a8", "w7a8", "int8", "nf4", "auto")
NAMES = ("reference", "sentence-transformers", "grouped experts", *llama.KINDS, *OURS)
EXACT = "fp32"
BYTES_PER_PARAMETER = {"fp32": 4.0, "nf4": 0.6, "llama.cpp Q8_0": 1.2, "llama.cpp Q4_K_M": 0.7} | dict.fromkeys(
    ("w8a8", "w7a8", "int8"), 1.1
)


def arithmetic(name: str, note: str) -> str:
    """What a way multiplies in: float32, bfloat16, or int8 for integers; ours say it in their note."""
    if name in llama.KINDS:
        return "int8"
    quantize, dtype = note.split() if name in OURS else ("none", "bfloat16")
    return "int8" if is_integer(quantize) else dtype
