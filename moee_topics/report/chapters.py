"""The chapters of the report, in their order."""

from __future__ import annotations

from moee_topics.report import (
    decisions_chapter,
    documents_chapter,
    drift_chapter,
    experts_chapter,
    hierarchy_chapter,
    labels_chapter,
    outliers_chapter,
    overview_chapter,
    run_chapter,
    stability_chapter,
    time_chapter,
    topics_chapter,
)
from moee_topics.report.chapter import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    overview_chapter.CHAPTER,
    topics_chapter.CHAPTER,
    experts_chapter.CHAPTER,
    hierarchy_chapter.CHAPTER,
    time_chapter.CHAPTER,
    labels_chapter.CHAPTER,
    outliers_chapter.CHAPTER,
    documents_chapter.CHAPTER,
    stability_chapter.CHAPTER,
    drift_chapter.CHAPTER,
    decisions_chapter.CHAPTER,
    run_chapter.CHAPTER,
)
