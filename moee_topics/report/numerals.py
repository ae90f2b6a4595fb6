"""Numbers, and other values of a run, as a person writes them; and text that stays text in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any


def as_percent(share: float) -> str:
    """A share as per cent, with one decimal, or a bound, where it would read as 0 or 100."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    decimals = 1 if 0 < share < 0.0095 or 0.99 < share < 1 else 0  # 0.0095 is 1 %, not 1.0 %
    return f"{100 * share:.{decimals}f} %"


def as_count(value: Any) -> str:
    """A count with thousands separators; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # to Python True is a number
        return "–"
    return f"{value:,.0f}"


def as_text(value: Any) -> str:
    """Any value of a manifest as text: long numbers with separators, floats to four digits, lists by comma."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else as_count(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {as_text(item)}" for key, item in value.items())
    return str(value)


def as_decimal(value: Any) -> str:
    """A number to two decimals; a dash where there is none."""
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"


def as_bytes(value: Any) -> str:
    """A number of bytes in GB or MB."""
    if not isinstance(value, (int, float)):
        return "–"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def as_duration(value: Any) -> str:
    """A number of seconds as a person would say it."""
    if not isinstance(value, (int, float)):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def markdown_text(text: Any) -> str:
    """Text that stays text in Markdown: no markup, no table cell, one line."""
    # Angle brackets go too: most renderers let HTML through.
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", line)
