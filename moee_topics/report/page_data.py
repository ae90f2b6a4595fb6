"""What the page's script gets: a small part at once, and the documents as compressed text.

Texts come from anywhere, so nothing here may close a script element: JSON is escaped, and the rest is base64.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.evaluate import ExpertReport
from moee_topics.report.map_points import packed_points, sampled_rows, to_unit, topic_colours
from moee_topics.report.topic_layout import topic_layout
from moee_topics.run_folder import RunFolder, title
from moee_topics.topics import Topic

Floats = NDArray[np.floating]

# Documents take at most 18 MB of the page, and all of it 20: 13.5 MB of gzip, a third longer as base64.
LONGEST_TEXT = 2_000
SHORTEST_TEXT = 80
# A page of more would be of nothing but short beginnings, and a browser would take minutes to unpack them.
MOST_DOCUMENTS, DOCUMENTS_OF_LARGE = 100_000, 40_000
TEXT_BYTES = 28_000_000
PACKED_BYTES = 13_500_000
RELATED = 6
# < > & so that no text closes the element, U+2028 and U+2029 since older browsers end a line of script there.
EMBEDDED_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def embedded_json(value: Any) -> str:
    """JSON that is safe inside a script element of any type."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(EMBEDDED_ESCAPES)


def packed_json(value: Any) -> str:
    """JSON, gzipped, as base64."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A time in the header of gzip would make two reports of one run differ.
    return base64.b64encode(gzip.compress(plain.encode("utf-8", "replace"), 6, mtime=0)).decode("ascii")


def rows_on_page(run: RunFolder) -> NDArray[np.integer]:
    """The documents that the page holds, in rising order: all, or a sample in which each topic has its share."""
    topics = run.result.topics
    if len(topics) <= MOST_DOCUMENTS:
        return np.arange(len(topics))
    named = [row for topic in run.result.topic_info for row in topic.representative_docs]
    named += [row for entry in run.experts.expert_documents for row in entry.rows] if run.experts else []
    return np.union1d(sampled_rows(topics, DOCUMENTS_OF_LARGE), np.array(named, dtype=np.int64))


def first_data(run: RunFolder, sample: int) -> dict[str, Any]:
    """What the first screen needs: the topics, and the map as packed numbers."""
    on_page = rows_on_page(run)
    colours, word_cosines = topic_colours(run), word_similarity(run.ranked_topics)
    topics = []
    for topic in run.result.topic_info:
        inside = run.result.topics == topic.topic
        centre = np.median(run.positions[inside], axis=0) if inside.any() else np.zeros(2)
        topics.append(
            {
                "id": topic.topic,
                "name": title(topic),
                "count": topic.count,
                "words": _weights(topic.words),
                "aspects": {name: _weights(pairs) for name, pairs in topic.aspects.items()},
                "rows": np.searchsorted(
                    on_page, [r for r in topic.representative_docs if 0 <= r < len(run.result)]
                ).tolist(),
                "colour": colours.get(topic.topic, -1),
                "at": np.round(to_unit(centre[None], run.positions)[0], 4).tolist(),
            }
        )
    return {
        "documents": len(run.result),
        "topics": topics,
        "map": packed_points(run, sample, on_page),
        "related": related_topics(run.ranked_topics, word_cosines),
        "wordMap": np.round(topic_layout(word_cosines), 2).tolist(),
        "hierarchy": [
            [row["parent"], row["left"], row["right"], round(float(row["distance"]), 4), row["name"]]
            for row in run.hierarchy
        ],
        "overTime": [[row["topic"], row["timestamp"], row["frequency"], row["words"]] for row in run.over_time],
        "labels": label_names(run),
    }


def label_names(run: RunFolder) -> list[str]:
    """The labels of a run in the order of the page, in which label 9 comes before label 10."""
    parts = {label: re.split(r"(\d+)", label) for label in set(run.labels or []) - {""}}
    return sorted(
        parts, key=lambda label: [int(part) if place % 2 else part for place, part in enumerate(parts[label])]
    )


def _weights(pairs: Sequence[tuple[str, float]]) -> list[list[Any]]:
    # JSON has no NaN, and BERTopic pads short topics with an empty word.
    return [[str(word), round(float(weight), 4) if np.isfinite(weight) else 0.0] for word, weight in pairs if word]


def documents_data(run: RunFolder) -> tuple[str, int]:
    """The documents of the page, and the experts, packed; and how many characters of a text were kept at most.

    Texts are cut where all of them would make the file too large, the longest first.
    """
    result, labels, on_page = run.result, run.labels, rows_on_page(run)
    rows = on_page.tolist()
    representative = {row for topic in result.topic_info for row in topic.representative_docs}
    label_numbers = {label: number for number, label in enumerate(label_names(run))}
    limit = longest_text([result.texts[row] for row in rows])
    while True:
        texts, cut = [], []
        for place, row in enumerate(rows):
            text = result.texts[row] or ""
            longest = LONGEST_TEXT if row in representative else limit
            texts.append(text if len(text) <= longest else text[: longest - 1].rstrip() + "…")
            if len(text) > len(texts[-1]):
                cut.append(place)
        documents = {
            "ids": [str(result.ids[row]) for row in rows],
            "texts": texts,
            "cut": cut,
            "topics": result.topics[on_page].tolist(),
            "strengths": [round(100 * value) for value in np.nan_to_num(result.probabilities[on_page]).tolist()],
            "labels": [label_numbers.get(labels[row], -1) for row in rows] if labels else None,
            "times": [str(result.timestamps[row] or "") for row in rows] if result.timestamps else None,
            "experts": expert_data(run.experts, on_page) if run.experts else None,
        }
        packed = packed_json(documents)
        # Base64 is a third larger than what it holds. Texts that hardly shrink need a second, shorter cut.
        if len(packed) * 0.75 <= PACKED_BYTES or limit <= SHORTEST_TEXT:
            return packed, limit
        limit = int(limit * 0.6)


def longest_text(texts: Sequence[str]) -> int:
    """The longest cut, in characters, at which all texts together fit the file."""
    sizes = [min(len((text or "").encode("utf-8", "replace")), LONGEST_TEXT) for text in texts]
    room = TEXT_BYTES
    for remaining, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        limit = room // remaining
        if limit <= size:
            return max(limit, SHORTEST_TEXT)
        room -= size
    return LONGEST_TEXT


def expert_data(experts: ExpertReport, on_page: NDArray[np.integer]) -> dict[str, Any]:
    """The experts of every topic, and which topics are alike by them; documents by their place on the page."""
    # Less two on the diagonal puts a topic itself last, behind cosines of -1.
    order = np.argsort(-(experts.similarity - 2 * np.eye(len(experts.topics))), axis=1)[:, :RELATED]
    related = {
        topic.topic: [
            [experts.topics[other].topic, round(float(experts.similarity[place, other]), 2)]
            for other in order[place]
            if other != place
        ]
        for place, topic in enumerate(experts.topics)
    }
    users = [asdict(user) | {"rows": np.searchsorted(on_page, user.rows).tolist()} for user in experts.expert_documents]
    return experts.to_json() | {
        "expert_documents": users,
        "related": related,
        "positions": np.round(topic_layout(experts.similarity), 2).tolist(),
        "corpus": None,  # (E, L) and (K, K) numbers that the script does not read
        "similarity": None,
    }


def word_similarity(topics: Sequence[Topic]) -> Floats:
    """(K, K) cosines of the topics' word weights."""
    vocabulary: dict[str, int] = {}
    for topic in topics:
        for word, _ in topic.words:
            vocabulary.setdefault(word, len(vocabulary))
    weights = np.zeros((len(topics), max(len(vocabulary), 1)))
    for place, topic in enumerate(topics):
        for word, weight in topic.words:
            weights[place, vocabulary[word]] = max(float(weight), 0.0) if np.isfinite(weight) else 0.0
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    return np.asarray(weights @ weights.T)


def related_topics(topics: Sequence[Topic], similarity: Floats) -> dict[int, list[list[float]]]:
    """The topics most like each, with their similarity."""
    order = np.argsort(-similarity, axis=1, kind="stable")  # stable: of equals, the larger topic first everywhere
    return {
        topic.topic: [
            [topics[other].topic, round(float(similarity[place, other]), 2)]
            for other in order[place, : RELATED + 1]
            if other != place and similarity[place, other] > 0
        ][:RELATED]
        for place, topic in enumerate(topics)
    }
