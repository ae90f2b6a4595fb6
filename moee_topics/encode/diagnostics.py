"""What this machine can do for a model, what was chosen, and proofs that packing, capture and few bits work here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import OlmoeConfig, OlmoeForCausalLM, PreTrainedTokenizerFast

from moee_topics.encode.checks import Check, guarded
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.models import experts, loading, quantizer, small_operators
from moee_topics.encode.models.arithmetic import LEAST_GAIN, Products, times_as_fast
from moee_topics.encode.quantization import float8_checks, integer_products
from moee_topics.encode.router import RouterCapture, find_routers
from moee_topics.encode.settings import EncoderSettings, Quantize

FLAGS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "bf16", "sve")
"""What matters of what a processor can do, in torch's names."""
OLMOE = Products({(2048, 2048): 4}, {(2048, 1024): 8})
"""What a token of OLMoE-1B-7B goes through in each layer."""


def machine_checks() -> list[Check]:
    """Where models run, in which arithmetic, and with how many threads."""
    return [guarded(check) for check in (device, arithmetic, integers, float8, operators, threads)]


def proof_checks() -> list[Check]:
    """Packing, capture and quantized experts on a tiny random model: seconds."""
    with tiny_checkpoint() as folder:
        return [guarded(partial(prove, folder)) for prove in (four_bit, eight_bit, packing, capture)]


def device() -> Check:
    """The GPU, or what the processor can do."""
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Check("device", True, f"{torch.cuda.get_device_name(0)}, {total:.0f} GB, torch {torch.__version__}")
    abilities = torch.cpu.get_capabilities()
    flags = [name for name in FLAGS if abilities.get(name)]
    cpu = f"CPU ({abilities.get('cpu_name', abilities.get('architecture', 'unknown'))})"
    return Check("device", True, f"{cpu} with {', '.join(flags) or 'no extensions'}; torch {torch.__version__}")


def arithmetic() -> Check:
    """What was chosen: the kernels of torch and the type that models run in."""
    dtype = str(loading.default_dtype()).removeprefix("torch.")
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
    limits = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    chosen = ", ".join([dtype, f"{torch.backends.cpu.get_cpu_capability()} kernels", *limits])
    slow = "Slower than bfloat16, and twice the memory in use. A CPU with AVX512-BF16 or AMX, or a GPU, helps."
    advice = "" if dtype == "bfloat16" else slow
    return Check("arithmetic", True, chosen, advice)


def integers() -> Check:
    """Which products of 8-bit integers are exact here, and what ``quantize: auto`` makes of them at OLMoE's width."""
    exact = integer_products.exact_kinds()
    failed = [f"{kind} is not exact on this processor" for kind in integer_products.KINDS if kind not in exact]
    dtype = loading.default_dtype("cpu")
    name = str(dtype).removeprefix("torch.")
    if not exact:
        return Check("8-bit integers", True, f"{', '.join(failed)}: quantize: auto takes {name} on the CPU")
    faster = times_as_fast(exact[0], dtype, OLMOE)
    facts = [*failed, f"{exact[0]} is exact, and experts and linear layers {faster:.1f} x as fast in it as in {name}"]
    chosen = exact[0] if faster >= LEAST_GAIN else name
    detail = f"{', '.join(facts)}: quantize: auto takes {chosen} on the CPU at OLMoE's width"
    return Check("8-bit integers", True, detail)


def float8() -> Check:
    """Whether ``quantize: fp8`` is to be had here, and how."""
    place = loading.device_of()
    if reason := float8_checks.lacking(place):
        return Check("float8", True, f"no quantize: fp8, since {reason}")
    together = "all experts in one product" if float8_checks.groups(place) else "one expert after the other"
    rounding = float8_checks.passes_for(place).name
    return Check("float8", True, f"quantize: fp8 agrees with float32, {together}, rounded by {rounding}")


def operators() -> Check:
    """Which operators between matrix products are one pass here, in the type that models run in."""
    found = small_operators.operators_for(loading.device_of(), loading.default_dtype())
    detail = f"{', '.join(found.passes)} by {found.name}" if found.passes else "those of torch"
    return Check("small operators", True, detail)


