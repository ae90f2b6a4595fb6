"""The whole road: embed, fit, stability, report; a stage whose inputs have not changed since it was done is skipped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moee_topics import __version__
from moee_topics.corpus import Corpus, Survey
from moee_topics.encode import EncoderSource, TokenCounts
from moee_topics.errors import InputError
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.report import ReportSettings
from moee_topics.run.encoding import (
    Encoded,
    corpus_of,
    embed_surveyed,
    encoded_before,
    encoder_of,
    survey_of,
)
from moee_topics.run.fitting import check, check_settings, fit
from moee_topics.run.manifest import (
    MANIFEST,
    Ledger,
    StageRecord,
    fingerprint,
    peak_memory_bytes,
    read_manifest,
    versions,
)
from moee_topics.run.refits import STABILITY_FILE, drop_refits, drop_stability, measure_stability
from moee_topics.store import EmbeddingStore, write_json, writing_alone

BELOW_THE_WALL = ("fusion", "umap", "hdbscan", "vectorizer", "ctfidf", "bertopic", "topics", "scores", "seed")
RESUME = "Run the same command again: finished stages are skipped, and encoding goes on where it stopped."


@dataclass(frozen=True)
class StagePlan:
    """What a run would do with one stage: "run" or "skip", and why."""

    name: str
    action: str
    reason: str


@dataclass
class Run:
    """One run of a recipe in its folder.

    Attributes:
        recipe: all of it.
        folder: of the run.
        store: root of the embedding store.
        progress: hears how far it is.
    """

    recipe: Recipe
    folder: Path
    store: Path
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder)
        self.corpus: Corpus = corpus_of(self.recipe)
        self.encoder = encoder_of(self.recipe)
        self._started = _now()

    def everything(self) -> Path:
        """Runs or skips every stage, and gives the run folder."""
        with resumable(RESUME):
            check_settings(self.recipe)
            found = survey_of(self.corpus, self.progress)
            if not self._is_fitted(found):
                check(self.recipe)  # before hours of encoding, but not where nothing is left to do: it loads UMAP
            with self._writing():
                self._write_report(self._measure(self._fit(self._embed(found))))
        return self.folder

    def fit_only(self) -> Path:
        """Fits what is encoded already; no document goes through the model."""
        with resumable(RESUME):
            check(self.recipe)
            found = survey_of(self.corpus, self.progress)
            encoded = encoded_before(self.recipe, found, self.store, self.encoder)
            record = StageRecord("embed", _embed_inputs(found, encoded.key), 0.0, skipped=True)
            with self._writing():
                self._fit(self._counted(encoded, self.ledger.done("embed", record.inputs) or record))
        return self.folder

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keeps other processes out of the folder, and knows what they finished before."""
        with writing_alone(self.folder):
            self.ledger = Ledger(self.folder)
            yield

    def _is_fitted(self, found: Survey) -> bool:
        key = self.encoder.stored_key(self.store)
        return key is not None and self.ledger.done("fit", _fit_inputs(self.recipe, found, key)) is not None

    def plan(self) -> list[StagePlan]:
        """What :meth:`everything` would do, without doing it; the corpus is read and counted."""
        check(self.recipe)
        found = survey_of(self.corpus, self.progress)
        key = self.encoder.stored_key(self.store)
        missing = found.unique if key is None else _missing(self.store, key, found)
        embed = StagePlan("embed", "run", f"{missing:,} of {found.unique:,} documents are not stored")
        if key is not None and not missing:
            embed = StagePlan("embed", "skip", f"all {found.unique:,} documents are stored")
        fitted = self._is_fitted(found)
        fit_plan = _stage_plan("fit", fitted, "its inputs are new or changed")
        reported = fitted and self.ledger.done("report", self._report_inputs()) is not None
        report_plan = _stage_plan("report", reported, "the fit or its own settings are new or changed")
        return [embed, fit_plan, *self._stability_plan(fitted), report_plan]

    def _stability_plan(self, fitted: bool) -> list[StagePlan]:
        section = self.recipe.stability
        if not section.fits:
            return []
        reason = (
            f"{section.seeds} more fits with other seeds and {section.bootstraps} on bootstrap samples are asked for"
        )
        return [_stage_plan("stability", fitted and self._measured() is not None, reason)]

    def _embed(self, found: Survey) -> Encoded:
        key = self.encoder.stored_key(self.store)
        record = self.ledger.done("embed", _embed_inputs(found, key)) if key else None
        if key and record and not _missing(self.store, key, found):
            self.progress.skip("embed", f"all {found.unique:,} documents are stored")
            self.ledger.skip(record)
            return self._counted(Encoded(found, key, TokenCounts(), 0, self.store), record)
        started = time.perf_counter()
        encoded = embed_surveyed(self.corpus, found, self.encoder, self.store, self.progress)
        outcome = f"{encoded.encoded:,} documents encoded, {found.unique - encoded.encoded:,} were stored"
        seconds = time.perf_counter() - started
        self.progress.end("embed", seconds, outcome)
        facts = {**asdict(encoded.counts), "encoded": encoded.encoded}
        self._finish("embed", _embed_inputs(found, encoded.key), seconds, facts)
        return encoded

    def _counted(self, encoded: Encoded, record: StageRecord) -> Encoded:
        known = {name: record.facts.get(name, 0) for name in asdict(TokenCounts())}
        return Encoded(encoded.survey, encoded.key, TokenCounts(**known), 0, encoded.store)

    def _fit(self, encoded: Encoded) -> Encoded:
        inputs = _fit_inputs(self.recipe, encoded.survey, encoded.key)
        record = self.ledger.done("fit", inputs)
        if record is not None:
            self.progress.skip("fit", "nothing it depends on has changed")
            self.ledger.skip(record)
            return encoded
        for stage in ("fit", "stability"):
            self.ledger.begin(stage)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        drop_refits(self.folder)
        started = time.perf_counter()
        fitted = fit(
            self.recipe, encoded, self.folder, corpus=self.corpus, encoder=self.encoder, progress=self.progress
        )
        facts = {"steps": dict(fitted.seconds), "dimensions": fitted.dimensions}
        self._finish("fit", inputs, time.perf_counter() - started, facts)
        self._write_manifest(encoded, finished=None)
        return encoded

    def _measure(self, encoded: Encoded) -> Encoded:
        inputs, record = self._stability_inputs(), self._measured()
        if record is not None:
            self.progress.skip("stability", "nothing it depends on has changed")
            self.ledger.skip(record)
            return encoded
        self.ledger.begin("stability")
        if inputs is None:
            drop_stability(self.folder)
            return encoded
        self._refit(encoded, inputs)
        return encoded

    def _refit(self, encoded: Encoded, inputs: str) -> None:
        started, fitted = time.perf_counter(), self.ledger.records["fit"].inputs
        found = measure_stability(
            self.recipe, encoded, self.folder, fitted, encoder=self.encoder, progress=self.progress
        )
        seconds = time.perf_counter() - started
        values = [f"AMI {found[kind]['ami']:.2f} {kind}" for kind in ("seeds", "bootstrap") if kind in found]
        self.progress.end("stability", seconds, ", ".join(values))
        self._finish("stability", inputs, seconds, {})

    def _measured(self) -> StageRecord | None:
        inputs = self._stability_inputs()
        there = inputs is not None and (self.folder / STABILITY_FILE).is_file()
        return self.ledger.done("stability", inputs) if inputs is not None and there else None

    def _stability_inputs(self) -> str | None:
        """The fit and how often it is to be repeated; None where stability is not asked for or nothing is fitted."""
        fitted, section = self.ledger.records.get("fit"), self.recipe.stability
        return fingerprint(fitted.inputs, asdict(section)) if fitted and section.fits else None

    def _write_report(self, encoded: Encoded) -> None:
        inputs = self._report_inputs()
        record = self.ledger.done("report", inputs)
        wanted = self.recipe.report.html
        if record is not None and (not wanted or (self.folder / "report.html").is_file()):
            self.progress.skip("report", "nothing it depends on has changed")
            self.ledger.skip(record)
        else:
            self.ledger.begin("report")
            self._write_manifest(encoded, finished=None)
            seconds = _timed_report(self.folder, self.recipe.report, self.progress) if wanted else 0.0
            self._finish("report", inputs, seconds, {})
        self._write_manifest(encoded, finished=_now())

    def _report_inputs(self) -> str:
        fitted = self.ledger.records.get("fit")
        measured = [inputs] if (inputs := self._stability_inputs()) else []
        return fingerprint(fitted.inputs if fitted else None, asdict(self.recipe.report), __version__, *measured)

    def _finish(self, name: str, inputs: str, seconds: float, facts: Mapping[str, Any]) -> None:
        self.ledger.finish(
            StageRecord(name, inputs, round(seconds, 3), peak_memory_bytes=peak_memory_bytes(), facts=facts)
        )

    def _write_manifest(self, encoded: Encoded, *, finished: str | None) -> None:
        records = self.ledger.records
        manifest = {
            "name": self.folder.name,
            "created": _created(self.folder) or self._started,
            "finished": finished,
            "versions": versions(),
            "seed": self.recipe.seed,
            "recipe": self.recipe.to_json(),
            "encoder": encoder_facts(self.encoder, encoded.key),
            "fusion": {
                **self.recipe.to_json()["fusion"],
                "dimensions": records["fit"].facts.get("dimensions") if "fit" in records else None,
            },
            "corpus": {**encoded.survey.to_json(), **asdict(encoded.counts)},
            "stages": [stage for record in records.values() for stage in _stages(record)],
            "peak_memory_bytes": max((record.peak_memory_bytes for record in records.values()), default=0),
            "hashes": {
                "corpus": encoded.survey.digest,
                "store": encoded.folder.name,
                "recipe": fingerprint(self.recipe.to_json()),
            },
        }
        write_json(self.folder / MANIFEST, manifest)


