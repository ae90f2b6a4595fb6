"""The documents, which the page's script lists and searches."""

from __future__ import annotations

from typing import Any

from moee_topics.report.chapter import Chapter
from moee_topics.report.page_data import rows_on_page
from moee_topics.run_folder import RunFolder

EXCERPT = 220


def excerpt(run: RunFolder, row: int) -> str:
    """The beginning of a document on one line; empty where the run has no such row."""
    text = " ".join((run.result.texts[row] or "").split()) if row < len(run.result) else ""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + "…"


def documents(run: RunFolder) -> dict[str, Any]:
    """A typical document of each topic, as it stands where no script lists them."""
    firsts = [
        (topic, excerpt(run, topic.representative_docs[0])) for topic in run.ranked_topics if topic.representative_docs
    ]
    return {
        "typical": [(topic, text) for topic, text in firsts if text],
        "has_labels": any(run.labels or []),
        "on_page": len(rows_on_page(run)),
    }


MARKUP = """\
  <h2 id="documents-title">Documents</h2>
  <form class="tools" id="document-form" role="search">
    <label class="grow">Search all documents
      <input type="search" id="document-search" placeholder="all of these words" autocomplete="off"></label>
    <label>Topic <select id="document-topic"><option value="">any</option></select></label>
    {% if has_labels %}
    <label>Label <select id="document-label"><option value="">any</option></select></label>
    {% endif %}
    <label>Order <select id="document-order"><option value="row">as in the corpus</option>
      <option value="strength">surest first</option><option value="weak">least sure first</option>
      <option value="long">longest first</option></select></label>
    <button type="button" id="document-csv">Save as CSV</button>
  </form>
  <p class="status"><span id="document-count" role="status">Unpacking the documents…</span>
    {% if longest < 2000 %}
    <span class="hint">So that the file stays small, it keeps
    at most {{ longest|read_number }} characters of a document, and {{ 2000|read_number }} of a representative one; the
    search looks at those.</span>
    {% endif %}
    {% if on_page < run.result|length %}
    <span class="hint">The page holds {{ on_page|read_number }} of the {{ run.result|length|read_number }} documents,
    each topic in its share; all are in documents.parquet and topics.parquet.</span>
    {% endif %}
  </p>
  <ol id="document-list" class="documents">
  {% for topic, text in typical %}<li><div class="meta">{{ topic|read_link }}</div>
    <p class="text" dir="auto">{{ text }}</p></li>
  {% endfor %}</ol>
  <div class="pages"><button type="button" id="page-back">← Back</button> <span id="page-number"></span>
    <button type="button" id="page-next">Next →</button></div>
  <p class="print-only">The documents are in the report file and in documents.parquet; they are not printed.</p>
"""

CHAPTER: Chapter = Chapter("documents", "Documents", documents, MARKUP, "documents_chapter.js")
