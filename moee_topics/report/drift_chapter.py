"""How the new documents of each update differ from those before, and what is advised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moee_topics.defaults import FAR
from moee_topics.evaluate import SURE
from moee_topics.report.chapter import Chapter
from moee_topics.report.numerals import as_count, as_decimal, as_percent
from moee_topics.report.verdicts import Level
from moee_topics.run_folder import RunFolder, VersionRecord
from moee_topics.topics import OUTLIERS, Topic

LEVELS: Mapping[str, Level] = {"none": "good", "grow": "fair", "refit": "weak"}
SENTENCES = {
    "none": "The documents that came last are as those before them: nothing is advised.",
    "grow": "Among the documents that came last may be new subjects.",
    "refit": "The documents that came last are of another kind than those before.",
}
MOST_TOPICS = 10


@dataclass(frozen=True)
class DriftRow:
    """The drift of one version, as text; beside each figure what chance explains."""

    version: int
    created: str
    documents: str
    far: str
    neighbours: str
    moved: str
    routing: str
    level: Level
    advice: str


@dataclass(frozen=True)
class ChangedTopic:
    """A topic whose share of the documents is another, or whose new documents are routed otherwise, as text."""

    topic: Topic
    before: str
    now: str
    z: float
    routing: str


def drift(run: RunFolder) -> dict[str, Any] | None:
    """A verdict, a row for each update on the way to this version, and its topics; None where nothing came in."""
    history, rows = run.root.history, list[VersionRecord]()
    by_number = {record["version"]: record for record in (history["versions"] if history else [])}
    number = history["current"] if history else 1
    while number in by_number:
        rows.insert(0, by_number[number])
        number = by_number[number]["parent"]
    measured = [record for record in rows if record.get("drift")]
    if not measured:
        return None
    last = measured[-1]
    of_last = run.root.version(last["version"]).drift or {}
    return {
        "far": FAR,
        "verdict": verdict(last["drift"]["advice"], last["policy"]),
        "reasons": last["drift"]["reasons"],
        "rows": [drift_row(record) for record in reversed(measured)],
        "topics": changed_topics(run, of_last),
    }


def verdict(advice: str, policy: str) -> str:
    """What the figures of a version that a policy made say, and what to do unless that was done."""
    advised = {"none": "", policy: f" Advised is --policy {policy}, by which this version was made."}
    return SENTENCES.get(advice, "") + advised.get(advice, f" Advised: update with --policy {advice}.")


def drift_row(record: VersionRecord) -> DriftRow:
    """The row of a version."""
    figures = record["drift"]
    moved, neighbours, routing = figures["moved"], figures["neighbours"], figures["routing"]
    return DriftRow(
        record["version"],
        record["created"][:10],
        as_count(figures["documents"]),
        as_percent(figures["far"]),
        f"{as_decimal(neighbours['value'])} ({as_decimal(neighbours['chance'])})",
        f"{as_percent(moved['value'])} ({as_percent(moved['chance'])})",
        f"{routing['value']:.1%} ({routing['chance']:.1%})" if routing else "–",
        LEVELS.get(figures["advice"], "none"),
        figures["advice"],
    )


def changed_topics(run: RunFolder, figures: Mapping[str, Any]) -> list[ChangedTopic]:
    """The topics that changed most surely."""
    by_id = {topic.topic: topic for topic in run.result.topic_info if topic.topic != OUTLIERS}
    routed = figures.get("topic_routing", {})
    changed = []
    for share in figures.get("topics", []):
        one = routed.get(str(share["topic"]))
        is_routed = one is not None and one["value"] > one["chance"]
        if share["topic"] in by_id and (abs(share["z"]) >= SURE or is_routed):
            routing = f"{one['value']:.1%} ({one['chance']:.1%})" if one else "–"
            shares = as_percent(share["before"]), as_percent(share["now"])
            changed.append(ChangedTopic(by_id[share["topic"]], *shares, share["z"], routing))
    return changed[:MOST_TOPICS]


MARKUP = """\
  <h2 id="drift-title">Drift</h2>
  <p>{{ verdict }}{% if reasons %} Why: {{ reasons|join("; ") }}.{% endif %}</p>
  <div class="scroll" role="region" aria-label="Drift of the updates" tabindex="0"><table>
    <thead><tr><th scope="col">Version</th><th scope="col">Date</th><th scope="col" class="num">New documents</th>
      <th scope="col" class="num">Unlike anything before</th><th scope="col" class="num">New neighbours</th>
      <th scope="col" class="num">In other topics</th><th scope="col" class="num">Routed otherwise</th>
      <th scope="col">Advice</th></tr></thead>
    <tbody>{% for row in rows %}<tr class="{{ row.level }}"><th scope="row">v{{ row.version }}</th>
      <td class="nowrap">{{ row.created }}</td><td class="num">{{ row.documents }}</td>
      <td class="num">{{ row.far }}</td><td class="num">{{ row.neighbours }}</td><td class="num">{{ row.moved }}</td>
      <td class="num">{{ row.routing }}</td><td><span class="level">{{ row.advice }}</span></td></tr>{% endfor %}
    </tbody>
  </table></div>
  <p class="hint">Unlike anything before: farther from every old document than all but {{ far|read_percent }} of the
    old ones are from each other, so without drift {{ far|read_percent }} are. New neighbours: how many times as often
    as by chance the nearest documents of a new one are new too. In other topics, routed otherwise: the part of the
    documents, or of the weight on experts, that would have to move for the shares to be as before. In brackets what
    chance explains in 95 of 100 draws.</p>
  {% if topics %}<h3>Topics that changed</h3>
  <div class="scroll tall" role="region" aria-label="Topics that changed" tabindex="0"><table>
    <thead><tr><th scope="col">Nr</th><th scope="col">Topic</th><th scope="col" class="num">of the old documents</th>
      <th scope="col" class="num">of the new ones</th><th scope="col" class="num">Standard errors</th>
      <th scope="col" class="num">Routed otherwise</th></tr></thead>
    <tbody>{% for row in topics %}<tr><td class="num">{{ row.topic.topic }}</td>
      <th scope="row">{{ row.topic|read_link }}</th><td class="num">{{ row.before }}</td>
      <td class="num">{{ row.now }}</td>
      <td class="num">{{ "%+.1f"|format(row.z) }}</td><td class="num">{{ row.routing }}</td></tr>{% endfor %}
    </tbody>
  </table></div>{% endif %}
"""

CHAPTER: Chapter = Chapter("drift", "Drift", drift, MARKUP)
