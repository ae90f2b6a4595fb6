"""The chapter on stability: what several fits of the corpus have in common, and which topics they all find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moee_topics.evaluate import Kind
from moee_topics.report.chapter import Chapter
from moee_topics.report.numerals import as_count, as_decimal
from moee_topics.report.verdicts import Level, stability_verdict, topic_verdict
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Topic

KINDS: Mapping[Kind, str] = {"seeds": "Other seeds", "bootstrap": "Bootstrap samples"}


@dataclass(frozen=True)
class FitsRow:
    """One way of fitting again, as text: how many fits, their agreement, words and numbers of topics."""

    name: str
    fits: str
    ami: str
    lowest: str
    words: str
    topics: str

    @classmethod
    def of(cls, name: str, fits: Mapping[str, Any]) -> FitsRow:
        """From one section of ``stability.json``."""
        counts = [count for count in fits.get("topics") or [] if isinstance(count, int)]
        few, many = min(counts, default=0), max(counts, default=0)
        return cls(
            name=name,
            fits=as_count(fits.get("fits")),
            ami=as_decimal(fits.get("ami")),
            lowest=as_decimal(fits.get("ami_lowest")),
            words=as_decimal(fits.get("words")),
            topics=f"{few:,}" if few == many else f"{few:,} to {many:,}",
        )


@dataclass(frozen=True)
class TopicStability:
    """How well one topic is found again.

    Attributes:
        topic: of the run.
        figures: one for each way of fitting again, as text.
        lowest: the lowest of them, by which it is read; None where there is none.
        level: for its colour.
        mark: the reading in a word.
    """

    topic: Topic
    figures: Sequence[str]
    lowest: float | None
    level: Level
    mark: str


def stability(run: RunFolder) -> dict[str, Any] | None:
    """A verdict, and a row for each way of fitting again and each topic; None where the run was not fitted again.

    What cannot be read in the file is a dash.
    """
    refits = run.stability or {}
    kinds = [kind for kind in KINDS if isinstance(refits.get(kind), Mapping)]
    if not kinds:
        return None
    by_topic = refits.get("topics")
    topics = []
    for topic in run.ranked_topics:
        of_topic = by_topic.get(str(topic.topic)) if isinstance(by_topic, Mapping) else None
        jaccards = [of_topic.get(kind) if isinstance(of_topic, Mapping) else None for kind in kinds]
        lowest = min((value for value in jaccards if isinstance(value, (int, float))), default=None)
        level, mark = topic_verdict(lowest)
        topics.append(TopicStability(topic, [as_decimal(value) for value in jaccards], lowest, level, mark))
    # The lowest of a topic's figures: one that only other seeds find again hangs on a few documents.
    lowest_of_each = [row.lowest for row in topics if row.lowest is not None]
    return {
        "verdict": stability_verdict(kinds[0], refits[kinds[0]].get("ami"), lowest_of_each),
        "kinds": [KINDS[kind] for kind in kinds],
        "fits": [FitsRow.of(KINDS[kind], refits[kind]) for kind in kinds],
        "topics": sorted(topics, key=lambda row: (row.lowest is None, row.lowest or 0.0, row.topic.topic)),
    }


MARKUP = """\
  <h2 id="stability-title">Stability</h2>
  <p>{{ verdict }}</p>
  <div class="scroll" role="region" aria-label="The corpus fitted again" tabindex="0"><table>
    <thead><tr><th scope="col">Fitted again</th><th scope="col" class="num">Fits</th>
      <th scope="col" class="num">Agreement (AMI), mean</th><th scope="col" class="num">of the two least alike</th>
      <th scope="col" class="num">Words shared</th><th scope="col" class="num">Topics</th></tr></thead>
    <tbody>{% for row in fits %}<tr><th scope="row">{{ row.name }}</th><td class="num">{{ row.fits }}</td>
      <td class="num">{{ row.ami }}</td><td class="num">{{ row.lowest }}</td><td class="num">{{ row.words }}</td>
      <td class="num">{{ row.topics }}</td></tr>{% endfor %}</tbody>
  </table></div>
  <p class="hint">Every two fits are compared, the one of this report among them. Agreement is adjusted mutual
    information: 0 as by chance, 1 the same topics; outliers count as one group. Words shared is the mean overlap of
    the ten heaviest words of paired topics, as Jaccard.</p>
  {% if topics %}<h3>Topics, the least stable first</h3>
  <div class="scroll tall" role="region" aria-label="Topics by stability" tabindex="0"><table>
    <thead><tr><th scope="col">Nr</th><th scope="col">Topic</th>
      <th scope="col" class="num">Documents</th>
      {% for kind in kinds %}<th scope="col" class="num">{{ kind }}</th>{% endfor %}
      <th scope="col">Read as</th></tr></thead>
    <tbody>{% for row in topics %}<tr class="{{ row.level }}"><td class="num">{{ row.topic.topic }}</td>
      <th scope="row">{{ row.topic|read_link }}</th><td class="num">{{ row.topic.count|read_number }}</td>
      {% for figure in row.figures %}<td class="num">{{ figure }}</td>{% endfor %}
      <td><span class="level">{{ row.mark }}</span></td></tr>{% endfor %}</tbody>
  </table></div>
  <p class="hint">The figure of a topic is its best overlap (Jaccard) with any topic of another fit, on the documents
    both saw, averaged over the fits. From 0.75 on a topic is called stable, below 0.5 it dissolves (after Hennig
    2007, doi:10.1016/j.csda.2006.11.025){% if kinds|length > 1 %}; the lower of its figures
    decides{% endif %}.{% if "Bootstrap samples" in kinds %} A sample has about 63 % of the documents; the
    smallest topic size is scaled by the same share.{% endif %}</p>{% endif %}
"""

CHAPTER: Chapter = Chapter("stability", "Stability", stability, MARKUP)
