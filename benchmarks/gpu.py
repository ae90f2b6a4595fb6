"""Speed of the encoder on one GPU, at OLMoE's shape with random weights, beside its former path and transformers' own.

    python -m benchmarks.gpu                                          some four minutes on an H200
    python -m benchmarks.gpu --steps fused fp8 --tokens 16384         bfloat16 and float8 alone
    python -m benchmarks.gpu --device cpu --layers 1 --documents 4    the same steps where there is no GPU

Every way reads the same documents, as long as posts of 20 Newsgroups. Tokens are those of the documents, operations
those that they need (``Shape.flops``): neither pads nor filler count. Each step is written to ``--out`` when it is
done; one that fails is written with its error, and the next goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import OlmoeModel

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import checkpoint
from benchmarks.checkpoint import Shape
from benchmarks.variants import MAX_TOKENS, PROMPT, Vectors
from moee_topics.encode.encoder import EncoderSpec, MoEEncoder
from moee_topics.encode.models import attention, experts, load_model, quantizer, small_operators
from moee_topics.encode.models.small_operators import TORCH, operators_for
from moee_topics.encode.quantization import few_bits, float8_checks
from moee_topics.encode.settings import EncoderSettings, FewBits

RESULT = Path(__file__).with_name("results") / "gpu-run.json"
TOKENS_PER_BATCH = (16384, 32768)
CALLS = (256, 512, 1024)
"""Documents of a call: a run makes calls of 256."""
ROUNDS = 3
"""In which ways are timed in turn, after one that is not counted."""
SECONDS_PER_STEP = 90
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, OSError, AssertionError)
GROUPS = {
    "products of experts": ("GroupProblemShape", "grouped", "_ZN7cutlass13device_kernelIN2at4cuda6detail"),
    "attention": ("flash", "fmha", "sdpa"),
    "other products": ("nvjet", "gemm", "cutlass", "cublas", "sm90_xmma", "splitKreduce"),
    "rounding": ("_round",),
    "gates": ("_gate",),
    "sums of experts": ("_add_up",),
    "rotation": ("_rotate",),
    "norms": ("layer_norm", "rms_norm", "RMSNorm"),
    "gathering rows": ("gather", "index", "scatter"),
    "choosing experts": ("sort", "topk", "TopK", "softmax", "histogram", "searchsorted", "scan", "arange"),
    "expanding weights": ("dequant", "Dequant"),
    "copies": ("copy", "Memcpy", "Memset", "CatArray"),
    "element-wise": ("elementwise", "reduce_kernel", "triton_"),
}
"""What the names of kernels say of them, the first that fits."""
NO_KERNELS = ("Command Buffer Full", "Lazy Function Loading", "Activity Buffer Request")


@dataclass
class Bench:
    """A model, the documents, and the vectors that others are compared with.

    Attributes:
        packs: tokens of a pack; of steps that take one size alone, the first.
        known: of the former path, or else of the fused one.
    """

    shape: Shape
    device: torch.device
    documents: int
    dtype: torch.dtype = torch.bfloat16
    packs: tuple[int, ...] = TOKENS_PER_BATCH
    model: Any = None
    tokenizer: Any = None
    texts: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    known: Vectors | None = None

    def prepare(self) -> dict[str, Any]:
        """Makes the model where it runs, and the documents."""
        attention.register()
        start, shape = time.perf_counter(), self.shape
        self.tokenizer = checkpoint.word_tokenizer(shape.vocabulary)
        room = MAX_TOKENS - len(self.tokenizer(PROMPT.format(text="w1"))["input_ids"]) + 1
        self.texts = checkpoint.texts_of(checkpoint.document_lengths(self.documents, room), shape.vocabulary)
        ids = self.tokenizer([PROMPT.format(text=text) for text in self.texts])["input_ids"]
        self.lengths = [*map(len, ids)]
        self.make()
        return {"tokens": sum(self.lengths), "seconds": time.perf_counter() - start, **surroundings(self.device)}

    def make(self) -> None:
        """Makes the model, with the same weights each time."""
        self.model = None  # before the next one is in memory
        with torch.device(self.device):
            self.model = OlmoeModel._from_config(self.shape.config(), dtype=self.dtype).eval().requires_grad_(False)
        torch.manual_seed(0)
        for weight in self.model.parameters():
            weight.normal_(0, 0.02) if weight.dim() > 1 else weight.fill_(1.0)

    @contextlib.contextmanager
    def rounded(self, kind: FewBits) -> Iterator[None]:
        """The model with its experts in few bits, while open."""
        self.make()
        try:
            for _, layer in experts.experts_modules(self.model):
                few_bits.round_weights(layer, [*experts.weight_names(layer)], kind)
            self.fused()
            yield
        finally:  # or the steps after one that failed would measure few bits under the name of bfloat16
            self.make()

    def former(self) -> None:
        """Gives the model its own operators, and the grouped experts of transformers."""
        for module in self.model.modules():
            vars(module).pop("forward", None)
        for _, layer in experts.experts_modules(self.model):
            layer.config._experts_implementation = "grouped_mm"

    def fused(self) -> dict[str, int]:
        """Gives the model the operators of this package, and its experts."""
        self.former()
        experts.use(self.model)
        return dict(small_operators.use(self.model, self.dtype))

    def encoder(self, *, pooling: str = "last_token", tokens: int | None = None) -> MoEEncoder:
        """An encoder of the model; its last layer runs for all tokens, so that operations are those of the whole."""
        shape = self.shape
        spec = EncoderSpec(
            *("folder", "random", "none", str(self.dtype).removeprefix("torch."), PROMPT, pooling, MAX_TOKENS),
            long_documents="truncate",
            layers=shape.layers,
            experts=shape.experts,
            hidden_size=shape.hidden,
        )
        encoder = MoEEncoder(self.model, self.tokenizer, spec, tokens)
        encoder.shortens = False
        return encoder

    def remember(self, encoder: MoEEncoder) -> None:
        """Keeps what an encoder gives, for others to be compared with."""
        found = encoder.encode(self.texts)
        self.known = Vectors(found.hidden_states, found.router_logits)

    def timed(self, encode: Callable[[list[str]], Any], texts: list[str] | None = None) -> tuple[Any, dict[str, Any]]:
        """Three runs over the documents: the first compiles and loads kernels and is told apart."""
        texts, seconds, found = texts or self.texts, [], None
        with measured_memory(self.device) as memory:
            for _ in range(3):
                start = time.perf_counter()
                found = encode(texts)
                synchronize(self.device)
                seconds.append(time.perf_counter() - start)
        lengths, best = self.lengths[: len(texts)], min(seconds[1:])
        return found, {
            "first_seconds": round(seconds[0], 3),
            "seconds": [round(each, 3) for each in seconds[1:]],
            "tokens_per_second": round(sum(lengths) / best),
            "tflops": round(self.shape.flops(lengths) / best / 1e12, 1),
            **memory,
        }

    def in_turn(self, ways: Mapping[str, Callable[[], Any]]) -> dict[str, dict[str, Any]]:
        """Several ways to read the documents, one after the other in each round, since the clock of a GPU wanders."""
        seconds = {name: list[float]() for name in ways}
        for _ in range(1 + ROUNDS):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                synchronize(self.device)
                seconds[name].append(time.perf_counter() - start)
        return {
            name: {
                "seconds": [round(each, 3) for each in found[1:]],
                "tokens_per_second": round(sum(self.lengths) / statistics.median(found[1:])),
            }
            for name, found in seconds.items()
        }

    def judged(self, encoder: MoEEncoder) -> dict[str, Any]:
        """Times an encoder, and compares its vectors: with the former path, and of documents alone."""
        found, result = self.timed(encoder.encode)
        entries = encoder.spec.reading.read_entries
        sequences = encoder.prompted[""].sequences(self.texts, "truncate")
        _, forward = self.timed(lambda _: encoder._encode_sequences(sequences, len(sequences), "", entries))
        result["without_tokenizing"] = {name: forward[name] for name in ("tokens_per_second", "tflops", "seconds")}
        if self.known is not None:
            result["cosine"] = cosines(found.hidden_states, self.known.hidden_states)
        some = range(0, len(self.texts), max(1, len(self.texts) // 3))
        result["alone_equal"] = [
            bool(np.array_equal(encoder.encode(self.texts[i]).hidden_states[0], found.hidden_states[i])) for i in some
        ]
        tensors = quantizer.measure(encoder.model).tensor_bytes / 1e9
        return result | {
            "model_gb": round(tensors, 2),
            "tokens_per_batch": encoder.tokens_per_batch,
            "layout": encoder.layout,
        }


def surroundings(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on."""
    names = ("torch", "transformers", "triton", "bitsandbytes", "numpy")
    found = {"python": sys.version.split()[0], "device": "cpu"}
    for name in names:
        with contextlib.suppress(ImportError):
            found[name] = version(name)
    if device.type == "cuda":
        found |= {"device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda or ""}
        query = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.draw", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            found["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.strip()
    return found


def synchronize(device: torch.device) -> None:
    """Waits for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def measured_memory(device: torch.device) -> Iterator[dict[str, float]]:
    """Most memory of tensors while open, in GB, on a GPU."""
    found: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["peak_gb"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)


def memory_in_use(device: torch.device) -> float:
    """Memory of tensors now, in GB, on a GPU."""
    return torch.cuda.memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def cosines(one: np.ndarray, other: np.ndarray) -> list[float]:
    """Mean and least cosine between rows."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    found = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return [round(float(found.mean()), 6), round(float(found.min()), 6)]


def microseconds(call: Callable[[], Any], device: torch.device, rounds: int = 20) -> float:
    """Of one call among many, after three that are not counted."""
    for _ in range(3):
        call()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(rounds):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / rounds * 1e6


def ceilings(bench: Bench) -> dict[str, Any]:
    """What the device reaches: products in bfloat16, and copies."""
    size = 8192 if bench.device.type == "cuda" else 512
    one, other = torch.randn(2, size, size, device=bench.device, dtype=bench.dtype)
    product = microseconds(lambda: one @ other, bench.device)
    copy = microseconds(one.clone, bench.device)
    return {"tflops": round(2 * size**3 / product / 1e6, 1), "copy_gb_per_second": round(4 * size**2 / copy / 1e3)}


def passes(bench: Bench) -> dict[str, Any]:
    """Each small operator on the states of one pack, by torch and by one pass."""
    shape, tokens, device = bench.shape, 16384 if bench.device.type == "cuda" else 64, bench.device

    def random(*size: int) -> Tensor:
        return torch.randn(*size, device=device, dtype=bench.dtype)

    rows, head = tokens * shape.top_k, shape.hidden // shape.heads
    states, weight = random(tokens, shape.hidden), random(shape.hidden)
    angles = torch.rand(1, tokens, head, device=device)
    places = torch.randperm(rows, device=device).view(tokens, shape.top_k)
    given = {
        "gated": random(rows, 2 * shape.intermediate).chunk(2, dim=-1),
        "weighted_sum": (
            *(random(rows, shape.hidden), places, random(tokens, shape.top_k)),
            torch.tensor([rows], dtype=torch.int32, device=device),
        ),
        "rotated": (
            *(random(1, tokens, shape.heads, head).transpose(1, 2), angles.cos().to(bench.dtype)),
            angles.sin().to(bench.dtype),
        ),
        "rms_norm": (states, weight, 1e-5),
    }
    ours, found = operators_for(device, bench.dtype), dict[str, Any]()
    norm = bench.model.norm
    for name, inputs in given.items():
        plain = getattr(TORCH, name) or (lambda states, *_: type(norm).forward(norm, states))
        replaced = getattr(ours, name) or plain
        found[name] = {
            "torch_us": round(microseconds(lambda call=plain, given=inputs: call(*given), device), 1),  # type: ignore[misc]
            "ours_us": round(microseconds(lambda call=replaced, given=inputs: call(*given), device), 1),  # type: ignore[misc]
        }
    return found | {"by": ours.name, "one_pass": list(ours.passes)}


def former_path(bench: Bench) -> dict[str, Any]:
    """The model's own operators, packed: what later steps are compared with."""
    bench.former()
    encoder = bench.encoder(tokens=16384)
    bench.remember(encoder)
    return bench.judged(encoder)


def fused_path(bench: Bench) -> dict[str, Any]:
    """The operators of this package, in packs of several sizes."""
    start = time.perf_counter()
    replaced = bench.fused()
    found: dict[str, Any] = {"replaced": replaced, "seconds_to_compile": round(time.perf_counter() - start, 2)}
    if bench.known is None:
        bench.remember(bench.encoder(tokens=bench.packs[0]))
    for tokens in bench.packs:
        found[f"packs of {tokens}"] = bench.judged(bench.encoder(tokens=tokens))
    return found


def calls(bench: Bench) -> dict[str, Any]:
    """The documents in several calls, as many as runs and libraries make them, with the last layer shortened."""
    bench.fused()
    encoder, texts = bench.encoder(), bench.texts
    encoder.shortens = True

    def in_calls_of(size: int) -> None:
        for at in range(0, len(texts), size):
            encoder.encode(texts[at : at + size])

    return bench.in_turn({f"calls of {size}": partial(in_calls_of, size) for size in CALLS})


def tokenizing(bench: Bench) -> dict[str, Any]:
    """A stream of calls of 256 documents: the next one tokenized beside the forward, or each after the one before."""
    bench.fused()
    encoder = bench.encoder()
    encoder.shortens = True
    entries = encoder.spec.reading.read_entries
    stream = [bench.texts[at : at + CALLS[0]] for at in range(0, len(bench.texts), CALLS[0])]
    ways: dict[str, Callable[[], Any]] = {
        "beside": lambda: [*encoder.encode_calls(stream, entries)],
        "one after the other": lambda: [[*encoder.encode_calls([call], entries)] for call in stream],
        "tokenizing alone": lambda: [encoder.prompted[""].sequences(call, "truncate") for call in stream],
    }
    return dict(bench.in_turn(ways))


def as_runs_do(bench: Bench) -> dict[str, Any]:
    """Last tokens with the last layer shortened, means over all tokens, and few documents."""
    bench.fused()
    short = bench.encoder()
    short.shortens = True
    found: dict[str, Any] = {"last layer for last tokens": bench.judged(short)}
    for pooling in ("mean", "weighted_mean"):
        known, bench.known = bench.known, None
        found[pooling] = bench.judged(bench.encoder(pooling=pooling))
        bench.known = known
    encoder = bench.encoder()
    for count in (1, 16, 64):
        found[f"{count} documents"] = bench.timed(encoder.encode, bench.texts[:count])[1]
    return found


def of_transformers(bench: Bench) -> dict[str, Any]:
    """transformers' own forward with grouped experts: padded rows of like length, as many tokens as our packs."""
    bench.former()
    bench.model.set_attn_implementation("sdpa")
    order = sorted(range(len(bench.texts)), key=lambda row: -bench.lengths[row])

    def encode(texts: list[str]) -> np.ndarray:
        hidden, start = [], 0
        while start < len(order):
            stop = start + max(1, 16384 // bench.lengths[order[start]])
            batch = [PROMPT.format(text=texts[row]) for row in order[start:stop]]
            inputs = bench.tokenizer(batch, padding=True, padding_side="right", return_tensors="pt")
            inputs = {name: inputs[name].to(bench.device) for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                out = bench.model(**inputs, output_router_logits=True, use_cache=False)
                last = inputs["attention_mask"].sum(1) - 1
                hidden.append(out.last_hidden_state[torch.arange(len(batch)), last].float().cpu())
            start = stop
        return torch.cat(hidden).numpy()[np.argsort(order)]

    found, result = bench.timed(encode)
    return result | ({"cosine": cosines(found, bench.known.hidden_states)} if bench.known else {})


def profiles(bench: Bench) -> dict[str, Any]:
    """Kernels by either path."""
    found = dict[str, Any]()
    for name, path in (("former", bench.former), ("fused", bench.fused)):
        path()
        found[name] = kernels_of(bench)
    return found


def kernels_of(bench: Bench) -> dict[str, Any]:
    """Milliseconds of kernels by what they do, for a quarter of the documents."""
    encoder, texts = bench.encoder(tokens=16384), bench.texts[::4]
    encoder.encode(texts)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    start = time.perf_counter()
    with torch.profiler.profile(activities=activities) as profiler:
        encoder.encode(texts)
        synchronize(bench.device)
    wall = time.perf_counter() - start
    kernels = [event for event in profiler.key_averages() if event.device_type.name == "CUDA"]
    kernels = [event for event in kernels if event.key not in NO_KERNELS]
    times = Counter[str]()
    for event in kernels:
        times[group_of(event.key)] += event.self_device_time_total / 1e3
    most = sorted(kernels, key=lambda event: -event.self_device_time_total)[:30]
    return {
        "documents": len(texts),
        "wall_ms": round(wall * 1e3),
        "kernels_ms": round(sum(times.values()), 1),
        "groups_ms": {group: round(ms, 1) for group, ms in times.most_common()},
        "longest": [[e.key[:80], round(e.self_device_time_total / 1e3, 2), e.count] for e in most],
    }


def group_of(kernel: str) -> str:
    """What a kernel does, by its name."""
    return next((name for name, parts in GROUPS.items() if any(part in kernel for part in parts)), "other")


def float8(bench: Bench) -> dict[str, Any]:
    """``quantize: fp8``: experts in float8, attention in bfloat16."""
    with bench.rounded("fp8"):
        found = {f"packs of {tokens}": bench.judged(bench.encoder(tokens=tokens)) for tokens in bench.packs}
        return found | {"kernels": kernels_of(bench)}


def four_bits(bench: Bench) -> dict[str, Any]:
    """Experts in four bits, expanded layer by layer; attention stays in bfloat16."""
    with bench.rounded("nf4"):
        return {f"packs of {tokens}": bench.judged(bench.encoder(tokens=tokens)) for tokens in bench.packs}


def loading(bench: Bench) -> dict[str, Any]:
    """Seconds and memory of loading two layers from their files, quantized on the way."""
    found = dict[str, Any]()
    with tempfile.TemporaryDirectory() as name:
        shape = replace(bench.shape, layers=min(2, bench.shape.layers))
        folder = checkpoint.write_checkpoint(Path(name) / "model", shape)
        for kind in ("none", *(() if float8_checks.lacking(bench.device) else ("fp8",))):
            settings = EncoderSettings(str(folder), quantize=kind, dtype="bfloat16", device=str(bench.device))
            start = time.perf_counter()
            with measured_memory(bench.device) as memory:
                before = memory_in_use(bench.device)
                model, _ = load_model(settings)
            tensors = quantizer.measure(model).tensor_bytes / 1e9
            peak = {"peak_gb": round(memory["peak_gb"] - before, 2)} if memory else {}
            found[kind] = {"seconds": round(time.perf_counter() - start, 2), "model_gb": round(tensors, 2), **peak}
    return found


Step = Callable[[Bench], dict[str, Any]]
STEPS: dict[str, Step] = {
    "surroundings": Bench.prepare,
    "ceilings": ceilings,
    "former": former_path,
    "fused": fused_path,
    "as runs do": as_runs_do,
    "calls": calls,
    "tokenizing": tokenizing,
    "transformers": of_transformers,
    "profile": profiles,
    "passes": passes,
    "fp8": float8,
    "nf4": four_bits,
    "loading": loading,
}


def guarded(step: Step, bench: Bench, seconds: int) -> dict[str, Any]:
    """What a step gives, or why it gives nothing."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"stopped after {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    start = time.perf_counter()
    try:
        found = step(bench)
    except FAILURES as error:
        found = {"error": f"{type(error).__name__}: {error}"[:2000]}
    finally:
        signal.alarm(0)
    return found | {"step_seconds": round(time.perf_counter() - start, 1)}


def run(bench: Bench, out: Path, steps: dict[str, Step], seconds: int = SECONDS_PER_STEP) -> dict[str, Any]:
    """Runs the steps in their order, and writes all results after each."""
    result: dict[str, Any] = {}
    for name, step in steps.items():
        result[name] = guarded(step, bench, seconds)
        out.write_text(json.dumps(result, indent=1), encoding="utf-8")
        print(name, json.dumps({k: v for k, v in result[name].items() if k != "former"})[:1500], flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--documents", type=int, default=1024)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS_PER_BATCH, help="of a pack")
    parser.add_argument("--steps", nargs="+", choices=[*STEPS], default=[*STEPS])
    given = parser.parse_args()
    shape, device = replace(Shape(), layers=given.layers), torch.device(given.device)
    bench = Bench(shape, device, given.documents, packs=tuple(given.tokens))
    run(bench, given.out, {name: STEPS[name] for name in dict.fromkeys(["surroundings", *given.steps])})


if __name__ == "__main__":
    main()
