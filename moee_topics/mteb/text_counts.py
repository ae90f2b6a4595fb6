"""What scoring will cost, from the statistics that mteb ships: nothing is downloaded and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moee_topics.mteb.tasks import TaskSource, texts_of
from moee_topics.report import TextTable

CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True)
class TaskEstimate:
    """The texts of one task.

    Attributes:
        name: the task.
        type: mteb's task type.
        texts: texts that mteb asks for.
        unique: different ones among them, as far as the statistics tell; only these go through the model.
        characters: of the different ones.
        tokens: about a quarter of the characters, without prompts.
        store_bytes: of their embeddings in the store.
        exact: whether the texts were counted (local files) or taken from mteb's statistics, where different texts are
            counted column by column.
    """

    name: str
    type: str
    texts: int
    unique: int
    characters: int
    tokens: int
    store_bytes: int
    exact: bool


def estimate_tasks(sources: Sequence[TaskSource], bytes_per_text: int) -> list[TaskEstimate]:
    """The texts of each task; ``bytes_per_text`` is what the store keeps of one."""
    estimates = []
    for source in sources:
        if source.local:
            distinct = texts_of(source)
            texts, unique, characters = len(distinct), len(distinct), sum(map(len, distinct))
        else:
            counts = list(_column_counts(source.make()))
            texts, unique = (sum(column[i] for column in counts) for i in (0, 1))
            characters = sum(length * different // max(1, count) for count, different, length in counts)
        tokens = round(characters / CHARACTERS_PER_TOKEN)
        store_bytes = unique * bytes_per_text
        estimates.append(
            TaskEstimate(source.name, source.type, texts, unique, characters, tokens, store_bytes, exact=source.local)
        )
    return estimates


def _column_counts(task: Any) -> Iterator[tuple[int, int, int]]:
    """Texts, different texts and characters of each column of texts that an evaluation encodes."""
    stats = task.metadata.descriptive_stats or {}
    fraction = getattr(task, "max_fraction_of_documents_to_embed", None)  # of clustering tasks, which embed a part
    for split in task.eval_splits:
        for name, column in _text_columns(stats.get(split, {})):
            # mteb's summarization tasks embed the summaries and not the text they are of.
            if not (task.metadata.type == "Summarization" and name == "text_statistics"):
                most = getattr(task, "max_document_to_embed", None)
                yield _first_texts(column, most if fraction is None else int(fraction * _count(column)))
    train = stats.get(getattr(task, "train_split", ""), {})
    if task.metadata.type == "Classification" and train:
        labels = len(train.get("label_statistics", {}).get("labels", {})) or 2
        for _, column in _text_columns(train):
            yield _first_texts(column, task.samples_per_label * task.n_experiments * labels)


def _text_columns(stats: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in stats.items():
        if isinstance(value, dict) and value.get("total_text_length") and value.get("average_text_length"):
            yield name, value


def _count(column: Mapping[str, Any]) -> int:
    return round(float(column["total_text_length"] / column["average_text_length"]))


def _first_texts(column: Mapping[str, Any], limit: int | None) -> tuple[int, int, int]:
    count = _count(column)
    texts = min(count, limit) if limit is not None else count
    different = min(int(column.get("unique_texts") or count), texts)
    return texts, different, int(column["total_text_length"] * texts / count)


def estimate_table(estimates: Sequence[TaskEstimate]) -> TextTable:
    """The estimates as a table with a sum; texts that tasks share are encoded once but counted in each."""
    rows = [[e.name, e.type, *_numbers(e)] for e in estimates]
    if len(estimates) > 1:
        sums = {name: sum(getattr(e, name) for e in estimates) for name in _SUMMED}
        rows.append(["all", "", *_numbers(TaskEstimate("all", "", **sums, exact=False))])
    headers = ["task", "type", "texts", "different", "characters", "tokens about", "store MB"]
    notes = ["Tokens are taken for a quarter of the characters; the prompt comes on top of each text."]
    return TextTable("What is to be encoded", headers, rows, (), notes)


_SUMMED = ("texts", "unique", "characters", "tokens", "store_bytes")


def _numbers(e: TaskEstimate) -> list[str]:
    counts = [f"{value:,}" for value in (e.texts, e.unique, e.characters, e.tokens)]
    return [*counts, f"{e.store_bytes / 1e6:,.1f}"]


def estimates_to_json(estimates: Sequence[TaskEstimate]) -> list[dict[str, Any]]:
    """The estimates as plain JSON."""
    return [asdict(estimate) for estimate in estimates]
