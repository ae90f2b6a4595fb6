from __future__ import annotations

import json
from pathlib import Path

import pytest

from moee_topics.evaluate import MEASURES, ViewScores
from moee_topics.mteb.view_comparison import ComparedView, ViewComparison
from moee_topics.mteb.view_comparison_page import write_views


def view(name: str, ami: float | None, stability: float, control: str = "") -> ComparedView:
    scores = ViewScores(ami, ami, 0.01 if ami else None, {**dict.fromkeys(MEASURES, 0.5), "stability": stability})
    layer = name.partition("@")[2].partition("/")[0]
    return ComparedView(name, (f"encoder.layers={layer}",), control, 8, 16, 0.5, scores)


def compared(*views: ComparedView, classes: int | None = 3) -> ViewComparison:
    ranks = {} if classes is None else dict.fromkeys(MEASURES, 0.25)
    return ViewComparison({"model": "<tiny>"}, 40, 1, classes, 900, views, ranks, [0.5, 0.25], [0.5, 1.5])


VIEWS = [
    view("hidden_states@2/mean", 0.3, 0.9),
    view("hidden_states@last/mean z", 0.6, 0.1),
    view("hidden_states@0/mean", 0.9, 0.95, "tokens alone"),
]


def test_the_best_view_that_is_no_control_is_told_with_the_overrides_to_copy(tmp_path: Path) -> None:
    written = write_views(compared(*VIEWS), tmp_path)
    (table, *_), page = written.tables, written.page.read_text()
    assert [row[0] for row in table.rows][:2] == ["hidden_states@0/mean", "hidden_states@last/mean z"]
    assert table.notes[0].endswith(
        "hidden_states@last/mean z. Other views within one deviation of it: 0. Overrides: encoder.layers=last"
    )
    assert "encoder.layers=last" in page and "<svg" in page and "&lt;tiny&gt;" in page and "<tiny>" not in page
    data = json.loads((tmp_path / "views.json").read_text())
    assert data["recommended"] == ["encoder.layers=last"] and len(data["views"]) == 3 and data["as_good"] == []


def test_views_within_a_deviation_of_the_best_are_counted_and_controls_are_not(tmp_path: Path) -> None:
    near = [view("hidden_states@1/mean", 0.595, 0.2), view("hidden_states@0/mean z", 0.595, 0.2, "tokens alone")]
    written = write_views(compared(*VIEWS, *near), tmp_path)
    assert "within one deviation of it: 1. " in written.tables[0].notes[0]
    assert written.data["as_good"] == ["hidden_states@1/mean"]


def test_without_labels_nothing_is_ranked_or_recommended(tmp_path: Path) -> None:
    views = [view(each.name, None, each.scores.measures["stability"], each.control) for each in VIEWS]
    written = write_views(compared(*views, classes=None), tmp_path)
    assert "AMI" not in written.tables[0].headers and len(written.tables) == 2
    assert written.data["recommended_view"] is None and written.data["recommended"] is None
    assert written.tables[0].notes[0].startswith("Without labels nothing is recommended")


@pytest.mark.parametrize("classes", [None, 3])
def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path, classes: int | None) -> None:
    views = VIEWS if classes else [view(each.name, None, 0.5, each.control) for each in VIEWS]
    for folder in ("one", "two"):
        write_views(compared(*views, classes=classes), tmp_path / folder)
    for name in ("views.json", "views.md", "views.html", "views.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_figure_has_a_row_for_each_layer_in_their_order(tmp_path: Path) -> None:
    write_views(compared(*VIEWS), tmp_path)
    figure = (tmp_path / "views.svg").read_text()
    places = [figure.index(f">{layer}</text>") for layer in ("0", "2", "last")]
    assert places == sorted(places) and "AMI of hidden states" in figure
