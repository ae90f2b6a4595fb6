"""``moee-topics models``, ``store`` and ``doctor``: what there is, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from moee_topics.cli.options import RUNS, Json, Offline, StorePath, command
from moee_topics.cli.printing import fact_lines, show

if TYPE_CHECKING:
    from moee_topics.store import EmbeddingStore


@command(name="ls")
def models_ls(as_json: Json = False) -> None:
    """List the model families whose routers can be read, and how."""
    from moee_topics.encode import supported_families

    families = [asdict(family) for family in supported_families()]
    lines = ("  ".join(str(value) for value in family.values() if value not in (None, "")) for family in families)
    show(families, lines, as_json=as_json)


@command("moee-topics models inspect pocket", name="inspect")
def models_inspect(
    name: Annotated[str, typer.Argument(help="Hub name, checkpoint folder, or pocket.", metavar="MODEL")],
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Say what a model is: layers, experts, sizes and memory.

    From its configuration alone; no weights are loaded.
    """
    from moee_topics.encode import describe

    card = asdict(describe(name))
    show(card, fact_lines(card), as_json=as_json)


@command("moee-topics models quantize allenai/OLMoE-1B-7B-0924 olmoe-nf4", name="quantize")
def models_quantize(
    name: Annotated[str, typer.Argument(help="Hub name or checkpoint folder.", metavar="MODEL")],
    folder: Annotated[Path, typer.Argument(help="New folder for the quantized checkpoint.")],
    kind: Annotated[Literal["nf4", "int8"], typer.Option("--to", help="Bits of the weights.")] = "nf4",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Quantize a model once and save it.

    A run with encoder.model=FOLDER then starts without quantizing again.
    """
    from moee_topics.encode import EncoderSettings, check_quantized, load_model, save_quantized

    model, tokenizer = load_model(EncoderSettings(name, quantize=kind))
    save_quantized(model, folder, tokenizer)
    report = check_quantized(model, kind)
    line = f"{report.tensor_bytes / 1e9:.2f} GB, {report.bytes_per_expert_weight:.3f} bytes per expert weight"
    show({"folder": folder, **asdict(report)}, [f"{folder}: {line}"], as_json=as_json)


@command()
def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, memory, and what works on it.

    A tiny model is packed, its routers are read and its experts quantized.
    Leaves with 1 if something does not.
    """
    from moee_topics.cli.doctor import run_checks

    checks = run_checks()
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<18} {check.detail}")
        lines += [f"      {'':<18} {check.advice}"] if check.advice else []
    show([asdict(check) for check in checks], lines, as_json=as_json)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@command(name="ls")
def store_ls(store: StorePath = RUNS / "store", as_json: Json = False) -> None:
    """List what a store holds, one entry for each way of encoding."""
    entries: list[dict[str, Any]] = [
        {
            "folder": opened.folder,
            "documents": len(opened),
            "bytes": sum(shard.bytes for shard in opened.shards),
            **opened.key,
        }
        for opened in _open_all(store)
    ]
    lines = (
        f"{entry['folder']}\n  {entry['documents']:,} documents, {entry['bytes'] / 1e6:,.1f} MB: {entry['model']} "
        f"({entry['revision']}), {entry['quantize']}, {entry['dtype']}, {entry['pooling']}, {entry['prompt']!r}, "
        f"at most {entry['max_tokens']} tokens"
        for entry in entries
    )
    show(entries, lines, as_json=as_json)


@command(name="verify")
def store_verify(
    store: StorePath = RUNS / "store",
    drop: Annotated[bool, typer.Option("--drop", help="Delete damaged shards; embed encodes them again.")] = False,
    as_json: Json = False,
) -> None:
    """Read every byte of a store and name damaged shards.

    Leaves with 4 if there are any that stay.
    """
    damages: list[dict[str, Any]] = []
    for opened in _open_all(store, writable=drop):
        with opened:
            damaged = opened.verify()
            if drop:
                opened.drop(damaged)
            damages += [{"folder": opened.folder, **asdict(damage)} for damage in damaged]
    lines = [
        f"{damage['folder']}/{damage['name']}: {damage['reason']}{' (deleted)' if drop else ''}" for damage in damages
    ]
    show(damages, lines or ["Every shard is whole."], as_json=as_json)
    raise typer.Exit(4 if damages and not drop else 0)


def _open_all(root: Path, *, writable: bool = False) -> Iterator[EmbeddingStore]:
    from moee_topics.errors import InputError
    from moee_topics.store import EmbeddingStore, stored_keys

    roots = sorted({path.parents[1] for path in root.rglob("key.json")})
    if not roots:
        raise InputError(f"{root} holds no embeddings. Encode some with: moee-topics embed RECIPE --output {root}")
    for folder in roots:
        for key in stored_keys(folder):
            yield EmbeddingStore.open(folder, key, writable=writable)
