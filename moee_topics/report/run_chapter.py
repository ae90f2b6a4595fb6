"""How the run was made: its scores, stages, manifest, recipe, and what to cite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.report.citations import references
from moee_topics.report.numerals import as_text
from moee_topics.report.verdicts import score_verdict
from moee_topics.run_folder import RunFolder


def this_run(run: RunFolder) -> dict[str, Any]:
    """Scores, tables of the manifest, what was left out, the recipe and the references."""
    return {
        "scores": [score_verdict(name, score) for name, score in run.scores.items()],
        "manifest": manifest_tables(run),
        "left_out": list(run.section("left_out").items()),
        "recipe": json.dumps(run.manifest.get("recipe", {}), indent=2, ensure_ascii=False),
        "references": references(run),
    }


def manifest_tables(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the manifest as tables of text."""
    sections: dict[str, Mapping[str, Any]] = {
        "Run": {name: run.manifest.get(name) for name in ("name", "created", "finished", "seed")}
    }
    sections |= {name.capitalize(): run.section(name) for name in ("corpus", "encoder", "fusion", "versions", "hashes")}
    tables = [
        (name, [(key.replace("_", " "), as_text(value)) for key, value in section.items() if value is not None])
        for name, section in sections.items()
    ]
    return [(name, rows) for name, rows in tables if rows]


MARKUP = """\
  <h2 id="run-title">This run</h2>
  {% if scores %}<h3>All scores</h3>
  <div class="scroll" role="region" aria-label="Scores" tabindex="0"><table><thead><tr><th scope="col">Score</th>
    <th scope="col" class="num">Value</th><th scope="col">Read as</th><th scope="col">What it is</th></tr></thead>
    <tbody>
  {% for score in scores %}<tr><th scope="row" class="nowrap">{{ score.name }}</th>
    <td class="num">{{ score.value }}</td><td>{{ score.level if score.level != "none" else "" }}</td>
    <td>{{ score.description }}</td></tr>{% endfor %}
  </tbody></table></div><p class="hint">Good, fair and weak are rules of thumb for corpora of short texts, not tests.
    Compare runs on the same corpus.</p>{% endif %}
  {% if run.manifest.stages %}<h3>Stages</h3>
  <table><thead><tr><th scope="col">Stage</th><th scope="col" class="num">Time</th>
    <th scope="col"><span class="hidden">Remark</span></th></tr></thead>
    <tbody>{% for stage in run.manifest.stages %}<tr><th scope="row">{{ stage.name }}</th>
    <td class="num">{{ stage.seconds|read_seconds }}</td>
    <td>{% if stage.skipped %}<small>done before, skipped</small>{% endif %}</td></tr>{% endfor %}</tbody></table>
  {% if left_out %}<p class="note">Left out, since they could not be made:
    {% for name, why in left_out %}{{ name }} ({{ why }}){{ "; " if not loop.last else "." }}{% endfor %}</p>{% endif %}
  {% if run.manifest.peak_memory_bytes %}<p class="hint">Peak memory
    {{ run.manifest.peak_memory_bytes|read_bytes }}.</p>{% endif %}{% endif %}
  <h3>Manifest</h3>
  <div class="manifest">
  {% for name, values in manifest %}<table><caption>{{ name }}</caption><tbody>{% for key, value in values %}<tr>
    <th scope="row">{{ key }}</th><td>{{ value }}</td></tr>{% endfor %}</tbody></table>{% endfor %}
  </div>
  {% if run.manifest.recipe %}<details class="on-screen"><summary>The full recipe</summary>
    <pre>{{ recipe }}</pre></details>{% endif %}
  <h3>How to cite</h3>
  <ul class="cite">{% for text, key, purpose in references %}<li>{{ text }} {{ key }} <small>({{ purpose }})</small>
    </li>{% endfor %}</ul>
"""

CHAPTER: Chapter = Chapter("run", "This run", this_run, MARKUP)
