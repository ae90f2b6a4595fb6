"""A run that grows: update, and what differs between two of its versions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from moee_topics.cli.options import Json, Manner, RunPath, StoreOfRun, command
from moee_topics.cli.stdout import show, show_tables
from moee_topics.defaults import FAR
from moee_topics.messages import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moee_topics.run import UpdatedRun


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files or folders of documents [default: the run's own source], and corpus.KEY=VALUE where they are "
        "to be read otherwise than the run read its own.",
        metavar="FILE|KEY=VALUE",
    ),
]
PolicyName = Annotated[
    Literal["assign", "grow", "refit"] | None,
    typer.Option(
        "--policy",
        help="Keep all topics, add new ones, or fit again and find the old ones in the new [default: assign].",
    ),
]
RemoveMissing = Annotated[bool, typer.Option("--remove-missing", help="Documents that are in none of the sources go.")]


@command(
    "moee-topics update runs/posts new.csv",
    "moee-topics update runs/posts new.csv --policy grow",
    "moee-topics update runs/posts --remove-missing   # from the run's own source",
    "moee-topics update runs/posts --undo",
)
def update(
    run: RunPath,
    sources: Sources = None,
    *,
    policy: PolicyName = None,
    remove_missing: RemoveMissing = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the version before.")] = False,
    store: StoreOfRun = None,
    manner: Manner,
) -> None:
    """Bring new documents into a finished run; topics keep their ids.

    Changed ones too: documents are known by id, those without one by their text. Every update is a version in the
    folder versions/ of the run; predict, report and compare are given the current one. A killed update leaves the
    last version whole.
    """
    from moee_topics.errors import InputError
    from moee_topics.run import undo as undo_update
    from moee_topics.run import update as update_run

    if undo:
        if sources or remove_missing or policy:
            raise InputError("--undo takes nothing but the run: it goes back to the version before.")
        version = undo_update(run, progress=manner.progress)
        show({"run": run, "version": version}, [f"{run} is at version {version} again."], as_json=manner.as_json)
        return
    # A file of such a name can still be given, as ./corpus.text=x.
    overrides = [word for word in sources or [] if re.match(r"corpus\.\w+=", word)]
    files = [word for word in sources or [] if word not in overrides]
    updated = update_run(
        run,
        files,
        policy or "assign",
        overrides=overrides,
        remove_missing=remove_missing,
        store=store,
        progress=manner.progress,
    )
    show({"run": run, "folder": updated.run.path, **updated.record}, _lines(updated), as_json=manner.as_json)


@command("moee-topics diff runs/posts v1 v3")
def diff(
    run: RunPath,
    first: Annotated[str, typer.Argument(help="The earlier version, such as v1.", metavar="FROM")],
    second: Annotated[str, typer.Argument(help="The later version.", metavar="TO")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The page [default: in RUN/versions].")] = None,
    as_json: Json = False,
) -> None:
    """Say what became of the topics between two versions.

    Born, grown, shrunk, merged, split and gone topics, those with other words, and the documents that moved; as a
    table and as a page.
    """
    from moee_topics.report import compare_versions, write_versions

    comparison = compare_versions(run, _number(first), _number(second))
    page = write_versions(run, comparison, output)
    show_tables({"page": page, **comparison.to_json()}, [comparison.to_table()], page, as_json=as_json)


def _number(version: str) -> int:
    """The number of a version as people write it: 3 or v3."""
    from moee_topics.errors import InputError

    if not re.fullmatch(r"v?[1-9]\d{0,8}", version):
        raise InputError(f"{version!r} is not a version. Expected a number such as v3; v1 is the run's own fit.")
    return int(version.removeprefix("v"))


def _lines(updated: UpdatedRun) -> Iterator[str]:
    record = updated.record
    yield (
        f"Version {record['version']} ({record['policy']}): {counted(record['added'], 'document')} new, "
        f"{record['changed']:,} changed, {record['removed']:,} removed, {record['encoded']:,} encoded; "
        f"{counted(record['documents'], 'document')} in {counted(record['topics'], 'topic')}."
    )
    yield from event_lines(updated)
    yield from _drift_lines(updated)
    yield f"Folder: {updated.run.path}"


def _drift_lines(updated: UpdatedRun) -> Iterator[str]:
    """How the new documents differ from the old ones, and what is advised."""
    drift = updated.record.get("drift")
    if drift is None:
        return
    moved = drift["moved"]
    yield (
        f"Drift: {drift['far']:.0%} of the new documents are unlike anything before ({FAR:.0%} without drift), and "
        f"{moved['value']:.0%} would have to change topics to be as the old (by chance up to {moved['chance']:.0%})."
    )
    if drift["advice"] not in ("none", updated.record["policy"]):
        folder = updated.run.root.path
        yield f"Advice: moee-topics update {folder} --policy {drift['advice']} – {'; '.join(drift['reasons'])}."


def event_lines(updated: UpdatedRun) -> Iterator[str]:
    """What became of the topics, a line for each."""
    names = {topic.topic: topic.name for topic in updated.run.result.topic_info}
    for event in updated.record["lineage"]:
        parts = ", ".join(f"{topic} ({share:.0%})" for topic, share in event["topics"])
        link = {"born": " from ", "split": " into ", "merged": " into ", "gone": ", went to "}[event["event"]]
        name = f"  {names[event['topic']]}" if event["topic"] in names else ""
        yield f"{event['topic']:>4} {event['event']}{link + parts if parts else ''}{name}"
