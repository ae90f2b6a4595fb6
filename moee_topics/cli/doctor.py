"""Checks of this machine and installation, in seconds: what works here, what does not, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from moee_topics.errors import MoEETopicsError

TESTED = {
    "torch": "2.13",
    "transformers": "5.23",
    "bitsandbytes": "0.50",
    "safetensors": "0.8",
    "bertopic": "0.17",
    "umap-learn": "0.5",
    "hdbscan": "0.8",
    "scikit-learn": "1.9",
    "numpy": "2.4",
}
"""The versions that the tests ran with."""

GB = 1e9
MEMORY_FOR_OLMOE = 6 * GB
"""Working memory of OLMoE-1B-7B in nf4, rounded up: 3.7 GB of tensors, 5.1 GB seen in use (benchmarks/LOG.md)."""
MEMORY_FOR_POCKET = 2 * GB
"""Working memory of the embedded model and a topic model of some ten thousand documents."""


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Attributes:
        name: what was checked.
        ok: whether it is as it should be.
        detail: what was found.
        advice: what to do if it is not, or what would help; empty where nothing is to be done.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""


def run_checks() -> list[Check]:
    """Runs every check; a check that fails by an error is reported as failed, with the error as its detail."""
    plain = [_guarded(check) for check in (versions, device, arithmetic, threads, memory, disk, hub, embedded_model)]
    with _tiny_checkpoint() as folder:
        proofs = [_guarded(partial(prove, folder)) for prove in (four_bit, eight_bit, packing, capture)]
    return plain + proofs


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except (MoEETopicsError, ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError) as e:
        name = getattr(getattr(check, "func", check), "__name__", "check").replace("_", " ")
        return Check(name, False, f"{type(e).__name__}: {e}", "Install the package again in a fresh environment.")


def versions() -> Check:
    """Python and packages beside the versions that the tests ran with."""
    found = {name: _version(name) for name in TESTED}
    missing = [name for name, version in found.items() if not version]
    other = [f"{n} {v} (tested: {TESTED[n]})" for n, v in found.items() if v and not v.startswith(f"{TESTED[n]}.")]
    detail = f"Python {platform.python_version()}; " + ("; ".join(other) if other else "all packages as tested")
    if missing:
        return Check("versions", False, f"{detail}; missing: {', '.join(missing)}", "pip install moee-topics")
    return Check("versions", True, detail, "If a check below fails, install the tested versions." if other else "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def device() -> Check:
    """Where models run."""
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / GB
        return Check("device", True, f"{torch.cuda.get_device_name(0)}, {total:.0f} GB, torch {torch.__version__}")
    capability = torch.backends.cpu.get_cpu_capability()
    return Check("device", True, f"CPU, {capability}, {len(_cores())} cores, torch {torch.__version__}")


def arithmetic() -> Check:
    """Whether bfloat16 is fast here; without it float32 is taken."""
    import torch

    from moee_topics.encode import loading

    if loading.default_dtype(loading.default_device()) is torch.bfloat16:
        return Check("bfloat16", True, "multiplied by the hardware")
    advice = (
        "Models run in float32: slower, and twice the memory in use. A CPU with AVX512-BF16 or AMX, or a GPU, helps."
    )
    return Check("bfloat16", True, "not multiplied by this processor", advice)


def threads() -> Check:
    """Whether torch takes no more threads than there are cores: a barrier between too many costs milliseconds."""
    import torch

    used, cores = torch.get_num_threads(), len(_cores())
    ok = used <= cores
    return Check("threads", ok, f"{used} threads on {cores} cores", "" if ok else f"Set OMP_NUM_THREADS={cores}.")


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def memory() -> Check:
    """Whether OLMoE-1B-7B in nf4 fits; the embedded model needs far less."""
    import psutil

    free = psutil.virtual_memory().available
    enough = free >= MEMORY_FOR_OLMOE
    advice = f"OLMoE-1B-7B in nf4 works in {MEMORY_FOR_OLMOE / GB:.0f} GB; free some, or use the embedded model."
    return Check("memory", free >= MEMORY_FOR_POCKET, f"{free / GB:.1f} GB free", "" if enough else advice)


def disk() -> Check:
    """Room for embedding stores and runs in the working folder."""
    free = shutil.disk_usage(Path.cwd()).free
    ok = free >= GB
    return Check("disk", ok, f"{free / GB:.1f} GB free in {Path.cwd()}", "" if ok else "Free at least 1 GB.")


def hub() -> Check:
    """Whether models can be downloaded, and where they are kept."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    place = f"cache {cache}" + ("" if cache.exists() else " (not there yet)")
    if constants.HF_HUB_OFFLINE:
        return Check(
            "hub", True, f"offline (HF_HUB_OFFLINE is set), {place}", "Unset HF_HUB_OFFLINE to download models."
        )
    existing = next(folder for folder in [cache, *cache.parents] if folder.exists())
    ok = os.access(existing, os.W_OK)
    return Check(
        "hub", ok, f"online, {place}", "" if ok else f"Set HF_HOME to a folder you can write; {existing} is not."
    )


