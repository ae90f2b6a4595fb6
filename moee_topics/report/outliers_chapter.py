"""The documents that have no topic."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from moee_topics.report.chapter import Chapter
from moee_topics.report.documents_chapter import excerpt
from moee_topics.report.labels_chapter import label_counts
from moee_topics.run_folder import RunFolder
from moee_topics.topics import OUTLIERS

OUTLIER_SAMPLES = 6


def outliers(run: RunFolder) -> dict[str, Any] | None:
    """How many documents have no topic, some of them, and whose labels they had; None where all have one."""
    if run.outliers is None or not len(run.result):
        return None
    rows = np.flatnonzero(run.result.topics == OUTLIERS)
    # Evenly through the corpus, which is often sorted: the first six would all be of one source.
    sample = rows[np.linspace(0, len(rows) - 1, min(OUTLIER_SAMPLES, len(rows))).astype(int)] if len(rows) else rows
    without_topic = label_counts(run).get(OUTLIERS, Counter())
    labels = Counter(label for label in run.labels or [] if label)
    shares = [(label, without_topic[label], without_topic[label] / count) for label, count in labels.items()]
    return {
        "count": len(rows),
        "share": len(rows) / len(run.result),
        "words": [word for word, _ in list(run.outliers.words)[:10] if word],
        "samples": [(run.result.ids[row], excerpt(run, row)) for row in sample.tolist()],
        "by_label": sorted(shares, key=lambda row: (-row[2], row[0])),
    }


MARKUP = """\
  <h2 id="outliers-title">Outliers</h2>
  <p>{{ count|read_number }} document{{ "s" if count != 1 }} ({{ share|read_percent }}) in no dense region
    and in no topic.
  {% if words %}Their most telling words are <bdi>{{ words|join(", ") }}</bdi>.{% endif %}
  <button type="button" class="link" data-documents="-1">See them all</button></p>
  <div class="halves">
    <div><h3>Some of them</h3><ul class="samples">{% for key, text in samples %}<li><small>{{ key }}</small>
      <bdi>{{ text }}</bdi></li>{% endfor %}</ul></div>
    {% if by_label %}<div><h3>Labels that lost most</h3><table><thead><tr><th scope="col">Label</th>
      <th scope="col" class="num">Outliers</th><th scope="col" class="num">of the label</th></tr></thead><tbody>
    {% for label, count, share in by_label[:10] %}<tr><th scope="row" dir="auto">{{ label }}</th>
      <td class="num">{{ count|read_number }}</td><td class="num">{{ share|read_percent }}</td>
      </tr>{% endfor %}</tbody></table></div>{% endif %}
  </div>
"""

CHAPTER: Chapter = Chapter("outliers", "Outliers", outliers, MARKUP)