def run(recipe: Recipe, folder: Path, store: Path, *, progress: Progress | None = None) -> Path:
    """Takes a corpus all the way to a report; what is done already is skipped.

    Args:
        recipe: all of it.
        folder: the run's own folder.
        store: root folder of the embedding store; runs share it.
        progress: hears how far it is.

    Raises:
        MoEETopicsError: any of its kinds; see the functions of the stages.
    """
    return Run(recipe, folder, store, progress or Progress()).everything()


def report(folder: Path, *, progress: Progress | None = None) -> Path:
    """Writes the report of a fitted run again, from its files alone.

    Raises:
        InputError: the folder holds no fitted run.
    """
    section = read_manifest(folder).get("recipe", {}).get("report", {})
    options = {field.name: section[field.name] for field in fields(ReportSettings) if field.name in section}
    _timed_report(folder, ReportSettings(**options), progress or Progress())
    return folder / "report.html"


def _timed_report(folder: Path, settings: ReportSettings, progress: Progress) -> float:
    from moee_topics.report import write_report

    progress.begin("report", f"a map of at most {settings.map_documents:,} documents")
    started = time.perf_counter()
    path = write_report(folder, settings=settings)
    seconds = time.perf_counter() - started
    progress.end("report", seconds, str(path))
    return seconds


