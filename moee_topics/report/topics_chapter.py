"""The table of topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.report.documents_chapter import excerpt
from moee_topics.report.labels_chapter import label_counts, main_label
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Topic


@dataclass(frozen=True)
class TopicRow:
    """One row of the topic table."""

    topic: Topic
    share: float
    words: str
    excerpt: str
    label: str
    purity: float
    expert: str
    lift: float
    fit: float | None


def topic_rows(run: RunFolder) -> list[TopicRow]:
    """The table of topics, the largest first."""
    best = {topic.topic: topic.experts[0] for topic in run.experts.topics if topic.experts} if run.experts else {}
    fits = {fit["topic"]: fit["accuracy"] for fit in run.label_check["topics"]} if run.label_check else {}
    counts, rows = label_counts(run), []
    for topic in run.ranked_topics:
        label, purity = main_label(counts, topic.topic)
        expert = best.get(topic.topic)
        rows.append(
            TopicRow(
                topic=topic,
                share=topic.count / max(len(run.result), 1),
                words=", ".join(word for word, _ in list(topic.words)[:8] if word),
                excerpt=excerpt(run, topic.representative_docs[0]) if topic.representative_docs else "",
                label=label,
                purity=purity,
                expert=f"L{expert.layer} E{expert.expert}" if expert else "",
                lift=expert.lift if expert else 0.0,
                fit=fits.get(topic.topic),
            )
        )
    return rows


def topics(run: RunFolder) -> dict[str, Any]:
    """The rows, and whether there is a column of labels."""
    return {"rows": topic_rows(run), "has_labels": any(run.labels or [])}


MARKUP = """\
  <h2 id="topics-title">Topics</h2>
  <div class="tools">
    <label class="grow">Find topics
      <input type="search" id="topic-search" placeholder="a word, a label, an expert such as L7 E23"
        autocomplete="off"></label>
    <span id="topic-count" role="status">{{ rows|length|read_number }} topic{{ "s" if rows|length != 1 }}</span>
  </div>
  <div class="scroll tall" role="region" aria-label="Table of topics" tabindex="0">
  <table id="topic-table" class="sortable">
    <caption class="hidden">All topics. The buttons in the head sort; a topic's name opens what is known of
      it.</caption>
    <thead><tr>
      <th scope="col" aria-sort="none"><button type="button" data-key="id">Nr</button></th>
      <th scope="col" aria-sort="none"><button type="button" data-key="name">Topic</button></th>
      <th scope="col" aria-sort="descending" class="num"><button type="button" data-key="count">Documents</button>
        </th>
      <th scope="col" class="wide">Words</th>
      {% if run.label_check %}<th scope="col" aria-sort="none" class="num"><button type="button"
        data-key="fit">Name fits</button></th>{% endif %}
      {% if has_labels %}<th scope="col" aria-sort="none"><button type="button" data-key="purity">Main label</button>
        </th>{% endif %}
      {% if run.experts %}<th scope="col" aria-sort="none"><button type="button" data-key="lift">First expert</button>
        </th>{% endif %}
      <th scope="col" class="wide">A typical document</th>
    </tr></thead>
    <tbody>
    {% for row in rows %}
      <tr id="topic-{{ row.topic.topic }}" data-id="{{ row.topic.topic }}" data-count="{{ row.topic.count }}"
        data-name="{{ row.topic|read_title }}" data-purity="{{ row.purity }}" data-lift="{{ row.lift }}"
        data-fit="{{ row.fit or 0 }}">
        <td class="num">{{ row.topic.topic }}</td>
        <th scope="row">{{ row.topic|read_link }}</th>
        <td class="num">{{ row.topic.count|read_number }} <small>{{ row.share|read_percent }}</small></td>
        <td class="wide words"><bdi>{{ row.words }}</bdi></td>
        {% if run.label_check %}<td class="num">{% if row.fit is not none %}{{ row.fit|read_percent }}{% endif %}</td>
        {% endif %}
        {% if has_labels %}<td class="label">{% if row.label %}
          <bdi title="{{ row.label }}">{{ row.label|truncate(60, True, "…") }}</bdi>
          <small>{{ row.purity|read_percent }}</small>{% endif %}</td>{% endif %}
        {% if run.experts %}<td class="nowrap">{% if row.expert %}{{ row.expert }} <small>×
          {{ "%.2f"|format(row.lift) }}</small>{% else %}<small>none</small>{% endif %}</td>{% endif %}
        <td class="wide excerpt"><div dir="auto">{{ row.excerpt }}</div></td>
      </tr>
    {% endfor %}
    </tbody>
  </table>
  </div>
  {% if run.label_check %}<p class="hint">Name fits: {{ run.label_check.sentence }} The other labels are those of the
    four nearest topics.</p>{% endif %}
"""

CHAPTER: Chapter = Chapter("topics", "Topics", topics, MARKUP, "topics_chapter.js")
