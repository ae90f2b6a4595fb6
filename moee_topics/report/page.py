"""The report: one HTML file of a run that needs no network and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from moee_topics.errors import InputError
from moee_topics.report import reading
from moee_topics.report.payload import documents_payload, embedded_json, first_payload
from moee_topics.report.stability_chapter import stability_chapter
from moee_topics.run_folder import RunFolder, title
from moee_topics.store import write_text
from moee_topics.topics import OUTLIERS, Topic

EXCERPT = 220
OUTLIER_SAMPLES = 6
LARGEST = 10


def write_report(run_folder: Path, output: Path | None = None, *, sample: int = 20_000) -> Path:
    """Writes the report of a finished run as one self-contained HTML file.

    Args:
        run_folder: the folder of a finished run; nothing else is read.
        output: where to write; ``report.html`` in the run folder by default.
        sample: how many documents the map shows at most.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder holds no finished topic model, or the sample is not positive.
    """
    if sample < 1:
        raise InputError(f"The map needs at least one document, got sample={sample}.")
    run = RunFolder.read(Path(run_folder))
    page = render_report(run, sample)
    if output is None:
        run.files.report.write(page)
        return run.files.report.path
    write_text(Path(output), page)
    return Path(output)


def render_report(run: RunFolder, sample: int) -> str:
    """The report as text."""
    packed, longest = documents_payload(run)
    return render(
        "report.html.j2",
        script=template_text("report.js"),
        run=run,
        rows=[_topic_row(run, topic) for topic in run.ranked_topics],
        largest=run.ranked_topics[:LARGEST],
        topics_total=len(run.ranked_topics),
        outliers=_outliers(run),
        scores=[reading.read_score(name, score) for name, score in run.scores.items()],
        headline=[reading.read_score(name, run.scores[name]) for name in reading.HEADLINE if name in run.scores],
        labels=_labels(run),
        manifest=_manifest(run),
        recipe=json.dumps(run.manifest.get("recipe", {}), indent=2, ensure_ascii=False),
        references=references(run),
        first=Markup(embedded_json(first_payload(run, sample))),
        packed=Markup(packed),
        longest=longest,
        stability=stability_chapter(run),
        circular=run.section("fusion").get("method") not in (None, "hidden_states"),
    )


def render(template: str, *, script: str, **values: Any) -> str:
    """Fills a template, with the style and the script inline and a policy that allows only those two."""
    style = template_text("report.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    inline = {"script": Markup(script), "style": Markup(style)}
    return _environment().get_template(template).render(policy=policy, **inline, **values)


def template_text(name: str) -> str:
    """A file of the template folder."""
    return files("moee_topics.report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(template_text), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    filters = {
        "number": reading.number,
        "percent": reading.percent,
        "bytes": reading.bytes_read,
        "seconds": reading.seconds_read,
        "title": title,
        "plain": lambda text: Markup(reading.markdown_text(text)),
    }
    environment.filters.update({f"read_{name}": function for name, function in filters.items()})
    return environment


@dataclass(frozen=True)
class TopicRow:
    """One row of the topic table."""

    topic: Topic
    share: float
    words: str
    excerpt: str
    label: str
    purity: float
    expert: str
    lift: float


def _topic_row(run: RunFolder, topic: Topic) -> TopicRow:
    label, purity = _main_label(run, topic.topic)
    expert, lift = _main_expert(run, topic.topic)
    return TopicRow(
        topic=topic,
        share=topic.count / max(len(run.result), 1),
        words=", ".join(word for word, _ in list(topic.words)[:8] if word),
        excerpt=_excerpt(run, topic.representative_docs[0]) if topic.representative_docs else "",
        label=label,
        purity=purity,
        expert=expert,
        lift=lift,
    )


def _excerpt(run: RunFolder, row: int) -> str:
    text = " ".join((run.result.texts[row] or "").split()) if row < len(run.result) else ""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rstrip() + "…"


def _main_label(run: RunFolder, topic: int) -> tuple[str, float]:
    counts = _label_counts(run, topic)
    if not counts:
        return "", 0.0
    label, count = counts.most_common(1)[0]
    return label, count / counts.total()


def _label_counts(run: RunFolder, topic: int) -> Counter[str]:
    if run.labels is None:
        return Counter()
    return Counter(label for row in np.flatnonzero(run.result.topics == topic) if (label := run.labels[row]))


def _main_expert(run: RunFolder, topic: int) -> tuple[str, float]:
    found = next((t for t in run.experts.topics if t.topic == topic), None) if run.experts else None
    if found is None or not found.experts:
        return "", 0.0
    best = found.experts[0]
    return f"L{best.layer} E{best.expert}", best.lift


def _outliers(run: RunFolder) -> dict[str, Any] | None:
    if run.outliers is None or not len(run.result):
        return None
    rows = np.flatnonzero(run.result.topics == OUTLIERS)
    picked = rows[np.linspace(0, len(rows) - 1, min(OUTLIER_SAMPLES, len(rows))).astype(int)] if len(rows) else rows
    return {
        "count": len(rows),
        "share": len(rows) / len(run.result),
        "words": [word for word, _ in list(run.outliers.words)[:10] if word],
        "samples": [(run.result.ids[row], _excerpt(run, row)) for row in picked.tolist()],
        "by_label": _outliers_by_label(run),
    }


def _outliers_by_label(run: RunFolder) -> list[tuple[str, int, float]]:
    if run.labels is None:
        return []
    every, out = Counter(label for label in run.labels if label), _label_counts(run, OUTLIERS)
    shares = [(label, out[label], out[label] / count) for label, count in every.items()]
    return sorted(shares, key=lambda row: (-row[2], row[0]))


def _labels(run: RunFolder) -> dict[str, Any] | None:
    """Which labels topics keep whole, and which they mix."""
    if not run.labels or not any(run.labels):
        return None
    counts = {topic.topic: _label_counts(run, topic.topic) for topic in run.ranked_topics}
    purity = [(topic, *_main_label(run, topic.topic)) for topic in run.ranked_topics if counts[topic.topic]]
    ranked = sorted(purity, key=lambda row: -row[2])
    spread = Counter(label for label in run.labels if label)
    homes = {label: max(counts, key=lambda t: counts[t][label], default=OUTLIERS) for label in spread}
    held = [
        (label, size, homes[label], counts.get(homes[label], Counter())[label] / size) for label, size in spread.items()
    ]
    return {
        "count": len(spread),
        "purest": ranked[:3],
        "mixed": ranked[::-1][:3],
        "held": sorted(held, key=lambda row: -row[3]),
        "names": {topic.topic: title(topic) for topic in run.ranked_topics},
    }


def _manifest(run: RunFolder) -> list[tuple[str, list[tuple[str, str]]]]:
    sections = [("Run", _flat({k: run.manifest.get(k) for k in ("name", "created", "finished", "seed")}))]
    sections += [(name.capitalize(), _flat(run.section(name))) for name in ("corpus", "encoder", "fusion")]
    sections += [("Versions", _flat(run.section("versions"))), ("Hashes", _flat(run.section("hashes")))]
    return [(name, rows) for name, rows in sections if rows]


def _flat(section: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), _plain(value)) for key, value in section.items() if value is not None]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return str(value)


REFERENCES = {
    "bertopic": (
        "Grootendorst, M. (2022). BERTopic: Neural topic modeling with a class-based TF-IDF procedure.",
        "arXiv:2203.05794",
        "the topic model",
    ),
    "moee": (
        "Li, Z. and Zhou, T. (2025). Your Mixture-of-Experts LLM Is Secretly an Embedding Model For Free. ICLR 2025.",
        "arXiv:2410.10814",
        "hidden states and routing weights as embeddings",
    ),
    "umap": (
        "McInnes, L., Healy, J. and Melville, J. (2018). UMAP: Uniform Manifold Approximation and Projection for "
        "Dimension Reduction.",
        "arXiv:1802.03426",
        "the reduction and the map",
    ),
    "hdbscan": (
        "Campello, R., Moulavi, D. and Sander, J. (2013). Density-Based Clustering Based on Hierarchical Density "
        "Estimates. PAKDD 2013.",
        "doi:10.1007/978-3-642-37456-2_14",
        "the clusters",
    ),
}
MODEL_REFERENCES = {
    "olmoe": ("Muennighoff, N. et al. (2024). OLMoE: Open Mixture-of-Experts Language Models.", "arXiv:2409.02060"),
    "qwen": ("Qwen Team (2024). Qwen2 Technical Report.", "arXiv:2407.10671"),
    "deepseek": (
        "Dai, D. et al. (2024). DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language "
        "Models.",
        "arXiv:2401.06066",
    ),
}


def references(run: RunFolder) -> list[tuple[str, str, str]]:
    """Whom to cite for this run: (text, identifier, for what)."""
    model = str(run.section("encoder").get("model") or "")
    known = [(*reference, "the encoder") for key, reference in MODEL_REFERENCES.items() if key in model.lower()]
    named = [(f"The model {model}; see its card for how to cite it.", "", "the encoder")] if model else []
    return [REFERENCES["bertopic"], REFERENCES["moee"], *(known or named), REFERENCES["umap"], REFERENCES["hdbscan"]]
