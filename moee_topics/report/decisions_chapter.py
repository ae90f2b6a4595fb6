"""What was decided about the topics, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.report.verdicts import Level
from moee_topics.run_folder import RunFolder
from moee_topics.topics import DecisionState, Topic

LEVELS: dict[DecisionState, Level] = {"applied": "good", "settled": "fair", "conflict": "weak"}


@dataclass(frozen=True)
class DecisionRow:
    """One decision, as text.

    Attributes:
        verb: what was done.
        topics: those of its topics that are there.
        others: the ids of those that are gone.
        text: what is said beside them.
        level: for its colour.
        state: what became of it, in a word.
        reason: why, where it was not applied.
    """

    verb: str
    topics: list[Topic]
    others: list[int]
    text: str
    level: Level
    state: str
    reason: str


def decisions(run: RunFolder) -> dict[str, Any] | None:
    """A row for each decision, those in conflict first; None of a run on which nothing was decided."""
    by_id, rows = {topic.topic: topic for topic in run.result.topic_info}, []
    for outcome in run.decisions:
        decision = outcome.decision
        about = [*decision.topics, *decision.into]
        rows.append(
            DecisionRow(
                decision.kind.done,
                [by_id[topic] for topic in about if topic in by_id],
                [topic for topic in about if topic not in by_id],
                decision.text or ", ".join((*decision.documents, *decision.seeds)),
                LEVELS[outcome.state],
                outcome.state,
                outcome.reason,
            )
        )
    conflicts = sum(row.state == "conflict" for row in rows)
    ordered = sorted(rows, key=lambda row: row.state != "conflict")
    return {"rows": ordered, "conflicts": conflicts} if rows else None


MARKUP = """\
  <h2 id="decisions-title">Decisions</h2>
  <p>{{ rows|length|read_number }} decision{{ "s" if rows|length != 1 }} of people on these topics
    {{- ", and all of them hold." if not conflicts else "; " ~ conflicts ~ " could not be applied." }}</p>
  <div class="scroll tall" role="region" aria-label="Decisions" tabindex="0"><table>
    <thead><tr><th scope="col">Decision</th><th scope="col">Topics</th><th scope="col" class="wide">Says</th>
      <th scope="col">State</th><th scope="col" class="wide">Why</th></tr></thead>
    <tbody>{% for row in rows %}<tr class="{{ row.level }}"><th scope="row">{{ row.verb }}</th>
      <td>{% for topic in row.topics %}{{ topic|read_link }}{{ ", " if not loop.last or row.others }}{% endfor %}
        {% for topic in row.others %}{{ topic }} (gone){{ ", " if not loop.last }}{% endfor %}</td>
      <td class="wide"><bdi>{{ row.text }}</bdi></td><td class="nowrap"><span class="level">{{ row.state }}</span></td>
      <td class="wide">{{ row.reason }}</td></tr>{% endfor %}</tbody>
  </table></div>
  <p class="hint">Settled: nothing was left to do, as another decision or the fit had done it. Decisions are kept in
    decisions.yaml and applied again by every update.</p>
"""

CHAPTER: Chapter = Chapter("decisions", "Decisions", decisions, MARKUP)
