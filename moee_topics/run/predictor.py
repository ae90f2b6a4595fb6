"""New documents through a finished run: the same model, the saved standardizer, the fitted topics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import Corpus, Document
from moee_topics.embed import DOCUMENTS_PER_CALL, Embedder
from moee_topics.evaluate import Drift, far_documents
from moee_topics.fuse import Fusion
from moee_topics.run.given_documents import GivenDocuments
from moee_topics.run.manifest import read_manifest
from moee_topics.run.new_documents import NewDocuments
from moee_topics.run.reading import UNREAD, own_reading
from moee_topics.run_folder import RunFolder, load_fitted_encoder
from moee_topics.topics import NEW, TopicModel, Voters


@dataclass(frozen=True)
class PredictedTopic:
    """The topic of a new document.

    Attributes:
        id: of the document.
        topic: -1 where it is amid outliers.
        name: of the topic.
        probability: how sure that is, 0 to 1.
        fitted: whether its text was in the fit, whose topic it then has.
        far: whether it is unlike anything before: farther from every document of the fit than all but 5 % of these are
            from each other.
    """

    id: str
    topic: int
    name: str
    probability: float
    fitted: bool
    far: bool


def predict(
    folder: Path | str, documents: Any, ids: Iterable[Any] | None = None, *, device: str | None = None
) -> Predictions:
    """The topic of each new document, in their order and in memory that does not grow with their number.

    ::

        for row in predict("runs/posts", ["a text", "another"]):
            print(row.topic, row.name)

    Documents are read as the run read its own; one without a text to see is left out (:meth:`Run.predict` gives a row
    for each). Once they were given, :meth:`Predictions.drift` says how they differ from the documents of the fit.

    Args:
        folder: of a finished run.
        documents: a :class:`Corpus`, or what :func:`run` takes: texts or :class:`Document` as a list, a generator or a
            column, or a whole table. They are read as the results are asked for.
        ids: one for each text; without, they are called "row 0", "row 1" and so on.
        device: other than the one of the run.

    Raises:
        InputError: the folder holds no finished run, or documents cannot be read.
        ModelError: the model is gone, or is not the one the run was encoded with.
    """
    read_manifest(RunFolder(folder).current)
    if not isinstance(documents, Corpus):
        own = {**own_reading(RunFolder(folder)), **UNREAD}
        documents = GivenDocuments(documents, ids).corpus_like(own, name="predict")
    return Predictor.load(folder, device=device).stream(documents)


class Predictions(Iterator[PredictedTopic]):
    """The topics of new documents, each worked out as it is asked for, and how all so far differ from the fit."""

    def __init__(self, predictor: Predictor, documents: Iterable[Document]) -> None:
        result, seed = predictor.model.result, predictor.model.settings.seed
        self._new = NewDocuments(predictor.known, predictor.own, result.topics, seed)
        self._rows = self._predicted(predictor, documents)

    def __next__(self) -> PredictedTopic:
        """The topic of the next document."""
        return next(self._rows)

    def drift(self) -> Drift | None:
        """How the new documents so far differ from those of the fit, and what is advised; None where none was new."""
        return self._new.drift()

    def _predicted(self, predictor: Predictor, documents: Iterable[Document]) -> Iterator[PredictedTopic]:
        rest = iter(documents)
        while step := list(islice(rest, DOCUMENTS_PER_CALL)):
            vectors = predictor.vectors([document.text for document in step])
            nearest = predictor.nearest(vectors)
            topics = predictor.topics_of(step, vectors, nearest)
            is_new = np.array([not row.fitted for row in topics])
            read = predictor.fusion.without_words(vectors)
            self._new.add(read, nearest, [row.topic for row in topics], is_new)
            yield from topics


@dataclass(frozen=True)
class Predictor:
    """What new documents go through."""

    embedder: Embedder
    fusion: Fusion
    model: TopicModel

    @classmethod
    def load(cls, folder: Path | str, *, device: str | None = None) -> Predictor:
        """Loads the model, the statistics and the topics of a run folder.

        Raises:
            InputError: a file of the run is missing or damaged.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        return cls.of(RunFolder(folder).current, device=device)

    @classmethod
    def of(cls, run: RunFolder, *, device: str | None = None) -> Predictor:
        """The same of one version, whether or not it holds."""
        RunFolder.result.check(run)  # the model reads it from beside its own folder
        # The fit saw float16 from the store. Without rounding a fitted text would lie beside itself.
        return cls(Embedder(load_fitted_encoder(run, device), rounds=True), run.fusion, run.model)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors of texts."""
        return self.fusion.transform(self.embedder.embed(texts), texts)

    @cached_property
    def known(self) -> Voters:
        """The documents of the fit, as the model reads them: what new ones are compared with for their drift."""
        # The words of a fusion were learnt from these documents, and new ones lack those that they alone have. So the
        # nearest of new posts of the same source were new 2.3 times as often as by chance with words, 1.2 without.
        voters = self.model.voters
        return voters.with_vectors(self.fusion.without_words(voters.vectors.astype(np.float32)))

    @cached_property
    def own(self) -> NDArray[np.float32]:
        """(R,) cosine of documents of the fit and the nearest of the others, without their words."""
        return self.known.nearest_others(seed=self.model.settings.seed)

    def nearest(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) cosine of documents, whose vectors are (n, d), and the nearest of the fit, without their words."""
        return np.asarray(self.known.nearest(self.fusion.without_words(vectors), most=1)[1][:, 0])

    def stream(self, documents: Iterable[Document]) -> Predictions:
        """The topics of documents that are read as the results are asked for."""
        return Predictions(self, documents)

    def predict(self, documents: Sequence[Document]) -> list[PredictedTopic]:
        """The topics of some documents."""
        return self.topics_of(documents, self.vectors([document.text for document in documents]))

    def topics_of(
        self, documents: Sequence[Document], vectors: NDArray[np.float32], nearest: NDArray[np.float32] | None = None
    ) -> list[PredictedTopic]:
        """The topics of some documents, whose vectors, (n, d), are known and perhaps what :meth:`nearest` gives."""
        texts = [document.text for document in documents]
        topics, probabilities = self.model.predict(texts, vectors)
        names = {topic.topic: topic.name for topic in self.model.result.topic_info}
        fitted = self.model.fitted_topics(texts) != NEW
        far = ~fitted & far_documents(self.own, self.nearest(vectors) if nearest is None else nearest)
        columns = (column.tolist() for column in (topics, probabilities, fitted, far))
        return [
            PredictedTopic(document.id, topic, names.get(topic, ""), round(probability, 4), in_fit, is_far)
            for document, topic, probability, in_fit, is_far in zip(documents, *columns, strict=True)
        ]
