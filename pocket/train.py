"""Train the pocket model by next-token prediction, until the clock or the tokens run out.

    python -m pocket.train --data build/pocket --out moee_topics/encode/models/pocket --minutes 90

One GPU in bf16 or a few CPU cores. Seeded; resumes from ``--work`` when a checkpoint lies there. The learning rate
follows the fraction of ``--minutes`` (or of ``--tokens``) that is used up, so the model is annealed when time is up,
whatever else the machine is doing. ``--steps`` bounds the run as well, for tests.

On a busy CPU one single-threaded worker per core is faster than threads, which wait for each other at every operation:
``python -m torch.distributed.run --nproc-per-node 2 -m pocket.train ...``; the workers share each batch.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM

from pocket import fast
from pocket.muon import MuonAdamW

log = logging.getLogger("pocket.train")


@dataclass(frozen=True)
class Shape:
    """Dimensions of the model; the widths are multiples of 64."""

    layers: int = 6
    experts: int = 32
    top_k: int = 4
    hidden: int = 256
    expert_width: int = 64


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    ``minutes`` or ``tokens`` is what the schedule runs on (minutes where both are given); ``steps`` stops early.
    Until ``full_from`` of the schedule the loss is over ``sampled`` ids of the vocabulary (0: over all of it).
    """

    minutes: float | None = None
    tokens: int | None = None
    steps: int | None = None
    batch: int = 32
    warm_up: float = 0.02
    cool_down: float = 0.3
    sampled: int = 0
    full_from: float = 0.85
    balance: float = 0.01
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    seed: int = 0
    save_every: float = 300.0
    evaluate_every: int = 250


def build(shape: Shape, vocabulary: int, end: int, seed: int) -> OlmoeForCausalLM:
    """Make a freshly drawn bf16 model whose blocks start as the identity."""
    torch.manual_seed(seed)
    config = OlmoeConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.expert_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 64,
        num_experts=shape.experts,
        num_experts_per_tok=shape.top_k,
        max_position_embeddings=1024,
        norm_topk_prob=True,
        router_aux_loss_coef=0.01,
        tie_word_embeddings=True,
        pad_token_id=end,
        eos_token_id=end,
        use_cache=False,
        dtype="bfloat16",
    )
    model = OlmoeForCausalLM(config)
    with torch.no_grad():
        # transformers leaves the pad row at zero; here pad is also the end mark, which is read as context.
        model.model.embed_tokens.weight.normal_(std=config.initializer_range)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.experts.down_proj.zero_()
    return model.to(torch.bfloat16)


def learning_rate(progress: float, warm_up: float, cool_down: float) -> float:
    """Factor on the peak rate: linear warm-up, constant, then ``1 - sqrt`` decay to zero (Hägele et al., 2024)."""
    if progress < warm_up:
        return max(progress / warm_up, 1e-3)
    if progress < 1 - cool_down:
        return 1.0
    return max(0.0, 1.0 - math.sqrt(min(1.0, (progress - 1 + cool_down) / cool_down)))


class Rows:
    """Endless batches of packed rows in a seeded order, another order per epoch."""

    def __init__(self, path: Path, batch: int, seed: int) -> None:
        self.rows = np.load(path, mmap_mode="r")
        self.batch, self.seed = batch, seed
        self.per_epoch = len(self.rows) // batch
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, step: int) -> Tensor:
        """Return batch number ``step`` as ``int64 [batch, length + 1]``."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
        chosen = np.sort(self._order[place * self.batch : (place + 1) * self.batch])
        return torch.from_numpy(self.rows[chosen].astype(np.int64))


def average_gradients(model: torch.nn.Module, *values: Tensor) -> list[float]:
    """Average the gradients and the given scalars over the workers; return the scalars."""
    if not dist.is_initialized():
        return [value.item() for value in values]
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([part.detach().float().flatten() for part in (*gradients, *values)])
    dist.all_reduce(flat)
    parts = flat.div_(dist.get_world_size()).split([part.numel() for part in (*gradients, *values)])
    for gradient, part in zip(gradients, parts, strict=False):
        gradient.copy_(part.view_as(gradient))
    return [part.item() for part in parts[len(gradients) :]]


def agreed(value: float) -> float:
    """Return the first worker's value on every worker, for clocks differ."""
    if not dist.is_initialized():
        return value
    box = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(box, 0)
    return box.item()


