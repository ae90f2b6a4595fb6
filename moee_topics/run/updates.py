"""A finished run grows: new documents come in, every update is a version, and topics keep their ids."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from moee_topics.corpus import Corpus
from moee_topics.errors import InputError, ModelError
from moee_topics.progress import Progress
from moee_topics.run.decision_versions import decisions_of, take_back
from moee_topics.run.document_changes import document_changes
from moee_topics.run.given_documents import GivenDocuments
from moee_topics.run.idle_keys import idle_note, idle_overrides
from moee_topics.run.policies import Policy
from moee_topics.run.reading import open_like, own_reading
from moee_topics.run.recipe_labels import asked_in, label_as_asked
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.versions import UpdatedRun, add_version, changing, fill_by_stages, renew_page
from moee_topics.run_folder import RunFolder


def update(
    folder: Path | str,
    sources: Sequence[str] = (),
    policy: Policy = "assign",
    *,
    documents: Any = None,
    ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    timestamps: Iterable[Any] | None = None,
    overrides: Sequence[str] = (),
    remove_missing: bool = False,
    store: Path | None = None,
    progress: Progress | None = None,
) -> UpdatedRun:
    """Brings new and changed documents into a finished run, as its next version; only new texts are encoded.

    Killed at any moment, it leaves the last version whole. Where the recipe of the run asks for labels, topics that are
    born get their names in a version of their own after it; names that fail are told and missing, no more.

    ::

        update("runs/posts", ["new.csv"], "grow")
        update("runs/posts", documents=df.body, ids=df.id)

    Args:
        folder: of the run.
        sources: of documents, read as the run read its own; without any and without documents, the run's own source is
            read again.
        policy: ``assign`` keeps all topics, ``grow`` adds new ones, ``refit`` fits again and finds the old ones in it.
        documents: new ones as objects, as :func:`run` takes them. Those with an id that is there take the place of the
            old ones; those without are known by their text.
        ids, labels, timestamps: one for each text.
        overrides: ``corpus.KEY=VALUE`` where the sources are to be read otherwise.
        remove_missing: documents that are in none of the sources go.
        store: root folder of the embeddings; the one that the run remembers unless told.
        progress: is told how far the work is.

    Raises:
        InputError: there is no finished run, no such policy, nothing new, or what cannot be read.
        ModelError: the model is gone, or is not the one the run was encoded with.
    """
    folder, started, progress = Path(folder), time.perf_counter(), progress or Progress()
    if policy not in get_args(Policy):
        raise InputError(f"There is no policy {policy!r}. Choose from {', '.join(get_args(Policy))}.")
    given = None if documents is None else GivenDocuments(documents, ids, labels, timestamps)
    if given is None and any(column is not None for column in (ids, labels, timestamps)):
        raise InputError("Ids, labels and timestamps belong to documents: update(…, documents=texts, ids=names).")
    with changing(folder) as run:
        corpora, decisions = list(corpora_like(run, sources, given, overrides)), decisions_of(run)
        idle_in_each = (set(idle_overrides(corpus.settings, overrides).items()) for corpus in corpora)
        if note := idle_note(set.intersection(*idle_in_each)):
            progress.note(note)
        changes = document_changes(run.current.result, corpora, remove_missing=remove_missing)
        names = [corpus.source for corpus in corpora]
        plan = VersionPlan(run, policy, changes, decisions.all, names, store, progress, started)
        _check_changes(plan, has_decisions=decisions.are_new)
        updated = add_version(plan, fill_by_stages)
        decisions.settle(updated.run, progress)
    try:
        label_as_asked(folder, asked_in(run), progress)
    except (InputError, ModelError) as error:  # what was asked for, the documents, is in
        progress.note(str(error))
    return updated


def undo(folder: Path, *, progress: Progress | None = None) -> int:
    """Goes back to the version that the current one was made of, and returns its number; nothing is deleted.

    Raises:
        InputError: there is no run, or no update to undo.
    """
    progress = progress or Progress()
    with changing(Path(folder)) as run:
        history = run.history
        if history is None or history["current"] == 1:
            raise InputError(f"{folder} has no update to undo: it is at version 1, its own fit.")
        record = next(one for one in history["versions"] if one["version"] == history["current"])
        if record["policy"] == "decide":  # first: what is in the file is applied again by the next update
            take_back(run, run.version(record["parent"]))
        RunFolder.history.write(run, {**history, "current": record["parent"]})
        renew_page(run, progress)
        policy_of = {one["version"]: one["policy"] for one in history["versions"]}
        if record["policy"] == "decide" != policy_of.get(record["parent"], "decide"):
            progress.note(
                f"Version {record['version']} had decisions alone, such as names. The documents of the update before "
                f"it, version {record['parent']}, are still in: undo once more to take them out."
            )
    return record["parent"]


def corpora_like(
    run: RunFolder, sources: Sequence[str], given: GivenDocuments | None, overrides: Sequence[str]
) -> Iterator[Corpus]:
    """Opens sources and documents the way a run read its own, which is the source where there are none.

    Raises:
        InputError: there is no such source.
        RecipeError: an override is not valid.
    """
    own = own_reading(run)
    # The run's own limit holds for its own source; new files were brought to be read.
    named = [{**own, "source": source, "limit": None} for source in sources]
    for section in named or ([] if given else [dict(own)]):
        yield open_like(section, section["source"], overrides, name="update")
    if given:
        yield given.corpus_like(own, overrides, name="update")


def _check_changes(plan: VersionPlan, *, has_decisions: bool) -> None:
    """Refuses an update of which nothing would follow, or after which nothing of the run would be left."""
    names = ", ".join(plan.sources)
    if plan.changes.is_nothing and plan.policy == "assign" and not has_decisions:
        raise InputError(
            f"Nothing is new: every document of {names} is in version {plan.history['current']} as it is. Other "
            "policies (grow, refit) also work on the documents that are there."
        )
    if not (plan.changes.rows >= 0).any():
        raise InputError(
            f"No document of the run would stay: none of its texts is in {names}. Was the right file given, and its "
            "columns (corpus.text=COLUMN, corpus.id=COLUMN)? If all is to be new, run the recipe on it."
        )
