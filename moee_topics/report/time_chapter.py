"""How often topics come up over time: a table, which the page's script turns into charts."""

from __future__ import annotations

from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.run_folder import RunFolder


def over_time(run: RunFolder) -> dict[str, Any] | None:
    """When each topic had most documents, the largest topic first; None where the documents have no times."""
    if not run.over_time:
        return None
    moments: dict[int, list[tuple[int, str]]] = {}
    for row in run.over_time:
        moments.setdefault(row["topic"], []).append((row["frequency"], str(row["timestamp"])[:10]))
    of_topics = [(topic, moments[topic.topic]) for topic in run.ranked_topics if topic.topic in moments]
    return {"peaks": [(topic, *max(of_topic), sum(size for size, _ in of_topic)) for topic, of_topic in of_topics]}


MARKUP = """\
  <h2 id="time-title">Over time</h2>
  <div class="tools"><label>Height <select id="time-scale"><option value="own">each its own</option>
    <option value="same">one for all</option></select></label>
  <button type="button" id="time-more">Show all topics</button></div>
  <div id="time-charts" class="multiples"><table><thead><tr><th scope="col">Topic</th>
    <th scope="col">Most in</th><th scope="col" class="num">Documents then</th>
    <th scope="col" class="num">in all</th></tr></thead>
    <tbody>{% for topic, most, moment, total in peaks %}<tr><th scope="row">{{ topic|read_link }}</th>
      <td class="nowrap">{{ moment }}</td><td class="num">{{ most|read_number }}</td>
      <td class="num">{{ total|read_number }}</td>
      </tr>{% endfor %}</tbody></table></div>
"""

CHAPTER: Chapter = Chapter("time", "Over time", over_time, MARKUP, "time_chapter.js")