def embedded_model() -> Check:
    """Whether the model that the package carries is complete."""
    from moee_topics.encode import POCKET

    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    missing = [name for name in wanted if not (POCKET / name).is_file()]
    detail = f"missing in {POCKET}: {', '.join(missing)}" if missing else "complete"
    return Check("embedded model", not missing, detail, "Install the package again." if missing else "")


def four_bit(folder: Path) -> Check:
    """Whether experts really take four bits and compute what their weights say."""
    return _quantized(folder, "nf4")


def eight_bit(folder: Path) -> Check:
    """The same for eight bits."""
    return _quantized(folder, "int8")


def _quantized(folder: Path, kind: Any) -> Check:
    from moee_topics.encode import loading, quantization

    model, _ = loading.load_model(folder, quantize=kind)
    report = quantization.check_quantized(model, kind)
    error = _experts_error(model)
    ok = error < 0.02
    detail = f"{report.bytes_per_expert_weight:.3f} bytes per expert weight, forward off by {error:.1e}"
    return Check(f"{kind} experts", ok, detail, "" if ok else "Use quantize: none, and report this line.")


def _experts_error(model: Any) -> float:
    """Largest difference of the experts' forward from the sum written out, relative to its largest value."""
    import torch

    from moee_topics.encode import experts

    layer = next(module for _, module in experts.experts_modules(model))
    up, down = (experts.Matrices(layer, name, torch.float32).all() for name in experts.weight_names(layer))
    states = torch.randn(9, model.config.hidden_size, generator=torch.Generator().manual_seed(0)).to(up.device)
    gate, value = (states @ up[0].T).chunk(2, dim=-1)
    plain = (torch.nn.functional.silu(gate) * value) @ down[0].T
    chosen, weights = torch.zeros(9, 1, dtype=torch.long, device=up.device), torch.ones(9, 1, device=up.device)
    ours = experts.experts_forward(layer, states.to(model.dtype), chosen, weights.to(model.dtype))
    return float((ours.float() - plain).abs().max() / plain.abs().max())


def packing(folder: Path) -> Check:
    """Whether documents in one pack do not see each other."""
    import numpy as np

    from moee_topics.encode import MoEEncoder

    encoder = MoEEncoder.from_pretrained(folder, prompt="none", max_tokens=64)
    texts = ["w1 w2 w3", "w4 w5 w6 w7 w8", "w9"]
    together = encoder.encode(texts).hidden_states
    alone = np.concatenate([encoder.encode(text).hidden_states for text in texts])
    apart = float(np.abs(together - alone).max() / np.abs(alone).max())
    ok = encoder.packed and apart < 0.02
    detail = ("packed" if encoder.packed else "padded") + f", together and alone differ by {apart:.1e}"
    return Check("packing", ok, detail, "" if ok else "Embeddings are right but slow: install the tested transformers.")


def capture(folder: Path) -> Check:
    """Whether the hooks on the routers see what the model itself reports."""
    import torch

    from moee_topics.encode import RouterCapture, find_routers, loading

    model, _ = loading.load_model(folder)
    ids = torch.arange(1, 12, device=model.device)[None]
    with torch.no_grad(), RouterCapture(find_routers(model), lambda scores: scores[-1:], False) as hooks:
        reported = model(ids, output_router_logits=True, use_cache=False).router_logits
    captured, own = hooks.logits(), torch.stack([scores[-1:] for scores in reported], dim=1)
    ok = captured is not None and torch.equal(captured.float(), own.float())
    detail = f"{own.shape[1]} layers x {own.shape[2]} experts, " + ("identical" if ok else "different")
    return Check("router capture", ok, detail, "" if ok else "Install the tested transformers.")


@contextmanager
def _tiny_checkpoint() -> Iterator[Path]:
    """A random OLMoE of 2 layers x 4 experts with a tokenizer, in a temporary folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import OlmoeConfig, OlmoeForCausalLM, PreTrainedTokenizerFast

    words = {"<end>": 0} | {f"w{i}": i for i in range(1, 64)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = OlmoeConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=0,
    )
    with tempfile.TemporaryDirectory(prefix="moee-doctor-") as name, torch.random.fork_rng(), _no_progress_bar():
        torch.manual_seed(0)
        OlmoeForCausalLM(config).save_pretrained(name)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(name)
        yield Path(name)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
