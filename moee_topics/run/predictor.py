"""New documents through a finished run: the same model, the saved standardizer, the fitted topics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import COLUMN_KEYS, Corpus, CorpusSettings, Document, has_columns, open_corpus
from moee_topics.embed import DOCUMENTS_PER_CALL, Embedder
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion
from moee_topics.run.manifest import read_manifest, recipe_section
from moee_topics.run_folder import RunFolder, load_fitted_encoder
from moee_topics.schema import Section, build
from moee_topics.topics import NEW, TopicModel


@dataclass(frozen=True)
class PredictedTopic:
    """The topic of a new document.

    Attributes:
        id: of the document.
        topic: -1 where it is amid outliers.
        name: of the topic.
        probability: how sure that is, 0 to 1.
        fitted: whether its text was in the fit, whose topic it then has.
    """

    id: str
    topic: int
    name: str
    probability: float
    fitted: bool


class Reading(Section):
    """How new documents are read."""

    corpus: CorpusSettings


def corpus_like(folder: Path, source: str, overrides: Sequence[str] = ()) -> Corpus:
    """Opens new documents the way the run read its own: columns, joining, delimiter, encoding and cleaning.

    Labels and times are not read, and all documents are, whatever the run's limit was.

    Args:
        folder: of a finished run.
        source: of the new documents.
        overrides: ``corpus.KEY=VALUE`` where they are to be read otherwise.

    Raises:
        InputError: the folder holds no finished run, or there is no such source.
        RecipeError: an override is not valid.
    """
    own = own_reading(RunFolder(folder))
    unread = {"label": "none", "timestamp": "none", "time_format": None, "limit": None}
    return open_like({**own, **unread}, source, overrides, name="predict")


def own_reading(run: RunFolder) -> dict[str, Any]:
    """How a run read its corpus: what its recipe says, and the column of the text that it found by a usual name.

    Found again in other files, that may be another column: one called "text" goes before the "body" of the run.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    own, facts = dict(recipe_section(run.current, "corpus")), read_manifest(run).get("corpus")
    columns = facts.get("text_columns") if isinstance(facts, Mapping) else None  # 0.1.0 did not note it
    if own.get("text") is None and isinstance(columns, list) and has_columns(str(own.get("source"))):
        own["text"] = columns[0] if len(columns) == 1 else columns
    return own


def own_settings(run: RunFolder) -> CorpusSettings:
    """How a run read the texts of its corpus, for single texts: what it cleaned, and nothing of files and columns.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    own = own_reading(run)
    kept = {key: own[key] for key in ("clean", "missing") if key in own}
    return build(Reading, {"corpus": {**kept, "source": "-"}}, name="serve").corpus


def open_like(own: Mapping[str, Any], source: str, overrides: Sequence[str], *, name: str) -> Corpus:
    """Opens a source the way another one was read; without columns, its texts stand for those of the one column.

    Raises:
        InputError: there is no such source, or it has no columns and several were joined.
        RecipeError: an override is not valid; ``name`` begins the message.
    """
    section = {**own, "source": source}
    if not has_columns(source):
        joined = own.get("text")
        is_told = any(override.replace(" ", "").startswith("corpus.text=") for override in overrides)
        if isinstance(joined, list | tuple) and len(joined) > 1 and not is_told:
            raise InputError(
                f"A document of this run is {' and '.join(joined)}, and {source} has no columns. Give a table that has "
                "them, or say that each of its texts is a whole document with: corpus.text=null"
            )
        section |= {key: None for key in COLUMN_KEYS if section.get(key) != "none"}
    return open_corpus(build(Reading, {"corpus": section}, overrides, name=name).corpus)


def predict(folder: Path, documents: Iterable[Document], *, device: str | None = None) -> Iterator[PredictedTopic]:
    """The topic of each new document, in their order and in memory that does not grow with their number.

    Args:
        folder: of a finished run.
        documents: read as the results are asked for.
        device: other than the one of the run.

    Raises:
        InputError: the folder holds no finished run.
        ModelError: the model is gone, or is not the one the run was encoded with.
    """
    read_manifest(RunFolder(folder).current)
    predictor = Predictor.load(folder, device=device)
    stream = iter(documents)
    while step := list(islice(stream, DOCUMENTS_PER_CALL)):
        yield from predictor.predict(step)


@dataclass(frozen=True)
class Predictor:
    """What new documents go through."""

    embedder: Embedder
    fusion: Fusion
    model: TopicModel

    @classmethod
    def load(cls, folder: Path, *, device: str | None = None) -> Predictor:
        """Loads the model, the statistics and the topics of a run folder.

        Raises:
            InputError: a file of the run is missing or damaged.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        run = RunFolder(folder).current
        RunFolder.result.check(run)  # the model reads it from beside its own folder
        # The fit saw float16 from the store. Without rounding a fitted text would lie beside itself.
        return cls(Embedder(load_fitted_encoder(run, device), rounds=True), run.fusion, run.model)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors of texts."""
        return self.fusion.transform(self.embedder.embed(texts), texts)

    def predict(self, documents: Sequence[Document]) -> list[PredictedTopic]:
        """The topics of some documents."""
        return self.topics_of(documents, self.vectors([document.text for document in documents]))

    def topics_of(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> list[PredictedTopic]:
        """The topics of some documents whose vectors, (n, d), are known."""
        texts = [document.text for document in documents]
        topics, probabilities = self.model.predict(texts, vectors)
        names = {topic.topic: topic.name for topic in self.model.result.topic_info}
        fitted = self.model.fitted_topics(texts) != NEW
        rows = zip(documents, topics.tolist(), probabilities.tolist(), fitted.tolist(), strict=True)
        return [
            PredictedTopic(document.id, topic, names.get(topic, ""), round(probability, 4), in_fit)
            for document, topic, probability, in_fit in rows
        ]
