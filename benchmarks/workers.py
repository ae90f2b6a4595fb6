"""Each variant in a process of its own: its memory is its own, and rounds of several variants can alternate."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import torch

from benchmarks import variants
from benchmarks.variants import Texts, Vectors
from moee_topics.encode.quantization.integer_products import packed


@dataclass(frozen=True)
class Loaded:
    """What loading took."""

    seconds: float
    tensor_bytes: int
    memory_bytes: int
    peak_memory_bytes: int
    note: str = ""


@dataclass(frozen=True)
class Round:
    """One run over the documents that a way reads of a call."""

    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


class Memory:
    """Most memory in use while open: anonymous memory of the process (Linux), or the allocator's on a GPU."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device != "cpu"
        self.peak = 0

    def __enter__(self) -> Self:
        self.peak, self._done = 0, threading.Event()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = torch.cuda.max_memory_allocated() if self.on_gpu else max(self.peak, anonymous_bytes())

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, anonymous_bytes())


def anonymous_bytes() -> int:
    """Resident memory of this process that is not a mapped file; all resident memory where /proc does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        import psutil

        return int(psutil.Process().memory_info().rss)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def tensor_bytes(model: Any) -> int:
    """All parameters and buffers, shared ones once, and packed weights; 0 of what is no module of torch."""
    if not isinstance(model, torch.nn.Module):
        return 0
    plain = {t.data_ptr(): t.nbytes for t in [*model.parameters(), *model.buffers()]}
    matrices = [matrix for module in model.modules() for each in packed(module).values() for matrix in each]
    return sum(plain.values()) + sum(matrix.nbytes for matrix in matrices)


def timed(work: Callable[[], Any], device: str) -> tuple[Any, Round]:
    """Result of ``work``, its wall and processor seconds, and its peak memory."""
    with Memory(device) as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return result, Round(seconds, cpu_seconds, memory.peak)


def _serve(connection: Connection, name: str, folder: Path, device: str, threads: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    way, took = timed(lambda: variants.load(name, folder, device), device)
    connection.send(Loaded(took.seconds, tensor_bytes(way.model), anonymous_bytes(), took.peak_memory_bytes, way.note))
    while (texts := connection.recv()) is not None:
        connection.send(timed(lambda texts=texts: way.encode(texts), device))


class Worker:
    """A variant, loaded in a process of its own; a context manager."""

    def __init__(self, name: str, folder: Path, device: str, threads: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, folder, device, threads), daemon=True)
        self._process.start()
        theirs.close()
        self.loaded: Loaded = self._connection.recv()

    def encode(self, texts: Texts) -> tuple[Vectors, Round]:
        """Encodes once; vectors and what it took."""
        self._connection.send(texts)
        answer: tuple[Vectors, Round] = self._connection.recv()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._connection.send(None)
        self._process.join(timeout=30)
        self._connection.close()
