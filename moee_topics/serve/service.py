"""A finished run that answers: its topics, and the topic of new documents."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import CorpusSettings, Document, Record, document_of
from moee_topics.run import PredictedTopic, Predictor, own_settings
from moee_topics.run_folder import RunFolder, Searcher, title
from moee_topics.topics import Topic


@dataclass(frozen=True)
class TopicSummary:
    """A topic in a list.

    Attributes:
        topic: its id; -1 holds the outliers.
        name: to read.
        count: number of documents.
        share: of all documents.
        words: the most telling first.
    """

    topic: int
    name: str
    count: int
    share: float
    words: list[str]


@dataclass(frozen=True)
class TopicService:
    """What a server keeps in memory of a run.

    Attributes:
        run: the version that is served; updates that come later are not.
        predictor: its model, statistics and topics.
        searcher: what is nearest to a text.
        reading: how the run read its corpus, for what has no columns.
    """

    run: RunFolder
    predictor: Predictor
    searcher: Searcher
    reading: CorpusSettings

    @classmethod
    def load(cls, folder: Path, *, device: str | None = None) -> TopicService:
        """Loads a run and its model, and predicts once, so that the first client waits for no compilation.

        Raises:
            InputError: the folder holds no finished run, or a damaged one.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        run = RunFolder.read(folder)
        predictor = Predictor.load(folder, device=device)
        searcher = Searcher(run, predictor.model.voters, predictor.embedder)
        predictor.predict([Document("warm-up", "A text as good as any.")])
        return cls(run, predictor, searcher, own_settings(run))

    def documents(self, given: list[tuple[str, str]]) -> list[Document | None]:
        """Ids and texts as the run read its own: cleaned like them; None for a text that has nothing to be seen.

        Raises:
            InputError: a text is too long, or cannot be cleaned.
        """
        return [document_of(Record(f"document {name}", text, name), self.reading) for name, text in given]

    def vectors(self, texts: list[str]) -> list[NDArray[np.float32]]:
        """The vector of each text, (d,): all that needs the model, whatever is asked."""
        return list(self.predictor.vectors(texts))

    def vectors_one_by_one(self, texts: list[str]) -> list[NDArray[np.float32]]:
        """The same, each bit for bit what ``predict`` makes of it alone: in bfloat16 a neighbour in the pack rounds it.

        The batches are still those of all requests, so that calls do not overlap.
        """
        return [vector for text in texts for vector in self.vectors([text])]

    def topics_of(self, documents: list[Document], vectors: list[NDArray[np.float32]]) -> list[PredictedTopic]:
        """The topics of documents whose vectors are known, in their order."""
        return self.predictor.topics_of(documents, np.stack(vectors))

    def nearest(self, text: str, vector: NDArray[np.float32], most: int) -> dict[str, Any]:
        """The documents and topics that are nearest to a text, by cosine."""
        found = self.searcher.nearest(text, vector, most)
        return {"documents": found.documents.to_dict("records"), "topics": found.topics.to_dict("records")}

    def topics(self) -> list[TopicSummary]:
        """All topics, the largest first, and then the outliers."""
        outliers = [self.run.outliers] if self.run.outliers else []
        return [self._summary(topic) for topic in [*self.run.ranked_topics, *outliers]]

    def topic(self, number: int) -> dict[str, Any] | None:
        """One topic with the weights of its words and the documents that stand for it; None if there is no such."""
        found = next((topic for topic in self.run.result.topic_info if topic.topic == number), None)
        if found is None:
            return None
        result = self.run.result
        documents = [{"id": result.ids[row], "text": result.texts[row]} for row in found.representative_docs]
        whole = found.to_json()
        return {
            **asdict(self._summary(found)),
            **{key: whole[key] for key in ("words", "aspects")},
            "documents": documents,
        }

    def _summary(self, topic: Topic) -> TopicSummary:
        share = round(topic.count / max(len(self.run.result.topics), 1), 4)
        name = title(topic)
        words = [word for word, _ in topic.words if word]
        return TopicSummary(topic.topic, name, topic.count, share, words)
