"""What of a run is nearest to a text: documents and topics."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import CorpusSettings, Record, document_of
from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.messages import shortened
from moee_topics.run_folder.encoder_of_fit import load_fitted_encoder
from moee_topics.topics import NOTEBOOK_CELL, Voters

if TYPE_CHECKING:
    import pandas as pd

    from moee_topics.run_folder.folder import RunFolder

TEXT_SHOWN = 200


@dataclass(frozen=True, eq=False)
class Found:
    """What was found for a text, the nearest first.

    Attributes:
        text: that was looked for.
        documents: id, text, topic, name and similarity of each.
        topics: topic, name, words and similarity of each.
    """

    text: str
    documents: pd.DataFrame
    topics: pd.DataFrame

    def _repr_html_(self) -> str:
        """Both tables, for a notebook; everything from documents is escaped."""
        shown = ("topics", self.topics), ("documents", self.documents)
        title = f"<p style='overflow-wrap:anywhere'><b>Nearest to “{html.escape(self.text[:TEXT_SHOWN])}”</b></p>"
        return title + "".join(_table(name, frame) for name, frame in shown)


class Searcher:
    """A run that can be asked; its model is loaded with the first text, and stays."""

    def __init__(self, run: RunFolder, voters: Voters, embedder: Embedder | None = None) -> None:
        """Takes the model of the run where it is loaded already.

        Raises:
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        self._run, self._voters = run, voters
        corpus = run.section("recipe").get("corpus")
        has_markup = isinstance(corpus, Mapping) and corpus.get("clean") == "html"
        self._reading = CorpusSettings("-", clean="html" if has_markup else "none")
        # As for predictions: a text of the fit lies where it lay.
        self._embedder = embedder or Embedder(load_fitted_encoder(run), rounds=True)

    def search(self, text: str, most: int) -> Found:
        """See :meth:`RunFolder.search`."""
        text = self.read(text)
        (vector,) = self._run.fusion.transform(self._embedder.embed([text]), [text])
        return self.nearest(text, vector, most)

    def read(self, text: str) -> str:
        """A text as the run read its documents, cleaned like them, so that one of them finds itself.

        Raises:
            InputError: there is no text, or cleaning leaves none.
        """
        document = document_of(Record("text", text), self._reading) if isinstance(text, str) else None
        if document is None:
            raise InputError(f"Nothing is near to {shortened(text)}: expected a text.")
        return document.text

    def nearest(self, text: str, vector: NDArray[np.floating], most: int) -> Found:
        """What is nearest to a text whose vector, (d,), is known."""
        return Found(text, self._documents(vector, most), self._topics(vector, most))

    def _documents(self, vector: NDArray[np.floating], most: int) -> pd.DataFrame:
        import pandas as pd

        (places,), (cosines,) = self._voters.nearest(vector[None], most=most)
        order, result = np.argsort(-cosines, kind="stable"), self._run.result
        names = {topic.topic: topic.name for topic in result.topic_info}
        found = []
        for row, similarity in zip(self._voters.rows[places[order]].tolist(), cosines[order].tolist(), strict=True):
            topic = int(result.topics[row])
            found.append((result.ids[row], result.texts[row], topic, names.get(topic, ""), round(similarity, 4)))
        return pd.DataFrame(found, columns=["id", "text", "topic", "name", "similarity"])

    def _topics(self, vector: NDArray[np.floating], most: int) -> pd.DataFrame:
        import pandas as pd

        unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
        found = []
        for topic in self._run.ranked_topics:
            own = self._voters.vectors[self._voters.topics == topic.topic].astype(np.float32)
            middle = own.mean(axis=0) if len(own) else np.zeros_like(unit)
            similarity = float(middle @ unit / max(float(np.linalg.norm(middle)), 1e-12))
            words = ", ".join(word for word, _ in topic.words if word)
            found.append((topic.topic, topic.name, words, round(similarity, 4)))
        frame = pd.DataFrame(found, columns=["topic", "name", "words", "similarity"])
        return frame.sort_values("similarity", ascending=False, kind="stable").head(most).reset_index(drop=True)


def _table(name: str, frame: pd.DataFrame) -> str:
    head = "".join(f"<th style='text-align:left'>{html.escape(str(column))}</th>" for column in frame.columns)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in frame.itertuples(index=False))
    return f"<p>{name}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(values: Iterable[Any]) -> str:
    # A similarity has three digits, a text its beginning.
    texts = (f"{value:.3f}" if isinstance(value, float) else str(value)[:TEXT_SHOWN] for value in values)
    return "".join(f"<td style='{NOTEBOOK_CELL}'>{html.escape(text)}</td>" for text in texts)
