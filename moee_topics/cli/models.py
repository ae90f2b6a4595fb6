"""``moee-topics models``, ``doctor`` and ``store``: what there is, and whether it is sound."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from moee_topics.cli.root import RUNS, Commands, Json, Offline, go_offline, print_json

if TYPE_CHECKING:
    from moee_topics.store import EmbeddingStore

StoreFolder = Annotated[
    Path, typer.Argument(envvar="MOEE_TOPICS_STORE", help="Folder of the embeddings.", metavar="[STORE]")
]


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    models = typer.Typer(cls=Commands, help="Supported models, and what one of them is.", no_args_is_help=True)
    models.command("ls")(models_ls)
    models.command("inspect")(models_inspect)
    models.command("quantize")(models_quantize)
    app.add_typer(models, name="models")
    stores = typer.Typer(cls=Commands, help="What a store of embeddings holds, and whether it is whole.")
    stores.command("ls")(store_ls)
    stores.command("verify")(store_verify)
    app.add_typer(stores, name="store", no_args_is_help=True)
    app.command("doctor")(doctor)


def models_ls(as_json: Json = False) -> None:
    """List the model families whose routers can be read, and the semantics of their routers."""
    from moee_topics.encode import supported_families

    families = [asdict(family) for family in supported_families()]
    if as_json:
        print_json(families)
        return
    for family in families:
        typer.echo("  ".join(str(value) for value in family.values() if value not in (None, "")))


def models_inspect(
    name: Annotated[str, typer.Argument(help="Hub name, checkpoint folder, or pocket.")],
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Say what a model is from its configuration: layers, experts, sizes and memory at each precision."""
    go_offline(offline)
    from moee_topics.encode import describe

    card = asdict(describe(name))
    if as_json:
        print_json(card)
        return
    for line in _lines(card):
        typer.echo(line)


def models_quantize(
    name: Annotated[str, typer.Argument(help="Hub name or checkpoint folder.")],
    folder: Annotated[Path, typer.Argument(help="New folder for the quantized checkpoint.")],
    kind: Annotated[Literal["nf4", "int8"], typer.Option("--to", help="Bits of the weights.")] = "nf4",
    offline: Offline = False,
) -> None:
    """Quantize a model once and save it: encoder.model=FOLDER then starts without quantizing again."""
    go_offline(offline)
    from moee_topics.encode import loading, quantization

    model, tokenizer = loading.load_model(name, quantize=kind)
    quantization.save_quantized(model, folder, tokenizer)
    report = quantization.check_quantized(model, kind)
    typer.echo(
        f"{folder}: {report.tensor_bytes / 1e9:.2f} GB, {report.bytes_per_expert_weight:.3f} bytes per expert weight"
    )


def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, memory, and that packing, capture and 4-bit experts work here.

    Leaves with 1 if something does not.
    """
    from moee_topics.cli.doctor import run_checks

    checks = run_checks()
    if as_json:
        print_json([asdict(check) for check in checks])
    for check in checks if not as_json else []:
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<18} {check.detail}")
        if check.advice:
            typer.echo(f"      {'':<18} {check.advice}")
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def store_ls(store: StoreFolder = RUNS / "store", as_json: Json = False) -> None:
    """List what a store holds: one line for each way of encoding."""
    found: list[dict[str, Any]] = [
        {
            "folder": opened.folder,
            "documents": len(opened),
            "bytes": sum(shard.bytes for shard in opened.shards),
            **opened.key,
        }
        for opened in _open_all(store)
    ]
    if as_json:
        print_json(found)
        return
    for item in found:
        typer.echo(
            f"{item['folder']}\n  {item['documents']:,} documents, {item['bytes'] / 1e6:,.1f} MB: {item['model']} "
            f"({item['revision']}), {item['quantize']}, {item['dtype']}, {item['pooling']}, {item['prompt']!r}, "
            f"at most {item['max_tokens']} tokens"
        )


def store_verify(
    store: StoreFolder = RUNS / "store",
    drop: Annotated[bool, typer.Option("--drop", help="Delete damaged shards; embed encodes them again.")] = False,
    as_json: Json = False,
) -> None:
    """Read every byte of a store and name damaged shards. Leaves with 4 if there are any that stay."""
    found = [damage for opened in _open_all(store, writable=drop) for damage in _verified(opened, drop)]
    if as_json:
        print_json(found)
    for damage in found if not as_json else []:
        typer.echo(f"{damage['folder']}/{damage['name']}: {damage['reason']}{' (deleted)' if drop else ''}")
    if not found and not as_json:
        typer.echo("Every shard is whole.")
    raise typer.Exit(4 if found and not drop else 0)


def _verified(store: EmbeddingStore, drop: bool) -> list[dict[str, Any]]:
    with store:
        damaged = store.verify()
        if drop:
            store.drop(damaged)
    return [{"folder": store.folder, **asdict(damage)} for damage in damaged]


def _open_all(root: Path, *, writable: bool = False) -> Iterator[EmbeddingStore]:
    from moee_topics.errors import InputError
    from moee_topics.store import EmbeddingStore

    paths = sorted(root.rglob("key.json"))
    if not paths:
        raise InputError(f"{root} holds no embeddings. Encode some with: moee-topics embed RECIPE --output {root}")
    for path in paths:
        key = json.loads(path.read_text(encoding="utf-8"))
        yield EmbeddingStore.open(path.parent.parent, key, writable=writable)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if value is None or value == "":
            continue
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            text = ", ".join(f"{key} {_amount(item)}" for key, item in value.items())
        else:
            text = _amount(value)
        yield f"{words:<20} {text}"


def _amount(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return str(value)
    return f"{value:,}"
