"""Which labels topics keep whole, and which they mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.run_folder import RunFolder
from moee_topics.topics import OUTLIERS

LabelCounts = Mapping[int, Counter[str]]


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
    return {
        "purest": purest[:3],
        "mixed": [row for row in purest[::-1] if row[2] < 1][:3],
        "homes": sorted(homes, key=lambda row: -row[3]),
        "topic_of": {topic.topic: topic for topic in run.ranked_topics},
    }


MARKUP = """\
  <h2 id="labels-title">Topics and labels</h2>
  <div class="halves">
  <div>
    <p><b>Purest topics.</b> {% for topic, label, share in purest %}{{ topic|read_link }} is {{ share|read_percent }}
      <bdi>{{ label }}</bdi>{{ "; " if not loop.last else "." }}{% endfor %}</p>
    <p><b>Most mixed.</b> {% if not mixed %}No topic has documents of two labels.{% endif %}
      {% for topic, label, share in mixed %}{{ topic|read_link }} is only {{ share|read_percent }}
      <bdi>{{ label }}</bdi>{{ "; " if not loop.last else "." }}{% endfor %}</p>
  </div>
  <details><summary>Where each label went</summary><div class="scroll" role="region" aria-label="Labels" tabindex="0">
    <table>
    <thead><tr><th scope="col">Label</th><th scope="col" class="num">Documents</th><th scope="col">Its largest
      topic</th><th scope="col" class="num">holds</th></tr></thead>
    <tbody>{% for label, size, home, share in homes %}<tr><th scope="row">{{ label }}</th>
      <td class="num">{{ size|read_number }}</td>
      <td>{% if home in topic_of %}{{ topic_of[home]|read_link }}{% endif %}</td>
      <td class="num">{{ share|read_percent }}</td></tr>{% endfor %}</tbody>
  </table></div></details>
  </div>
  <div class="tools"><label>Cells show <select id="confusion-mode"><option value="topic">share of the topic</option>
    <option value="label">share of the label</option><option value="count">documents</option></select></label>
  <button type="button" id="confusion-more">Show all topics</button></div>
  <div class="scroll tall" role="region" aria-label="Topics by labels" tabindex="0">
    <table id="confusion" class="matrix"></table></div>
"""

CHAPTER: Chapter = Chapter("labels", "Labels", labels, MARKUP)
