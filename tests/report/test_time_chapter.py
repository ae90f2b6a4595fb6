"""When topics had most documents, as a table where no script draws charts."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.time_chapter import CHAPTER, over_time
from moee_topics.run_folder import RunFolder


def test_only_a_run_with_times_has_the_chapter(folder: RunFolder, tmp_path: Path) -> None:
    assert 'id="time-charts"' in str(CHAPTER.html(folder))
    assert CHAPTER.html(RunFolder.read(bare_run(tmp_path, ["one", "two"]))) is None


def test_each_topic_has_its_peak_and_its_sum(folder: RunFolder) -> None:
    chapter = over_time(folder)
    assert chapter is not None
    rows = {topic.topic: (most, moment, total) for topic, most, moment, total in chapter["peaks"]}
    assert rows == {t: (3 + 6 * t, "2020-06-01", 18 + 21 * t) for t in range(4)}