def encoder_facts(encoder: EncoderSource, key: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder as the manifest describes it."""
    asked = {"source": encoder.settings.model, "prompt": encoder.settings.prompt, "template": key["prompt"]}
    return {**key, **asked, **encoder.facts()}


def _embed_inputs(found: Survey, key: Mapping[str, Any]) -> str:
    return fingerprint(found.digest, key)


def _fit_inputs(recipe: Recipe, found: Survey, key: Mapping[str, Any]) -> str:
    below = {name: value for name, value in recipe.to_json().items() if name in BELOW_THE_WALL}
    return fingerprint(found.digest, key, below, __version__)


def _missing(store: Path, key: Mapping[str, Any], found: Survey) -> int:
    with EmbeddingStore.open(store, key) as opened:
        hashes = found.hash_list()
        return len({hashes[row] for row in opened.missing(hashes)})


def _stage_plan(name: str, done: bool, reason: str) -> StagePlan:
    return StagePlan(name, "skip", "nothing it depends on has changed") if done else StagePlan(name, "run", reason)


def _stages(record: StageRecord) -> list[dict[str, Any]]:
    """A stage as the manifest lists it; a fit by its steps."""
    steps = record.facts.get("steps") or {record.name: record.seconds}
    return [{"name": name, "seconds": seconds, "skipped": record.skipped} for name, seconds in steps.items()]


def _created(folder: Path) -> str | None:
    try:
        return str(read_manifest(folder)["created"])
    except InputError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


__all__ = ["Run", "StagePlan", "report", "run"]