def threads() -> Check:
    """Whether torch takes no more threads than there are cores."""
    # A container may lend fewer cores than the machine has; macOS and Windows cannot say.
    lent = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used, cores = torch.get_num_threads(), lent
    ok = used <= cores  # a barrier between too many costs milliseconds, at each of hundreds of products
    detail = f"{used} thread{'s' * (used != 1)} on {cores} core{'s' * (cores != 1)}"
    return Check("threads", ok, detail, "" if ok else f"Set OMP_NUM_THREADS={cores}.")


def four_bit(folder: Path) -> Check:
    """Whether experts really take four bits and compute what their weights say."""
    return _quantized(folder, "nf4")


def eight_bit(folder: Path) -> Check:
    """The same for eight bits."""
    return _quantized(folder, "int8")


def _quantized(folder: Path, kind: Quantize) -> Check:
    """The experts' forward beside the sum written out, relative to its largest value."""
    model, _ = loading.load_model(EncoderSettings(str(folder), quantize=kind))
    report = quantizer.check_quantized(model, kind)
    layer = next(module for _, module in experts.experts_modules(model))
    up, down = (experts.Matrices(layer, name, torch.float32).all() for name in experts.weight_names(layer))
    states = torch.randn(9, model.config.hidden_size, generator=torch.Generator().manual_seed(0)).to(up.device)
    gate, value = (states @ up[0].T).chunk(2, dim=-1)
    plain = (torch.nn.functional.silu(gate) * value) @ down[0].T
    first, weights = torch.zeros(9, 1, dtype=torch.long, device=up.device), torch.ones(9, 1, device=up.device)
    ours = experts.experts_forward(layer, states.to(model.dtype), first, weights.to(model.dtype)).float()
    error = float((ours - plain).abs().max() / plain.abs().max())
    ok = error < 0.02  # bfloat16 alone is off by 0.008
    detail = f"{report.bytes_per_expert_weight:.3f} bytes per expert weight, forward off by {error:.1e}"
    return Check(f"{kind} experts", ok, detail, "" if ok else "Use quantize: none, and report this line.")


def packing(folder: Path) -> Check:
    """Whether documents in one pack do not see each other."""
    encoder = MoEEncoder.from_pretrained(folder, prompt="none", max_tokens=64)
    texts = ["w1 w2 w3", "w4 w5 w6 w7 w8", "w9"]
    together = encoder.encode(texts).hidden_states
    alone = np.concatenate([encoder.encode(text).hidden_states for text in texts])
    apart = float(np.abs(together - alone).max() / np.abs(alone).max())
    ok = encoder.packed and apart < 0.02
    shortened = "last tokens alone" if encoder.shortens else "all tokens"
    detail = f"{encoder.layout}, together and alone differ by {apart:.1e}, the last layer runs for {shortened}"
    return Check("packing", ok, detail, "" if ok else "Embeddings are right but slow: install the tested transformers.")


def capture(folder: Path) -> Check:
    """Whether the hooks on the routers see what the model itself reports."""
    model, _ = loading.load_model(EncoderSettings(str(folder)))
    ids = torch.arange(1, 12, device=model.device)[None]
    with torch.no_grad(), RouterCapture(find_routers(model), lambda scores: scores[-1:], False) as hooks:
        reported = model(ids, output_router_logits=True, use_cache=False).router_logits
    captured, own = hooks.logits(), torch.stack([scores[-1:] for scores in reported], dim=1)
    ok = captured is not None and torch.equal(captured.float(), own.float())
    detail = f"{own.shape[1]} layers x {own.shape[2]} experts, " + ("identical" if ok else "different")
    return Check("router capture", ok, detail, "" if ok else "Install the tested transformers.")


@contextmanager
def tiny_checkpoint() -> Iterator[Path]:
    """A random OLMoE of 2 layers x 4 experts with a tokenizer, in a temporary folder."""
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
    with tempfile.TemporaryDirectory(prefix="moee-doctor-") as name, torch.random.fork_rng(), loading.quiet():
        torch.manual_seed(0)
        OlmoeForCausalLM(config).save_pretrained(name)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(name)
        yield Path(name)
