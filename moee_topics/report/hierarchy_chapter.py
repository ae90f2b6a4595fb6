"""Which topics join first."""

from __future__ import annotations

from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.run_folder import RunFolder


def hierarchy(run: RunFolder) -> dict[str, Any] | None:
    """The joints of the tree; None where the run has no tree."""
    return {"joints": run.hierarchy} if run.hierarchy else None


MARKUP = """\
  <h2 id="hierarchy-title">Hierarchy</h2>
  <p>Which topics join first when there should be fewer. The further right two branches meet, the less alike they
    are. <span id="tree-scale"></span></p>
  <div class="scroll tall" role="region" aria-label="Tree of topics" tabindex="0"><div id="tree"><table><thead><tr>
    <th scope="col">Joined</th><th scope="col" class="num">Distance</th></tr></thead><tbody>
    {% for row in joints|sort(attribute="distance") %}<tr><th scope="row" dir="auto">{{ row.name }}</th>
      <td class="num">{{ row.distance|read_figure }}</td></tr>
    {% endfor %}</tbody></table></div></div>
"""

CHAPTER: Chapter = Chapter("hierarchy", "Hierarchy", hierarchy, MARKUP, "hierarchy_chapter.js")
