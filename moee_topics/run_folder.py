"""The files of a finished run, read once. Nothing of a report comes from anywhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.evaluate import ExpertReport
from moee_topics.topics import OUTLIERS, Topic, TopicResult

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFolder:
    """One finished run.

    Attributes:
        path: its folder.
        manifest: ``run.json``, or an empty mapping.
        result: the topics and the topic of every document.
        scores: ``scores.json``: name to value, description, higher_is_better.
        hierarchy: mergers of topics: parent, left, right, distance, name.
        over_time: topic, timestamp, frequency, words.
        experts: ``experts.json``, where the model has routers.
        stability: ``stability.json``, where it was asked for.
    """

    path: Path
    manifest: Mapping[str, Any]
    result: TopicResult
    scores: Mapping[str, Mapping[str, Any]]
    hierarchy: Records
    over_time: Records
    experts: ExpertReport | None
    stability: Mapping[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Reads a run folder; only the topic model must be there.

        Raises:
            InputError: there is no finished topic model, or a file is not what it should be.
        """
        if not path.is_dir():
            raise InputError(f"There is no run folder {path}. Give the folder that `moee-topics run` wrote.")
        experts = path / "experts.json"
        return cls(
            path=path,
            manifest=_read(path, "run.json", dict) or {},
            result=TopicResult.load(path),
            scores=_read(path, "scores.json", dict) or {},
            hierarchy=_read(path, "hierarchy.json", list) or [],
            over_time=_read(path, "over_time.json", list) or [],
            experts=ExpertReport.load(experts) if experts.is_file() else None,
            stability=_read(path, "stability.json", dict),
        )

    @property
    def name(self) -> str:
        """The title that the recipe gives the report, or the run's name, or its folder's."""
        recipe = self.section("recipe").get("report")
        given = recipe.get("title") if isinstance(recipe, Mapping) else None
        return str(given or self.manifest.get("name") or self.path.resolve().name)

    @cached_property
    def topics(self) -> list[Topic]:
        """The topics without the outliers, the largest first."""
        real = [topic for topic in self.result.topic_info if topic.topic != OUTLIERS]
        return sorted(real, key=lambda topic: (-topic.count, topic.topic))

    @cached_property
    def outliers(self) -> Topic | None:
        """The outliers, where there are any."""
        return next((topic for topic in self.result.topic_info if topic.topic == OUTLIERS), None)

    @cached_property
    def labels(self) -> list[str] | None:
        """The known class of every document as text; a document without one has an empty text."""
        if self.result.labels is None:
            return None
        return ["" if label is None else str(label) for label in self.result.labels]

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """(N, 2) map positions; a document without one is put in the middle."""
        positions = self.result.positions.astype(np.float64)
        middle = np.nan_to_num(np.nanmean(positions, axis=0)) if len(positions) else np.zeros(2)
        return np.where(np.isfinite(positions), positions, middle)

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the manifest, empty where it is missing."""
        section = self.manifest.get(name)
        return section if isinstance(section, Mapping) else {}


def title(topic: Topic) -> str:
    """A topic's name to read: BERTopic's ``3_god_jesus_bible`` becomes its words, a given name stays."""
    if topic.topic == OUTLIERS:
        return "Outliers"
    if not topic.name or re.match(r"^-?\d+_", topic.name):
        return ", ".join(word for word, _ in list(topic.words)[:3] if word) or f"Topic {topic.topic}"
    return topic.name


def _read(folder: Path, name: str, kind: type) -> Any:
    path = folder / name
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}). Run the fit again to write it anew.") from error
    if not isinstance(value, kind):
        raise InputError(f"{path} should hold a JSON {kind.__name__}, got {type(value).__name__}. Run the fit again.")
    return value
