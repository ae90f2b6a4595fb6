"""What routing says about the topics of a corpus, as values that save as JSON: ``experts.json`` of a run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator, TypeAdapter, ValidationError

from moee_topics.errors import InputError
from moee_topics.store import read_json, write_text

Floats = Annotated[NDArray[np.floating], PlainValidator(lambda rows: np.asarray(rows, dtype=np.float64))]

_NUMBERS = ("layers", "experts", "documents", "shuffles", "fdr", "threshold")


@dataclass(frozen=True)
class ExpertLift:
    """One expert of one topic.

    Attributes:
        layer: the MoE layer, from 0.
        expert: the expert of that layer, from 0.
        weight: mean routing weight on the topic's documents.
        lift: that weight over the mean of the whole corpus.
        low: lower end of the 95 % bootstrap interval of the lift.
        high: upper end of it.
        z: standard errors above the mean of a random set of as many documents.
        effect: how far the topic's mean is above the corpus, in standard deviations of a document.
    """

    layer: int
    expert: int
    weight: float
    lift: float
    low: float
    high: float
    z: float
    effect: float


@dataclass(frozen=True)
class TopicExperts:
    """The experts of one topic.

    Attributes:
        topic: its id.
        count: number of different documents.
        significant: how many (layer, expert) pairs pass the false discovery control.
        experts: those of them with the required effect, the strongest by a cautious estimate of the lift first.
        lift: (L, E) lift of every pair, significant or not.
    """

    topic: int
    count: int
    significant: int
    experts: Sequence[ExpertLift]
    lift: Floats


@dataclass(frozen=True)
class LayerInformation:
    """How much of the topics one layer's routing carries, each number beside its value for shuffled topics.

    Attributes:
        layer: the MoE layer, from 0.
        information: mutual information of the most weighted expert and the topic, over the entropy of the topics.
        information_shuffled: the same with the topics shuffled, the mean of several shuffles.
        recovered: share of held-out documents whose topic has the nearest mean routing in this layer.
        recovered_shuffled: the same with the topics shuffled.
        balance: entropy of the layer's mean routing weights over its maximum; 1 is an even load.
    """

    layer: int
    information: float
    information_shuffled: float
    recovered: float
    recovered_shuffled: float
    balance: float


@dataclass(frozen=True)
class ExpertDocuments:
    """The documents that put the most weight on one expert.

    Attributes:
        layer: the MoE layer, from 0.
        expert: the expert of that layer, from 0.
        rows: row numbers of documents, the heaviest user first.
        weights: their routing weights on it.
    """

    layer: int
    expert: int
    rows: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True)
class ExpertReport:
    """What routing says about the topics of a corpus.

    Attributes:
        layers: L.
        experts: E.
        documents: N different documents.
        shuffles: how many shuffles of the topics the control rests on.
        fdr: the share of listed pairs that may be chance.
        threshold: the z above which a pair counts; None where no pair passes.
        corpus: (L, E) mean routing weight over all documents, outliers included.
        topics: the experts of every topic, by topic id, outliers left out.
        information: what every layer's routing carries.
        similarity: (K, K) cosine of the topics' centred routing profiles, in the order of `topics`.
        expert_documents: the heaviest users of the experts that are listed for a topic.
    """

    layers: int
    experts: int
    documents: int
    shuffles: int
    fdr: float
    threshold: float | None
    corpus: Floats
    topics: Sequence[TopicExperts]
    information: Sequence[LayerInformation]
    similarity: Floats
    expert_documents: Sequence[ExpertDocuments]

    def to_json(self) -> dict[str, Any]:
        """Plain data with numbers rounded to what they are worth."""
        topics = [
            {
                "topic": topic.topic,
                "count": topic.count,
                "significant": topic.significant,
                "experts": [asdict(expert) for expert in topic.experts],
                "lift": _rounded(topic.lift, 2),
            }
            for topic in self.topics
        ]
        return {name: getattr(self, name) for name in _NUMBERS} | {
            "corpus": _rounded(self.corpus, 6),
            "topics": topics,
            "information": [asdict(layer) for layer in self.information],
            "similarity": _rounded(self.similarity, 3),
            "expert_documents": [asdict(documents) for documents in self.expert_documents],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ExpertReport:
        """Reads what :meth:`to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        # Through text, since only there a list may stand for an array and a mapping for a dataclass in strict mode.
        try:
            report = TypeAdapter(cls).validate_json(json.dumps(plain), strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise InputError(f"This is not an expert report ({place}: {fault['msg']}).") from error
        shape, topics = (report.layers, report.experts), len(report.topics)
        arrays = [(report.corpus, shape), (report.similarity, (topics, topics))]
        for array, expected in arrays + [(topic.lift, shape) for topic in report.topics]:
            if array.shape != expected and array.size:
                raise InputError(f"This is not an expert report: an array is {array.shape}, expected {expected}.")
        return report

    def save(self, path: Path) -> None:
        """Writes the report as compact JSON."""
        write_text(path, json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False))

    @classmethod
    def load(cls, path: Path) -> ExpertReport:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or is something else.
        """
        return cls.from_json(read_json(path, kind=dict[str, Any]))


def _rounded(values: Floats, digits: int) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()
