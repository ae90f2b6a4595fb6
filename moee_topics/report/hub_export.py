"""A run's topic model as BERTopic itself lays it out for the hub, with a card; nothing is uploaded."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePath
from typing import Any

from moee_topics.messages import counted
from moee_topics.report.citations import references
from moee_topics.report.numerals import as_percent, markdown_text
from moee_topics.run_folder import RunFolder, title
from moee_topics.store import atomic_folder, write_text

FOLDER = "hub"
# What BERTopic.load looks for, and the statistics that vectors of new documents need. Neither texts nor vectors of the
# documents are among them; topics.json has the number of each document's topic.
FILES = (
    *("config.json", "topics.json", "topic_embeddings.safetensors", "ctfidf.safetensors", "ctfidf_config.json"),
    "fusion.safetensors",
)
OF_A_MACHINE = ("model", "device", "tokens_per_batch")

CARD = """---
library_name: bertopic
pipeline_tag: text-classification
tags:
- bertopic
- topic-modeling
- moee-topics
---

# {name}

A [BERTopic](https://github.com/MaartenGr/BERTopic) model of {documents}: {topics}, {outliers} of the
documents in none. Texts are read by **{model}** through [moee-topics](https://pypi.org/project/moee-topics/): hidden
states and routing weights of a mixture of experts.

## Use

```python
from bertopic import BERTopic
from moee_topics import Fusion, MoEEBackend

folder = "."  # this one; from the hub: huggingface_hub.snapshot_download("USER/NAME")
backend = MoEEBackend({arguments})
topic_model = BERTopic.load(folder, embedding_model=backend)
topics, _ = topic_model.transform(["a new document"])
```

Without the backend, `BERTopic.load` still gives the topics and their words.

## Licence

The embedding model is not part of this folder and has a licence of its own: {licence} Which licence the topics have is
for whoever publishes them to say, and follows from the documents: words of these are in `topics.json`,
`ctfidf_config.json` and, where the fusion reads words, in `fusion.safetensors`.

## Topics

| topic | documents | name | words |
|--:|--:|---|---|
{rows}

## Cite

{references}
"""


def export_hub(run: RunFolder, output: Path) -> list[Path]:
    """The folder ``hub``: model card, safetensors and JSON, to be loaded by plain BERTopic with our backend.

    Raises:
        InputError: a file of the model is missing or damaged.
    """
    RunFolder.model.check(run)
    with atomic_folder(output / FOLDER) as new:
        for name in FILES:
            shutil.copyfile(RunFolder.model.path(run) / name, new / name)
        write_text(new / "README.md", model_card(run))
    return [output / FOLDER]


def model_card(run: RunFolder) -> str:
    """The card, in which text from documents stays text."""
    text, options = markdown_text, run.encoder["options"]
    model = _published_name(str(options.get("model", "")))
    rows = [
        f"| {topic.topic} | {topic.count:,} | {text(title(topic))} | "
        f"{text(', '.join(word for word, _ in list(topic.words)[:10] if word))} |"
        for topic in run.ranked_topics
    ]
    return CARD.format(
        name=text(run.name),
        documents=counted(len(run.result), "document"),
        topics=counted(len(run.ranked_topics), "topic"),
        outliers=as_percent(run.result.outlier_share),
        model=text(model),
        arguments=_backend_arguments(model, options),
        licence=(
            "it comes with moee-topics, is made of SmolLM2-135M, and is Apache-2.0."
            if model == "pocket"
            else f"see the card of {text(model)}."
        ),
        rows="\n".join(rows),
        references="\n".join(f"- {text(work)} {text(key)} ({purpose})" for work, key, purpose in references(run)),
    )


def _published_name(model: str) -> str:
    """A model by its name on the hub; of a folder of this machine the last part alone."""
    is_folder = PurePath(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
    return PurePath(model).name if is_folder else model


def _backend_arguments(model: str, options: dict[str, Any]) -> str:
    told = {name: value for name, value in options.items() if value is not None and name not in OF_A_MACHINE}
    values = (tuple(value) if isinstance(value, list) else value for value in told.values())
    pairs = (f"{name}={value!r}" for name, value in zip(told, values, strict=True))
    return ", ".join([repr(model), 'Fusion.load(f"{folder}/fusion.safetensors")', *pairs])
