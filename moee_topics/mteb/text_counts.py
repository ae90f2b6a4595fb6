"""What scoring will cost, from the statistics that mteb ships: nothing is downloaded and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moee_topics.mteb.board import Table
from moee_topics.mteb.tasks import TaskSource, texts_of

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
    return [_local(source, bytes_per_text) if source.local else _hub(source, bytes_per_text) for source in sources]


def _local(source: TaskSource, bytes_per_text: int) -> TaskEstimate:
    texts = texts_of(source)
    characters = sum(map(len, texts))
    return _estimate(source, len(texts), len(texts), characters, bytes_per_text, exact=True)


def _hub(source: TaskSource, bytes_per_text: int) -> TaskEstimate:
    task = source.make()
    found = list(_columns(task))
    texts = sum(count for count, _, _ in found)
    unique = sum(different for _, different, _ in found)
    characters = sum(length * different // max(1, count) for count, different, length in found)
    return _estimate(source, texts, unique, characters, bytes_per_text, exact=False)


def _estimate(
    source: TaskSource, texts: int, unique: int, characters: int, bytes_per_text: int, *, exact: bool
) -> TaskEstimate:
    tokens = round(characters / CHARACTERS_PER_TOKEN)
    return TaskEstimate(source.name, source.type, texts, unique, characters, tokens, unique * bytes_per_text, exact)


def _columns(task: Any) -> Iterator[tuple[int, int, int]]:
    """Texts, different texts and characters of each column of texts that an evaluation encodes."""
    stats = task.metadata.descriptive_stats or {}
    for split in task.eval_splits:
        for name, column in _text_columns(stats.get(split, {})):
            # mteb's summarization tasks embed the summaries and not the text they are of.
            if not (task.metadata.type == "Summarization" and name == "text_statistics"):
                yield _limited(column, _limit(task, column))
    train = stats.get(getattr(task, "train_split", ""), {})
    if task.metadata.type == "Classification" and train:
        labels = len(train.get("label_statistics", {}).get("labels", {})) or 2
        for _, column in _text_columns(train):
            yield _limited(column, task.samples_per_label * task.n_experiments * labels)


def _text_columns(stats: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in stats.items():
        if isinstance(value, dict) and value.get("total_text_length") and value.get("average_text_length"):
            yield name, value


def _limit(task: Any, column: Mapping[str, Any]) -> int | None:
    """How many documents a clustering task embeds at most."""
    fraction = getattr(task, "max_fraction_of_documents_to_embed", None)
    if fraction is not None:
        return int(fraction * _count(column))
    limit: int | None = getattr(task, "max_document_to_embed", None)
    return limit


def _count(column: Mapping[str, Any]) -> int:
    return round(float(column["total_text_length"] / column["average_text_length"]))


def _limited(column: Mapping[str, Any], limit: int | None) -> tuple[int, int, int]:
    count = _count(column)
    kept = min(count, limit) if limit is not None else count
    different = min(int(column.get("unique_texts") or count), kept)
    return kept, different, int(column["total_text_length"] * kept / count)


def estimate_table(estimates: Sequence[TaskEstimate]) -> Table:
    """The estimates as a table with a sum; texts that tasks share are encoded once but counted in each."""
    rows = [[e.name, e.type, *_numbers(e)] for e in estimates]
    if len(estimates) > 1:
        sums = {name: sum(getattr(e, name) for e in estimates) for name in _SUMMED}
        rows.append(["all", "", *_numbers(TaskEstimate("all", "", **sums, exact=False))])
    headers = ["task", "type", "texts", "different", "characters", "tokens about", "store MB"]
    notes = ["Tokens are taken for a quarter of the characters; the prompt comes on top of each text."]
    return Table("What is to be encoded", headers, rows, (), notes)


_SUMMED = ("texts", "unique", "characters", "tokens", "store_bytes")


def _numbers(e: TaskEstimate) -> list[str]:
    counts = [f"{value:,}" for value in (e.texts, e.unique, e.characters, e.tokens)]
    return [*counts, f"{e.store_bytes / 1e6:,.1f}"]


def estimates_to_json(estimates: Sequence[TaskEstimate]) -> list[dict[str, Any]]:
    """The estimates as plain JSON."""
    return [asdict(estimate) for estimate in estimates]
