"""A finished run as something to read: one HTML file without a network, tables, figures, and runs side by side."""

from __future__ import annotations

from moee_topics.report.comparison_page import write_comparison
from moee_topics.report.exports import FORMATS, Format, export_report
from moee_topics.report.methods_page import write_methods
from moee_topics.report.page import write_report
from moee_topics.run_folder import RunFolder

__all__ = ["FORMATS", "Format", "RunFolder", "export_report", "write_comparison", "write_methods", "write_report"]
