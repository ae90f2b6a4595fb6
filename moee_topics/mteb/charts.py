"""Two plain SVG figures, a heatmap and box plots: no library and no network needed to look at them."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CELL = 44
LEFT, TOP = 190, 150
PLOT_LEFT, PLOT_TOP, PLOT_HEIGHT = 70, 60, 300
BOX_WIDTH, GAP = 46, 34


def heatmap(title: str, names: Sequence[str], values: NDArray[np.float64], columns: Sequence[str] = ()) -> str:
    """A heatmap of numbers from -1 to 1; blue is 1, white 0, red -1. Without columns it is square, of correlations."""
    columns = columns or names
    places = [(row, column) for row in range(len(names)) for column in range(len(columns))]
    cells = [_cell(row, column, float(values[row, column])) for row, column in places]
    middles = [CELL * (i + 0.6) for i in range(max(len(names), len(columns)))]
    beside = [_text(name, LEFT - 8, TOP + middle, "end") for name, middle in zip(names, middles, strict=False)]
    above = [
        _text(name, LEFT + middle, TOP - 8, "start", angle=-55) for name, middle in zip(columns, middles, strict=False)
    ]
    width, height = CELL * len(columns) + 60, CELL * len(names) + 20
    return _svg(title, LEFT + width, TOP + height, [*cells, *beside, *above])


def _cell(row: int, column: int, value: float) -> str:
    x, y = LEFT + CELL * column, TOP + CELL * row
    shown = "–" if math.isnan(value) else f"{value:.2f}"
    colour = "#e5e5e5"
    if not math.isnan(value):
        end = np.array((29, 78, 137) if value >= 0 else (165, 42, 42))
        mixed = 255 + (end - 255) * min(1.0, abs(value))
        colour = "#" + "".join(f"{round(float(part)):02x}" for part in mixed)
    square = f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="{colour}"/>'
    return square + _text(shown, x + CELL / 2, y + CELL * 0.6, ink="#fff" if abs(value) > 0.6 else "#1a1a1a")


def box_plot(title: str, groups: Mapping[str, Sequence[float]], axis: str) -> str:
    """One box per group: median, quartiles, the farthest values within 1.5 interquartile ranges, and every value."""
    finite = {name: np.array([value for value in values if math.isfinite(value)]) for name, values in groups.items()}
    scale = _Scale.of([float(value) for values in finite.values() for value in values])
    width = PLOT_LEFT + len(groups) * (BOX_WIDTH + GAP) + GAP
    parts = []
    for value in map(float, np.linspace(scale.low, scale.high, 6)):
        y = scale(value)
        parts.append(f'<line x1="{PLOT_LEFT}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(f"{value:.2f}", PLOT_LEFT - 8, y + 4, "end"))
    for i, (name, values) in enumerate(finite.items()):
        x = PLOT_LEFT + GAP + i * (BOX_WIDTH + GAP)
        parts.append(_box(x, values, scale) if len(values) else "")
        parts.append(_text(name, x + BOX_WIDTH / 2, PLOT_TOP + PLOT_HEIGHT + 20))
    parts.append(_text(axis, 18, PLOT_TOP + PLOT_HEIGHT / 2, angle=-90))
    return _svg(title, width + 20, PLOT_TOP + PLOT_HEIGHT + 40, parts)


class _Scale(NamedTuple):
    """From values to heights."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Scale:
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        # Of equal values too a scale must have a height, by which heights are divided.
        margin = 0.06 * ((high - low) or 1.0)
        return cls(low - margin, high + margin)

    def __call__(self, value: float) -> float:
        return PLOT_TOP + PLOT_HEIGHT * (self.high - value) / (self.high - self.low)


def _box(x: float, values: NDArray[np.float64], scale: _Scale) -> str:
    first, median, third = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (third - first)
    near = values[(values >= first - reach) & (values <= third + reach)]
    low, high, middle = scale(float(near.min())), scale(float(near.max())), x + BOX_WIDTH / 2
    # A pixel at least: of equal values the box would be there and not be seen.
    height = max(1.0, scale(first) - scale(third))
    parts = [
        f'<line x1="{middle}" x2="{middle}" y1="{low:.1f}" y2="{high:.1f}" stroke="#444"/>',
        f'<rect x="{x}" y="{scale(third):.1f}" width="{BOX_WIDTH}" height="{height:.1f}" fill="#cfdcec" '
        'stroke="#444"/>',
        f'<rect x="{x}" y="{scale(median) - 1:.1f}" width="{BOX_WIDTH}" height="2" fill="#1a1a1a"/>',
    ]
    dots = [
        f'<circle cx="{middle}" cy="{scale(float(value)):.1f}" r="2.5" fill="#1d4e89" fill-opacity="0.6"/>'
        for value in values
    ]
    return "".join([*parts, *dots])


def _text(text: str, x: float, y: float, anchor: str = "middle", *, angle: int = 0, ink: str = "#1a1a1a") -> str:
    place = f"translate({x:.1f},{y:.1f})" + (f" rotate({angle})" if angle else "")
    return f'<text transform="{place}" text-anchor="{anchor}" fill="{ink}">{html.escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{html.escape(title)}" font-family="system-ui,sans-serif" '
        'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
    )
    return head + _text(title, 12, 24, "start") + "".join(parts) + "</svg>"
