"""A recipe taken all the way to a report, or a part of the way, and what is looked at before hours of work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from moee_topics.distributed import WHOLE, Share
from moee_topics.encode import EncoderSource
from moee_topics.errors import InputError, RecipeError
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.run.decision_versions import decide, decisions_of
from moee_topics.run.finished_run import Run
from moee_topics.run.fit_stage import FitStage, check_fusion
from moee_topics.run.given_documents import GivenDocuments
from moee_topics.run.manifest import store_of, write_manifest
from moee_topics.run.recipe_labels import (
    are_names_alone,
    check_asked,
    forget_names,
    is_done,
    label_as_asked,
    label_costs,
)
from moee_topics.run.stage import Stage
from moee_topics.run.stages import STAGES, StagePlan, go_through
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import VERSIONS, RunFolder, read_decisions
from moee_topics.topics import LabelSection, check_large, check_packages, check_upstream

RESUME = "Run the same command again: finished stages are skipped, and encoding goes on where it stopped."


def run(
    recipe: Recipe | None = None,
    folder: Path | str | None = None,
    store: Path | None = None,
    *,
    documents: Any = None,
    ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    timestamps: Iterable[Any] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Takes a corpus all the way to a report; what is done already is skipped.

    ::

        run(load_recipe("quickstart"), "runs/quickstart")
        run(documents=df.body, ids=df.id, labels=df.group)

    Args:
        recipe: all of it; of documents that are given here, ``quickstart`` without its own corpus unless told.
        folder: the run's own folder; of documents that are given here ``runs/documents`` unless told.
        store: root folder of the embedding store, which runs share; unless told the one that a finished run remembers,
            or ``store`` beside the folder.
        documents: in the place of the recipe's source: texts or :class:`Document`, as a list, a generator or a column,
            or a whole table of pandas, polars, Arrow or ``datasets``. They are kept in the run folder as
            ``corpus.parquet``, which the recipe of the run names.
        ids, labels, timestamps: one for each text.
        progress: is told how far the work is.

    Returns:
        The run; where documents are given here or topics are to be named, the version that holds.

    Raises:
        MoEETopicsError: any of its kinds; see the stages. Where names fail, the rest is finished.
    """
    if documents is not None:
        recipe, folder = GivenDocuments(documents, ids, labels, timestamps).recipe_in(folder, recipe)
    elif recipe is None or folder is None or any(column is not None for column in (ids, labels, timestamps)):
        raise InputError("A run needs a recipe and a folder, or documents: run(documents=texts, ids=names, labels=…).")
    work = _workspace(recipe, folder, store, progress)
    made = _run_stages(STAGES, work)
    label_as_asked(work.folder, recipe.labels, work.progress)
    # A cell of a notebook that is run again goes on with what was updated since, and names are a version too.
    return made if documents is None and recipe.labels.provider == "none" else made.current


def fit(recipe: Recipe, folder: Path, store: Path | None = None, *, progress: Progress | None = None) -> Run:
    """Fits what is encoded already; no document goes through the model.

    Raises:
        StoreError: something is not encoded.
        MoEETopicsError: as for :func:`run`.
    """
    work = _workspace(recipe, folder, store, progress)
    work.may_encode = False
    upto_fit = 1 + [stage.name for stage in STAGES].index(FitStage.name)
    return _run_stages(STAGES[:upto_fit], work)


def plan(
    recipe: Recipe,
    folder: Path,
    store: Path | None = None,
    *,
    share: Share = WHOLE,
    progress: Progress | None = None,
) -> list[StagePlan]:
    """What :func:`run` would do, or :func:`embed` with a share, without doing it; the corpus is read and counted.

    Raises:
        MoEETopicsError: the recipe or the corpus cannot be used.
    """
    check(recipe)
    work = _workspace(recipe, folder, store, progress)
    work.share = share
    _spare_updates(work)
    plans = go_through(STAGES, work, only_plan=True)
    if recipe.labels != LabelSection():
        plans.append(_label_plan(work))
    return plans


def _label_plan(work: Workspace) -> StagePlan:
    """Whether somebody is asked for names or for a judgement, and how much of a topic that is."""
    asked = work.recipe.labels
    if FitStage().is_done(work) and is_done(work.folder, asked):
        return StagePlan("labels", "skip", "all that is asked for is there")
    sample = [document.text for document in islice(work.passing(), asked.documents)]
    costs = label_costs(asked, work.recipe.encoder, sample)
    return StagePlan("labels", "run", str(costs) if costs else "the run's own encoder judges the labels")


def check(recipe: Recipe) -> None:
    """Checks what the schema cannot: the device, what stop words and tokenizers need, and who is asked for labels.

    Raises:
        RecipeError: something upstream would refuse, or an endpoint cannot be asked.
        MissingExtraError: a package that the recipe needs is not installed.
        ModelError: a model that is to name topics is missing, or writes no text.
    """
    try:
        if recipe.encoder.device:  # to ask takes torch, which is slow to load
            _ = EncoderSource(recipe.encoder).device
        settings = Workspace(recipe, Path(), Path()).fit_settings()
        check_upstream(settings)
        check_packages(settings)
        check_asked(recipe.labels, recipe.encoder)
    except InputError as error:
        raise RecipeError(str(error)) from error


def _workspace(recipe: Recipe, folder: Path | str, store: Path | None, progress: Progress | None) -> Workspace:
    return Workspace(recipe, Path(folder), store or store_of(RunFolder(folder)), progress or Progress())


def _run_stages(stages: Sequence[Stage], work: Workspace) -> Run:
    read_decisions(work.run.decisions_path)  # a slip in that file is told before hours of encoding
    with resumable(RESUME):
        if fits_anew := not FitStage().is_done(work):
            check(work.recipe)  # before hours of encoding, but not where nothing is left to do: it loads UMAP
            check_large(work.fit_settings(), work.survey.documents)
            check_fusion(work)
            _spare_updates(work)
        with work.writing():
            if fits_anew and _is_of_another_fit(work):
                forget_names(work.run, FitStage().inputs(work) or "")
            go_through(stages, work)
            write_manifest(work, finished=stages == STAGES)
        history = work.run.history
        if history is not None and history["versions"] and work.recipe.labels.provider == "none":
            current = history["current"]
            work.progress.note(f"{work.folder} was updated: readers are given version {current}. This is version 1.")
    if decisions_of(RunFolder(work.folder)).are_new:  # written by hand, or for another fit
        decide(work.folder, store=work.store, progress=work.progress)
    return Run(work.folder)  # not the one of the work: what that has read may be a model in memory


def _spare_updates(work: Workspace) -> None:
    """Refuses another fit of a run that was updated, whose versions would be of a fit that is gone."""
    history = work.run.history if _is_of_another_fit(work) else None
    if history is not None and not are_names_alone(work.run, work.recipe.labels):
        raise InputError(
            f"{work.folder} was updated: version {history['current']} holds. This recipe would fit version 1 anew, as "
            "its corpus, its settings, the version of moee-topics or the store are others now. Take another --name "
            f"(decisions hold there too: copy {work.run.decisions_path.name} into its folder), bring new documents in "
            f"with: moee-topics update {work.folder} – or delete {work.folder / VERSIONS} to begin again without the "
            "updates."
        )


def _is_of_another_fit(work: Workspace) -> bool:
    """Whether the versions of a run were made of another fit than that of the recipe."""
    if not RunFolder.history.exists(work.run):
        return False  # and damaged digests, which reading would meet, are made again by the run
    history = work.run.history
    return history is not None and history["fit"] != FitStage().inputs(work)
