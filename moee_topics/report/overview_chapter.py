"""The first chapter: what was read and found, the map, the largest topics and how good they are."""

from __future__ import annotations

from typing import Any

from moee_topics.fuse import METHODS
from moee_topics.report.chapter import Chapter
from moee_topics.report.verdicts import READINGS, score_verdict
from moee_topics.run_folder import RunFolder

LARGEST = 10


def overview(run: RunFolder) -> dict[str, Any]:
    """The largest topics, the scores that a report begins with, and the numbers of the first sentence."""
    return {
        "sources": sources_of(run),
        "version": run.section("update").get("version"),
        "topics_total": len(run.ranked_topics),
        "largest": run.ranked_topics[:LARGEST],
        "outlier_share": run.result.outlier_share if run.outliers and len(run.result) else None,
        "label_count": len({label for label in run.labels or [] if label}),
        "headline": [score_verdict(name, run.scores[name]) for name in READINGS if name in run.scores],
        "method": METHODS.get(str(run.section("fusion").get("method"))),
    }


def sources_of(run: RunFolder) -> list[str]:
    """Where the documents came from, each place once: what the run read, then what its updates brought."""
    root, number = RunFolder(run.root.path), run.section("update").get("version")
    records = {record["version"]: record for record in (root.history or {"versions": []})["versions"]}
    names: list[str] = []
    while number in records:
        names = [*records[number]["sources"], *names]
        number = records[number]["parent"]
    own = root.section("corpus").get("source")
    return list(dict.fromkeys([*([str(own)] if own else []), *names]))


MARKUP = """\
  <h1 id="overview-title">{{ run.name }}</h1>
  <p class="lead">
    {{ run.result|length|read_number }} document{{ "s" if run.result|length != 1 }}
      {%- if sources %} from <b>{{ sources[0] }}</b>
      {%- if sources|length == 2 %} and <b>{{ sources[1] }}</b>
      {%- elif sources|length > 2 %} and {{ sources|length - 1 }} other sources{% endif %}{% endif %}
      {%- if version %}, version {{ version }} of the run{% endif %},
    {% if encoder.model %}read by <b>{{ encoder.model }}</b>{% if encoder.layers %}, a mixture of experts with
      {{ encoder.layers }} × {{ encoder.experts }} of them{% endif %},{% endif %}
    fall into <b>{{ topics_total|read_number }}&nbsp;topic{{ "s" if topics_total != 1 }}</b>
      {%- if outlier_share is not none %};
      {{ outlier_share|read_percent }} fit none{% endif %}.
    {% if run.result.assigned is not none %}Topics were found
    in a sample of {{ run.result.sampled|read_number }} documents; every other one has the topic of its nearest
    there.{% endif %}
  </p>
  <ul class="facts" aria-label="The corpus in numbers">
    {% if corpus.unique is defined and corpus.unique != corpus.documents %}<li><b>{{ corpus.unique|read_number }}</b>
      different texts</li>{% endif %}
    {% if corpus.empty %}<li><b>{{ corpus.empty|read_number }}</b> empty, left out</li>{% endif %}
    {% if corpus.tokens %}<li><b>{{ corpus.tokens|read_number }}</b> tokens read</li>{% endif %}
    {% if corpus.documents_cut %}<li><b>{{ corpus.documents_cut|read_number }}</b> documents cut at
      {{ encoder.max_tokens }} tokens</li>{% endif %}
    {% if label_count %}<li><b>{{ label_count }}</b> known label{{ "s" if label_count != 1 }}</li>{% endif %}
    {% if corpus.timestamps %}<li>{{ corpus.timestamps[0]|string|truncate(10, True, "") }} to
      {{ corpus.timestamps[1]|string|truncate(10, True, "") }}</li>{% endif %}
    {% if fusion.method %}
    <li>embedding: {{ fusion.method|replace("_", " ") }}
      {%- if method and method.uses_alpha %}, alpha {{ fusion.alpha }}{% endif %}
      {%- if fusion.filters %}, {{ fusion.filters|join(", ") }}{% endif %}
      {%- if fusion.lexical %}, words {{ fusion.lexical }}{% endif %}</li>
    {% endif %}
  </ul>
  <p class="note no-script">JavaScript is off, so the map, the charts and the search are left out. The tables are all
    here, and documents.parquet in the run folder has every document.</p>
  <div class="split">
    <figure class="map" aria-labelledby="map-title">
      <figcaption id="map-title">Document map
        <small id="map-note">every point is a document, near points are alike</small></figcaption>
      <div class="map-tools">
        <label>Highlight <select id="map-topic"><option value="">all topics</option></select></label>
        <span class="buttons">
          <output id="map-zoom" aria-label="Zoom of the map">1.0 ×</output>
          <button type="button" id="map-in" aria-label="Zoom in">+</button>
          <button type="button" id="map-out" aria-label="Zoom out">−</button>
          <button type="button" id="map-reset" aria-label="Show the whole map">⤢</button>
        </span>
      </div>
      <div class="canvas-box">
        <canvas id="map" tabindex="0" role="img"
          aria-label="Map of the documents, coloured by topic. The topic table below has the same topics as text."
          aria-describedby="map-help"></canvas>
        <div id="map-tip" class="tip" hidden></div>
        <div id="map-card" class="card" hidden></div>
      </div>
      <p id="map-help" class="hint"><span class="with-mouse">Drag to move; click the map, then scroll to zoom, or use
        the keys + − 0 and the arrows. Click a point to pick its topic.</span><span class="with-fingers">Two fingers
        move and zoom the map; tap a point to pick its topic.</span></p>
    </figure>
    <div class="largest">
      <h2>The {{ "ten " if topics_total >= 10 }}largest topic{{ "s" if topics_total != 1 }}</h2>
      <ol>
      {% for topic in largest %}
        <li><button type="button" class="topic-link" data-topic="{{ topic.topic }}">
          <span class="dot c{{ loop.index0 }}" aria-hidden="true"></span>
          <span class="name" dir="auto">{{ topic|read_title }}</span>
          <span class="count">{{ topic.count|read_number }}</span>
          <svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect class="c{{ loop.index0 }}" height="4"
              width="{{ (100 * topic.count / largest[0].count)|round(2) if largest[0].count else 0 }}"/></svg>
        </button></li>
      {% else %}
        <li>No topics were found.</li>
      {% endfor %}
      </ol>
    </div>
  </div>
  {% if headline %}
  <h2 class="minor">Quality at a glance</h2>
  <dl class="scores">
    {% for score in headline %}
    <div class="score {{ score.level }}" title="{{ score.description }}">
      <dt>{{ score.title }}</dt>
      <dd><b>{{ score.value }}</b>{% if score.level != "none" %} <span class="level">{{ score.level }}</span>{% endif %}
        <p>{{ score.text }}</p></dd>
    </div>
    {% endfor %}
  </dl>
  {% endif %}
"""

CHAPTER: Chapter = Chapter("overview", "Overview", overview, MARKUP, "overview_chapter.js")
