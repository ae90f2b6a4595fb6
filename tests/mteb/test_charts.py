"""Figures as SVG that needs no network."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from moee_topics.mteb.charts import box_plot, heatmap


def test_figures_are_well_formed_and_hold_the_numbers() -> None:
    names = ["HS a", "RW <b>"]
    found = ET.fromstring(heatmap("title", names, np.array([[1.0, -0.25], [-0.25, np.nan]])))
    texts = [element.text for element in found.iter() if element.text]
    assert {"1.00", "-0.25", "–", "RW <b>", "HS a", "title"} <= set(texts)
    boxes = ET.fromstring(box_plot("title", {"HS": [0.1, 0.2, 0.9], "RW": [float("nan")]}, "axis"))
    dots = [element for element in boxes.iter() if element.tag.endswith("circle")]
    assert len(dots) == 3
    assert ET.fromstring(box_plot("title", {"HS": []}, "axis")) is not None
