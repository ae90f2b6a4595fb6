"""The whole OLMoE-1B-7B in four or eight bits on this machine: loads, encodes 64 posts, saves, loads again.

    SCIKIT_LEARN_DATA=... python benchmarks/full_size.py [--quantize w8a8]

Writes a random checkpoint of that shape in hub layout (13.8 GB, deleted after), loads it in a process of its own and
encodes posts of 20 Newsgroups (random words of the same lengths where scikit-learn does not have the posts). Whole
numbers are made anew at each start, so there nothing is saved.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import bench, checkpoint, workers
from benchmarks.bench import say
from benchmarks.checkpoint import Shape

GOALS = {
    "nf4": {"tensor_bytes": 4.0e9, "peak_memory_bytes": 6.0e9, "loading_peak_by_final_size": 1.4},
    "w8a8": {"peak_bytes_by_weights": 1.1},
}


def make_checkpoint(folder: Path, shape: Shape) -> int:
    """A random checkpoint with the tokenizer of the embedded model, unless it is there; returns its bytes."""
    from moee_topics.encode import POCKET

    if (folder / "tokenizer.json").exists():
        return folder_bytes(folder)
    checkpoint.write_checkpoint(folder, shape)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(POCKET / name, folder / name)
    return folder_bytes(folder)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix == ".safetensors")


def posts(count: int) -> tuple[list[str], str]:
    """Evenly chosen posts of 20 Newsgroups, and where they are from."""
    from sklearn.datasets import fetch_20newsgroups

    try:
        remove = ("headers", "footers", "quotes")
        found = fetch_20newsgroups(subset="all", remove=remove, download_if_missing=False).data
    except OSError:
        words = checkpoint.texts_of(checkpoint.document_lengths(count, 500), 12000)
        return words, "random words, as many as 20 Newsgroups has"
    return found[:: len(found) // count][:count], "20 Newsgroups"


def prove(folder: Path, texts: list[str], weights: int, settings: bench.Settings, quantize: Any) -> dict[str, Any]:
    """Loads, encodes, and saves four bits; each with its time and memory."""
    import torch

    from moee_topics.encode import MoEEncoder, check_quantized, save_quantized

    torch.set_num_threads(settings.threads)
    encoder, loading = workers.timed(lambda: MoEEncoder.from_pretrained(folder, quantize=quantize, device="cpu"), "cpu")
    after_loading = workers.anonymous_bytes()
    embeddings, encoding = workers.timed(lambda: encoder.encode(texts), "cpu")
    report = check_quantized(encoder.model, quantize)
    result = {
        "tensor_bytes": report.tensor_bytes,
        "bytes_per_expert_weight": report.bytes_per_expert_weight,
        "loading": asdict(loading),
        "loading_peak_by_final_size": loading.peak_memory_bytes / report.tensor_bytes,
        "memory_after_loading_bytes": after_loading,
        "encoding": asdict(encoding),
        "peak_memory_bytes": encoding.peak_memory_bytes,
        "peak_bytes_by_weights": encoding.peak_memory_bytes / weights,
        "encoder": asdict(encoder.report),
        "hidden_states_shape": embeddings.hidden_states.shape,
        "router_logits_shape": embeddings.router_logits.shape,
        "first_vectors": embeddings.hidden_states[:2].tolist(),
    }
    if quantize == "nf4":
        saved = saved_folder(folder)
        _, saving = workers.timed(lambda: save_quantized(encoder.model, saved, encoder.tokenizer), "cpu")
        result |= {"saving": asdict(saving), "saved_bytes": folder_bytes(saved)}
    return result


def saved_folder(folder: Path) -> Path:
    """Where a checkpoint is saved in four bits."""
    return folder.with_name(f"{folder.name}-nf4")


def second_start(folder: Path, texts: list[str], threads: int) -> dict[str, Any]:
    """Loads what was saved quantized."""
    import torch

    from moee_topics.encode import MoEEncoder

    torch.set_num_threads(threads)
    encoder, loading = workers.timed(lambda: MoEEncoder.from_pretrained(folder, device="cpu"), "cpu")
    vectors = encoder.encode(texts[:2]).hidden_states.tolist()
    return {"loading": asdict(loading), "quantize": encoder.spec.quantize, "first_vectors": vectors}


def apart(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """The result of ``work`` in a process of its own, so that memory is its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, work, given))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] = ours.recv()
    finally:
        process.join()
    return result


def _send(connection: Connection, work: Callable[..., dict[str, Any]], given: tuple[Any, ...]) -> None:
    connection.send(work(*given))


def run(settings: bench.Settings, shape: Shape, folder: Path, quantize: str) -> dict[str, Any]:
    """The whole proof, ready for JSON."""
    say(f"a checkpoint of {shape.parameters / 1e9:.2f} billion random weights")
    size = make_checkpoint(folder, shape)
    texts, source = posts(settings.documents[0])
    say(f"loading in {quantize}, encoding")
    first = apart(prove, folder, texts, shape.parameters, settings, quantize)
    first_vectors, goals = first.pop("first_vectors"), GOALS[quantize]
    result = {
        "checkpoint": {"bytes": size, "shape": asdict(shape), "weights": "random", "texts": source},
        "first_start": first,
        "goals": goals,
        "goals_met": {name: first[name] <= goal for name, goal in goals.items()},
    }
    if quantize == "nf4":
        say("loading what was saved")
        again = apart(second_start, saved_folder(folder), texts, settings.threads)
        result["second_start"] = again | {"vectors_identical": first_vectors == again.pop("first_vectors")}
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--folder", type=Path, help="where the checkpoint is or is to be kept; by default a temporary folder"
    )
    parser.add_argument("--quantize", choices=list(GOALS), default="nf4")
    parser.add_argument("--output", type=Path, help="by default full-size-QUANTIZE.json of the results")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    given = parser.parse_args(arguments)
    settings = bench.Settings(layers=given.layers, documents=(given.documents,), threads=given.threads)
    temporary = Path(tempfile.mkdtemp(prefix="olmoe-"))
    try:
        result = run(settings, Shape(layers=given.layers), given.folder or temporary / "olmoe", given.quantize)
    finally:
        shutil.rmtree(temporary)
    result |= bench.surroundings(settings) | {"note": given.note}
    from moee_topics.store import write_json  # late: imports are part of what is measured

    write_json(given.output or bench.RESULTS / f"full-size-{given.quantize}.json", result, indent=2)
    say(json.dumps({name: result[name] for name in ("first_start", "goals", "goals_met")}, indent=2))


if __name__ == "__main__":
    main()
