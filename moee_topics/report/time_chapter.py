"""How often topics come up over time; the page's script draws it."""

from __future__ import annotations

from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.run_folder import RunFolder


def over_time(run: RunFolder) -> dict[str, Any] | None:
    """Nothing that the markup names; None where the documents have no times."""
    return {} if run.over_time else None


MARKUP = """\
  <h2 id="time-title">Over time</h2>
  <div class="tools"><label>Height <select id="time-scale"><option value="own">own maximum of each topic</option>
    <option value="same">one for all topics</option></select></label>
  <button type="button" id="time-more">Show all topics</button></div>
  <div id="time-charts" class="multiples"></div>
"""

CHAPTER: Chapter = Chapter("time", "Over time", over_time, MARKUP)
