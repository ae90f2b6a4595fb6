"""Which labels topics keep whole, and which they mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.report.page_data import label_names
from moee_topics.run_folder import RunFolder
from moee_topics.topics import OUTLIERS

LabelCounts = Mapping[int, Counter[str]]
TOPICS_OF_MATRIX, LABELS_OF_MATRIX = 25, 60  # as in labels_chapter.js


def label_counts(run: RunFolder) -> LabelCounts:
    """How many documents of each label a topic has, outliers included; nothing where there are no labels."""
    counts: dict[int, Counter[str]] = {}
    for topic, label in zip(run.result.topics.tolist(), run.labels or [], strict=False):
        if label:
            counts.setdefault(topic, Counter())[label] += 1
    return counts


def main_label(counts: LabelCounts, topic: int) -> tuple[str, float]:
    """The label that most documents of a topic have, and the share that has it."""
    if topic not in counts:
        return "", 0.0
    label, count = counts[topic].most_common(1)[0]
    return label, count / counts[topic].total()


def labels(run: RunFolder) -> dict[str, Any] | None:
    """Which labels topics keep whole, and which they mix; None without labels."""
    if not run.labels or not any(run.labels):
        return None
    counts = label_counts(run)
    purity = [(topic, *main_label(counts, topic.topic)) for topic in run.ranked_topics if topic.topic in counts]
    purest = sorted(purity, key=lambda row: -row[2])
    homes = []
    for label, size in Counter(label for label in run.labels if label).items():
        sizes = {topic.topic: counts.get(topic.topic, Counter())[label] for topic in run.ranked_topics}
        home = max(sizes, key=lambda topic: sizes[topic], default=OUTLIERS)
        homes.append((label, size, home, sizes.get(home, 0) / size))
    named = purest[: min(3, (len(purest) + 1) // 2)]  # of two topics one is the purest and one the most mixed
    return {
        "purest": named,
        "mixed": [row for row in purest[: len(named) - 1 : -1] if row[2] < 1][:3],
        "matrix": matrix(run, counts),
        "homes": sorted(homes, key=lambda row: -row[3]),
        "topic_of": {topic.topic: topic for topic in run.ranked_topics},
    }


def matrix(run: RunFolder, counts: LabelCounts) -> dict[str, Any]:
    """Which share of a topic's documents has which label, as text: the largest topics by the largest labels."""
    sizes = Counter[str]()
    for of_topic in counts.values():
        sizes += of_topic
    largest = {label for label, _ in sizes.most_common(LABELS_OF_MATRIX)}
    names = [label for label in label_names(run) if label in largest]
    shown = [*run.ranked_topics[:TOPICS_OF_MATRIX], *([run.outliers] if run.outliers else [])]
    lines = []
    for topic in shown:
        of_topic = counts.get(topic.topic, Counter[str]())
        shares = [of_topic[label] / max(of_topic.total(), 1) for label in names]
        lines.append((topic, [f"{100 * share:.0f}" if share >= 0.005 else "" for share in shares]))
    return {"labels": names, "lines": lines, "of": len(sizes)}


MARKUP = """\
  <h2 id="labels-title">Topics and labels</h2>
  <div class="halves">
  <div>
    <p><b>Purest topics.</b> {% for topic, label, share in purest %}{{ topic|read_link }} is {{ share|read_percent }}
      <bdi>{{ label }}</bdi>{{ "; " if not loop.last else "." }}{% endfor %}</p>
    <p><b>Most mixed.</b> {% if not mixed %}No topic has documents of two labels.{% endif %}
      {% for topic, label, share in mixed %}{{ topic|read_link }} is {{ share|read_percent }}
      <bdi>{{ label }}</bdi>{{ "; " if not loop.last else "." }}{% endfor %}</p>
  </div>
  <details><summary>Where each label went</summary><div class="scroll" role="region" aria-label="Labels" tabindex="0">
    <table>
    <thead><tr><th scope="col">Label</th><th scope="col" class="num">Documents</th><th scope="col">Its largest
      topic</th><th scope="col" class="num">holds</th></tr></thead>
    <tbody>{% for label, size, home, share in homes %}<tr><th scope="row" dir="auto">{{ label }}</th>
      <td class="num">{{ size|read_number }}</td>
      <td>{% if home in topic_of %}{{ topic_of[home]|read_link }}{% endif %}</td>
      <td class="num">{{ share|read_percent }}</td></tr>{% endfor %}</tbody>
  </table></div></details>
  </div>
  {% if matrix.labels|length < matrix.of %}<p class="hint">The table has the {{ matrix.labels|length }} largest of
    {{ matrix.of|read_number }} labels.</p>{% endif %}
  {% if matrix.labels|length > 25 %}<p class="print-only">On paper it has the first 25 of them.</p>{% endif %}
  <div class="tools"><label>Cells show <select id="confusion-mode"><option value="topic">share of the topic</option>
    <option value="label">share of the label</option><option value="count">documents</option></select></label>
  <button type="button" id="confusion-more">Show all topics</button></div>
  <div class="scroll tall" role="region" aria-label="Topics by labels" tabindex="0">
    <table id="confusion" class="matrix"><thead><tr><th scope="col">per cent</th>
      {% for label in matrix.labels %}<th scope="col"><span>{{ label }}</span></th>{% endfor %}</tr></thead>
      <tbody>{% for topic, shares in matrix.lines %}<tr><th scope="row">{{ topic|read_link }}</th>
        {% for share in shares %}<td>{{ share }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
"""

CHAPTER: Chapter = Chapter("labels", "Labels", labels, MARKUP, "labels_chapter.js")
