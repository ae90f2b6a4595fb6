"""``moee-topics models``, ``store`` and ``doctor``: what there is, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moee_topics.cli.options import Json, Manner, Offline, Quiet, StorePath, command
from moee_topics.cli.stdout import fact_lines, show
from moee_topics.defaults import RUNS, STORE_NAME
from moee_topics.encode import CALIBRATION_TOKENS, CarveSettings, DistilSettings, Saved
from moee_topics.messages import counted

if TYPE_CHECKING:
    from moee_topics.store import EmbeddingStore


@command("moee-topics models ls", name="ls")
def models_ls(as_json: Json = False) -> None:
    """List the model families whose routers can be read.

    A line each: model type, what its router does, and how documents lie in a batch: packed end to end, padded, or
    alone.
    """
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

    Only its configuration is read, no weights.
    """
    from moee_topics.encode import describe

    card = asdict(describe(name))
    show(card, fact_lines(card), as_json=as_json)


@command("moee-topics models quantize allenai/OLMoE-1B-7B-0924 olmoe-nf4", name="quantize")
def models_quantize(
    name: Annotated[str, typer.Argument(help="Hub name or checkpoint folder.", metavar="MODEL")],
    folder: Annotated[Path, typer.Argument(help="New folder for the quantized checkpoint.", metavar="FOLDER")],
    kind: Annotated[Saved, typer.Option("--to", help="Weights in 4 bits, or in 8; fp8 is made by a GPU.")] = "nf4",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Quantize a model once and save it.

    Runs with encoder.model=FOLDER start without quantizing again.
    """
    from moee_topics.encode import EncoderSettings, check_quantized, load_model, save_quantized

    model, tokenizer = load_model(EncoderSettings(name, quantize=kind))
    save_quantized(model, folder, tokenizer)
    # Measured on the tensors: load_in_4bit of transformers 5 leaves experts in 16 bits without a word.
    report = check_quantized(model, kind)
    line = f"{report.tensor_bytes / 1e9:.2f} GB, {report.bytes_per_expert_weight:.3f} bytes per expert weight"
    show({"folder": folder, **asdict(report)}, [f"{folder}: {line}"], as_json=as_json)


TextSource = Annotated[
    str,
    typer.Option("--text", help="Texts of any topics: file, folder or hub:NAME.", metavar="SOURCE"),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out", help="Texts of evaluation, all columns; near-copies are not read; repeatable.", metavar="SOURCE"
    ),
]


@command(
    "moee-topics models carve smollm2.gguf smollm2-moe --text texts.parquet",
    name="carve",
)
def models_carve(
    source: Annotated[str, typer.Argument(help="Dense decoder: hub name, folder or .gguf file.", metavar="MODEL")],
    folder: Annotated[Path, typer.Argument(help="New folder for the mixture of experts.", metavar="FOLDER")],
    text: TextSource,
    *,
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, help="Tokens of the texts to look at.")
    ] = CALIBRATION_TOKENS,
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", min=0, help="Keep the first so many tokens; 0 keeps all.")
    ] = 0,
    leave_out: LeaveOut = None,
    settings: CarveSettings,
    manner: Manner,
) -> None:
    """Carve a dense decoder into a mixture of experts.

    The neurons of each feed-forward layer are split into a shared group and routed ones, by what they do on the
    texts. Nothing is trained; --least-squares fits what is left to the whole.

    Each layer that is done is kept, and the same command goes on with the next.
    """
    from moee_topics.encode import carve_checkpoint
    from moee_topics.progress import resumable

    manner.progress.begin("carve", source)
    with resumable("The same command goes on with the layers that are not done."):
        report = carve_checkpoint(
            source,
            folder,
            _texts(text),
            settings,
            tokens=tokens,
            vocabulary=vocabulary,
            held_out=chain.from_iterable(map(_every_text, leave_out or [])),
            progress=manner.progress.advance,
        )
    cost, cosine = report["megaflops_per_token"], report["pooled_cosine"]
    line = f"{folder}: {cost} MFLOP a token, cosine to the dense model {cosine:.3f} (standardized means of texts)"
    show({"folder": folder, **report}, [line, *_left_out(report)], as_json=manner.as_json)


@command(
    "moee-topics models distil smollm2-moe smollm2.gguf better --text news.txt",
    "moee-topics models distil moe smollm2.gguf better --text a.txt --pairs 0.6",
    name="distil",
)
def models_distil(
    source: Annotated[str, typer.Argument(help="Folder of the carved mixture.", metavar="MIXTURE")],
    parent: Annotated[str, typer.Argument(help="The dense decoder it was carved from.", metavar="MODEL")],
    folder: Annotated[Path, typer.Argument(help="New folder for what was learned.", metavar="FOLDER")],
    text: Annotated[
        list[str],
        typer.Option("--text", help="Texts of any topics: file, folder or hub:NAME; repeatable.", metavar="SOURCE"),
    ],
    *,
    leave_out: LeaveOut = None,
    settings: DistilSettings,
    manner: Manner,
) -> None:
    """Teach a carved mixture by its donor, and to tell texts apart.

    With --pairs it learns for a last share of the way, without labels, that two passages of one text belong together:
    better vectors for topics than its donor has, from many texts of many topics.

    A checkpoint is written every five minutes, from which the same command goes on.
    """
    from moee_topics.encode import distil_checkpoint
    from moee_topics.progress import resumable

    settings = replace(settings, hours=settings.hours or None)  # a checkpoint says null where there is no limit
    manner.progress.begin("distil", source)
    with resumable("The same command goes on from its last checkpoint."):
        report = distil_checkpoint(
            source,
            parent,
            folder,
            map(_texts, text),
            settings,
            held_out=chain.from_iterable(map(_every_text, leave_out or [])),
            progress=manner.progress.advance,
        )
    courses = [f"error of {n} {c['first']:.3f} -> {c['last']:.3f}" for n, c in report["errors"].items()]
    show(
        {"folder": folder, **report},
        [f"{folder}: {report['steps']} steps, {', '.join(courses)}", *_left_out(report)],
        as_json=manner.as_json,
    )


def _left_out(report: dict[str, Any]) -> list[str]:
    """The line that says how many texts were left out, where there were any."""
    numbers = report["left_out"] if isinstance(report["left_out"], list) else [report["left_out"]]
    return [f"{' + '.join(map(str, numbers))} near-copies of evaluation texts left out"] if any(numbers) else []


def _texts(source: str) -> Iterator[str]:
    from moee_topics.corpus import CorpusSettings, open_corpus

    # No labels: a column that is called so may hold anything, which would be checked for nothing.
    return (document.text for document in open_corpus(CorpusSettings(source, label="none")))


def _every_text(source: str) -> Iterator[str]:
    """The texts of evaluation data: of a table those of all columns, since pairs and questions stand in several."""
    from moee_topics.corpus import CorpusSettings, has_columns, read_table

    if not (Path(source).is_file() and has_columns(source)):
        yield from _texts(source)
        return
    for row in read_table(Path(source), CorpusSettings(source)).rows(None):
        for value in row.values.values():
            # A cell may hold a list of texts, as the summaries of one article.
            yield from (text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))


@command("moee-topics doctor")
def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, memory, and what works on it.

    Among other things a tiny random model is packed, its routers are read and its experts are quantized. Exits with 1
    if a check fails.
    """
    from moee_topics.cli.doctor import run_checks

    checks = run_checks()
    lines = []
    for check in checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<18} {check.detail}")
        lines += [f"      {'':<18} {check.advice}"] if check.advice else []
    show([asdict(check) for check in checks], lines, as_json=as_json)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@command("moee-topics store ls", "moee-topics store ls elsewhere/store --json", name="ls")
