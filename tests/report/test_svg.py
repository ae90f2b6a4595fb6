from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from small_run import HOSTILE

from moee_topics.report import export_report


def test_figures_are_valid_svg_even_of_hostile_names(hostile: Path, tmp_path: Path) -> None:
    written = export_report(hostile, ["svg"], tmp_path)
    assert {path.name for path in written} == {"map.svg", "topics.svg", "layers.svg"}
    for path in written:
        tags = {element.tag.split("}")[1] for element in ElementTree.parse(path).iter()}
        assert tags <= {"svg", "title", "rect", "path", "text"}
    assert HOSTILE[0] in "".join(ElementTree.parse(tmp_path / "topics.svg").getroot().itertext())
