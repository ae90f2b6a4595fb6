"""The stage that says how far topics are the data's: the corpus fitted again with other seeds and on samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from moee_topics.errors import InputError
from moee_topics.evaluate import STABILITY_READINGS, Kind, TopicRun, stability_scores, stability_summary
from moee_topics.messages import counted
from moee_topics.run.fit_stage import FitStage
from moee_topics.run.ledger import fingerprint
from moee_topics.run.refits import Refitter, ctfidf_words, refits_of
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder


class StabilityStage(Stage):
    """Fits the corpus again as often as the recipe asks, and says what the fits have in common."""

    name = "stability"
    outputs = (RunFolder.stability,)  # the fits themselves are kept beside it, also when nobody asks for them any more

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the recipe asks for any more fits."""
        return work.recipe.stability.fits > 0

    def inputs(self, work: Workspace) -> str | None:
        """The fit, and how often it is to be repeated."""
        fitted = FitStage().inputs(work)
        return None if fitted is None else fingerprint(fitted, asdict(work.recipe.stability))

    def reason(self, work: Workspace, *, done: bool) -> str:
        """How many fits."""
        if done:
            return super().reason(work, done=done)
        asked = work.recipe.stability
        return f"{counted(asked.seeds, 'more fit')} with other seeds, {asked.bootstraps} on bootstrap samples"

    def run(self, work: Workspace) -> Outcome:
        """Fits again, keeping each fit as soon as it is done.

        Raises:
            InputError: a sample of a tiny corpus has too few documents to fit.
        """
        own = RunFolder.model.read(work.run)
        refitter, refits = Refitter(work, own.result.texts), refits_of(work.recipe.stability)
        documents = counted(len(own.result.texts), "document")
        work.progress.begin(self.name, f"{counted(len(refits), 'more fit')} of {documents}")
        runs: dict[Kind, list[TopicRun]] = {}
        for done, refit in enumerate(refits, start=1):
            runs.setdefault(refit.kind, []).append(refitter.result(refit))
            work.progress.advance(done, len(refits), "fits")
        summary = stability_summary(TopicRun(own.result.topics, ctfidf_words(own)), runs, own.result.texts)
        RunFolder.stability.write(work.run, summary)
        _write_scores(work, {name: asdict(score) for name, score in stability_scores(summary).items()})
        values = [f"AMI {summary[kind]['ami']:.2f} {kind}" for kind in ("seeds", "bootstrap") if kind in summary]
        return Outcome(", ".join(values))

    def drop(self, work: Workspace) -> None:
        """Removes the result and its scores; the fits stay, for when they are asked for again."""
        if RunFolder.stability.exists(work.run):
            try:
                _write_scores(work, {})  # first the scores: a result that is left says they may be there
            except InputError:  # damaged: the fit, which lacks them then, makes them again
                RunFolder.scores.remove(work.run)
            RunFolder.stability.remove(work.run)


def _write_scores(work: Workspace, scores: Mapping[str, Any]) -> None:
    """Puts these in the place of all scores of stability."""
    others = {name: score for name, score in RunFolder.scores.read(work.run).items() if name not in STABILITY_READINGS}
    RunFolder.scores.write(work.run, {**others, **scores})