def store_ls(store: StorePath = RUNS / STORE_NAME, as_json: Json = False) -> None:
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
        f"{entry['folder']}\n  {counted(entry['documents'], 'document')}, {entry['bytes'] / 1e6:,.1f} MB: "
        f"{entry['model']} ({entry['revision']}), {entry['quantize']}, {entry['dtype']}, "
        f"{entry.get('view', entry['pooling'])}, {entry['prompt']!r}, at most {entry['max_tokens']} tokens"
        for entry in entries
    )
    show(entries, lines, as_json=as_json)


@command("moee-topics store verify", "moee-topics store verify --drop", name="verify")
def store_verify(
    store: StorePath = RUNS / STORE_NAME,
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete damaged files; embed encodes their documents again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every byte of a store and name its damaged files.

    Exits with 4 if there are any, unless --drop deletes them.
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


@command("moee-topics store merge store store-1 store-2 store-3", name="merge")
def store_merge(
    target: Annotated[Path, typer.Argument(help="Folder of embeddings, new or not.", metavar="TARGET")],
    sources: Annotated[
        list[str], typer.Argument(help="Others of the same settings, also at addresses as s3://…", metavar="SOURCE")
    ],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Copy the embeddings of other stores into one.

    The others stay as they are. Exits with 4 if one has damaged files, which are named and left out.
    """
    from moee_topics.store import merge_stores

    progress = Manner(quiet=quiet).progress
    progress.begin("merge", str(target))
    merged = merge_stores(target, sources, progress=progress)
    damages = [{"folder": folder, **asdict(damage)} for result in merged for folder, damage in result.damaged]
    entries = [{"folder": m.folder, "documents": m.documents, "new": m.new} for m in merged]
    lines = [f"{m.folder}: {counted(m.documents, 'document')}, {m.new:,} of them new" for m in merged]
    lines += [f"{damage['folder']}/{damage['name']}: {damage['reason']}, left out" for damage in damages]
    show({"stores": entries, "damaged": damages}, lines, as_json=as_json)
    raise typer.Exit(4 if damages else 0)


def _open_all(root: Path, *, writable: bool = False) -> Iterator[EmbeddingStore]:
    from moee_topics.errors import InputError
    from moee_topics.store import EmbeddingStore, stored_keys

    # At any depth: a store may lie in a folder of runs, and holds the store of its words.
    roots = sorted({path.parents[1] for path in root.rglob("key.json")})
    if not roots:
        raise InputError(f"{root} holds no embeddings. Encode some with: moee-topics embed RECIPE --output {root}")
    for folder in roots:
        for key in stored_keys(folder):
            yield EmbeddingStore.open(folder, key, writable=writable)