class Trainer:
    """State of one run: model, optimizer, clock and log.

    Args:
        data: folder that ``pocket.prepare`` wrote.
        work: folder for the checkpoint and ``log.jsonl``.
        shape: dimensions of the model.
        plan: schedule and rates.
        compiled: whether to compile the element-wise pieces.
    """

    def __init__(self, data: Path, work: Path, shape: Shape, plan: Plan, compiled: bool = True) -> None:
        self.work, self.shape, self.plan, self.data = work, shape, plan, data
        work.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(data / "tokenizer")
        vocabulary = math.ceil(len(self.tokenizer) / 64) * 64
        self.model = build(shape, vocabulary, self.tokenizer.eos_token_id, plan.seed).to(self.device)
        self.optimizer = MuonAdamW(self.model, plan.muon_lr, plan.adam_lr)
        self.rows = Rows(data / "train.npy", plan.batch, plan.seed)
        self.rank, self.workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.held_out = np.load(data / "held_out.npy")
        self.steps, self.held_out_loss = 0, math.nan
        self.earlier, self.started = 0.0, time.perf_counter()
        if (work / "checkpoint.pt").exists():
            self.resume()
        if compiled:
            fast.Kernels.compile()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training so far, those before a resume counted in."""
        return self.earlier + time.perf_counter() - self.started

    @property
    def tokens(self) -> int:
        """Tokens seen so far."""
        return self.steps * self.plan.batch * (self.rows.rows.shape[1] - 1)

    @property
    def progress(self) -> float:
        """Used-up fraction of the schedule."""
        if self.plan.minutes is not None:
            return self.seconds / (60 * self.plan.minutes)
        return self.tokens / (self.plan.tokens or 1_000_000)

    def step(self, progress: float) -> dict[str, Any]:
        """Take one optimizer step at this point of the schedule and return its log record."""
        started = time.perf_counter()
        rate = learning_rate(progress, self.plan.warm_up, self.plan.cool_down)
        rows = self.rows[self.steps][self.rank :: self.workers].to(self.device)
        sampling = self.plan.sampled and progress < self.plan.full_from
        seed = self.steps * self.workers + self.rank
        found = fast.losses(self.model, rows, (self.plan.sampled, seed) if sampling else None)
        (found.language + self.plan.balance * found.balance).backward()
        language, balance = average_gradients(self.model, found.language, found.balance)
        self.optimizer.step(rate)
        self.steps += 1
        spent = time.perf_counter() - started
        experts = found.load.shape[1]
        return {
            "step": self.steps,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "loss": round(language, 4),
            "balance_loss": round(balance, 4),
            "router_entropy": [round(value, 3) for value in found.entropy.tolist()],
            "worst_expert_load": [round(value * experts, 2) for value in found.load.amax(1).tolist()],
            "lr": round(rate, 4),
            "tokens_per_second": round(self.tokens_per_step / spent),
        }

    @property
    def tokens_per_step(self) -> int:
        """Tokens in a batch."""
        return self.plan.batch * (self.rows.rows.shape[1] - 1)

    def evaluate(self, batches: int = 4) -> None:
        """Set the mean loss on the held-out rows; the training pass serves, as another mode would compile anew."""
        size = self.plan.batch // self.workers
        parts = [self.held_out[i * size : (i + 1) * size].astype(np.int64) for i in range(batches * self.workers)]
        rows = [torch.from_numpy(part).to(self.device) for part in parts if len(part) == size]
        values = [fast.losses(self.model, part).language.item() for part in rows]
        self.held_out_loss = round(sum(values) / len(values), 4) if values else math.nan

    def finished(self, progress: float) -> bool:
        """Whether the schedule or the step limit is used up."""
        return progress >= 1 or (self.plan.steps is not None and self.steps >= self.plan.steps)

    def run(self) -> None:
        """Train to the end of the plan; the first worker logs every step and saves now and then."""
        self.started = saved = time.perf_counter()
        while not self.finished(progress := agreed(self.progress)):
            record = self.step(progress)
            if self.rank == 0:
                self.report(record)
                if time.perf_counter() - saved > self.plan.save_every:
                    self.save()
                    saved = time.perf_counter()
        if self.rank == 0:
            self.evaluate()
            self.save()

    def report(self, record: dict[str, Any]) -> None:
        """Append a step's record to ``log.jsonl``, with the held-out loss when it is due."""
        if self.steps % self.plan.evaluate_every == 0:
            self.evaluate()
            record["held_out_loss"] = self.held_out_loss
        with (self.work / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        if self.steps % 20 == 0:
            log.info("%s", record)

    def save(self) -> None:
        """Write the checkpoint and the loadable model, each moved into place whole."""
        partial = self.work / "checkpoint.partial"
        torch.save({"steps": self.steps, "seconds": self.seconds, "optimizer": self.optimizer.state_dict()}, partial)
        partial.replace(self.work / "checkpoint.pt")
        self.export(self.work / "model")

    def resume(self) -> None:
        """Continue from the checkpoint in the work folder."""
        state = torch.load(self.work / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.steps, self.earlier = state["steps"], state["seconds"]
        self.optimizer.load_state_dict(state["optimizer"])
        log.info("resumed at step %d", self.steps)

    def export(self, folder: Path) -> None:
        """Write model, tokenizer and ``training.json`` in the hub's layout."""
        fresh = folder.with_name(folder.name + ".partial")
        shutil.rmtree(fresh, ignore_errors=True)
        self.model.save_pretrained(fresh)
        self.tokenizer.save_pretrained(fresh)
        record = {
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": round(self.seconds),
            "held_out_loss": self.held_out_loss,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "device": str(self.device),
            "cores": self.workers * torch.get_num_threads(),
            "shape": asdict(self.shape),
            "plan": asdict(self.plan),
            "data": json.loads((self.data / "meta.json").read_text()),
        }
        (fresh / "training.json").write_text(json.dumps(record, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors leaves its file unreadable to others
            path.replace(folder / path.name)
        fresh.rmdir()


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; every field of ``Shape`` and ``Plan`` is an option."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("build/pocket"))
    parser.add_argument("--work", type=Path, default=Path("build/pocket/run"))
    parser.add_argument("--out", type=Path, default=Path("moee_topics/encode/models/pocket"))
    parser.add_argument("--no-compile", action="store_true")
    for name, default in (asdict(Shape()) | asdict(Plan())).items():
        kind = float if name == "minutes" else int if default is None else type(default)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=default)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, train and export."""
    options = vars(options_of(arguments))
    shape = Shape(**{name: options[name] for name in asdict(Shape())})
    plan = Plan(**{name: options[name] for name in asdict(Plan())})
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    trainer = Trainer(options["data"], options["work"], shape, plan, not options["no_compile"])
    trainer.run()
    if trainer.rank == 0:
        trainer.export(options["out"])
        log.info("exported to %s", options["out"])
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
