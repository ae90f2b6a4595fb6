"""The schema of a scoring recipe: which encoder, which tasks, which vectors.

A scoring recipe has the ``encoder`` section of any other recipe and a ``score`` section instead of a corpus::

    encoder: {model: allenai/OLMoE-1B-7B-0924, quantize: nf4, prompt: prompteol}
    score:
      tasks: [STS12, STSBenchmark]
      methods: [HS, RW, concat, sum]
      alpha: [0.5, 1.0]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from moee_topics.defaults import SEED
from moee_topics.encode import EXCLUSIVE, PAPER_PROMPTS, EncoderSettings
from moee_topics.errors import InputError, RecipeError
from moee_topics.fuse import METHODS, RAW, BatchFusion, Fusion, Standardize, find_method
from moee_topics.mteb.fusion_encoder import AnyFusion, reference_router
from moee_topics.mteb.tasks import LocalTask, TaskSource, benchmark_tasks, hub_task, local_task
from moee_topics.plain_data import read_yaml
from moee_topics.recipe import Seed, find_recipe, read_recipe
from moee_topics.schema import Section, build

PAPER_TASKS: Mapping[str, tuple[str, ...]] = {
    "Classification": (
        "EmotionClassification",
        "ToxicConversationsClassification",
        "TweetSentimentExtractionClassification",
    ),
    "Clustering": ("MedrxivClusteringS2S", "TwentyNewsgroupsClustering"),
    "PairClassification": ("TwitterSemEval2015", "TwitterURLCorpus"),
    "Reranking": ("AskUbuntuDupQuestions", "SciDocsRR", "StackOverflowDupQuestions"),
    "STS": ("STS12", "STS13", "STS14", "STS15", "STS16", "BIOSSES", "SICK-R", "STSBenchmark"),
    "Summarization": ("SummEval",),
}
"""The 19 data sets of the paper by task type; what a task type means where no task is named."""

AUTO = "auto"
BATCH_SIZE = 64
"""Texts of a batch, as in the code published with the paper."""
LISTS = ("alpha", "lexical", "standardize", "tasks", "task_types", "methods", "prompts")
"""Keys of which several values may be written by comma."""


class PublishedSection(Section):
    """The column of the paper's tables that a run is compared with."""

    model: Literal["DeepSeekMoE-16B", "Qwen1.5-MoE-A2.7B", "OLMoE-1B-7B"]
    prompt: Literal["none", "prompteol"]


class ScoreSection(Section):
    """What to score, and as what."""

    tasks: tuple[str, ...] = ()
    task_types: tuple[str, ...] = ()
    benchmark: str | None = None
    data: Path | None = None
    local: tuple[LocalTask, ...] = ()
    methods: tuple[str, ...] = ("HS", "RW", "concat", "sum")
    alpha: tuple[float, ...] | Literal["auto"] = (Fusion.alpha,)
    development: LocalTask | None = None
    standardize: tuple[Standardize | Literal["reference"], ...] = (RAW.standardize,)  # type: ignore[assignment] # true and false are words by now
    lexical: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = (Fusion.lexical,)
    statistics: Path | None = None
    batch_size: Annotated[int, Field(ge=1)] = BATCH_SIZE
    prompts: tuple[str, ...] = ()
    skip_missing: bool = False
    paper: PublishedSection | None = None

    @field_validator("methods")
    @classmethod
    def _methods_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = []
        for name in value:
            try:
                find_method(name)
            except InputError:
                unknown.append(name)
        if unknown or not value:
            short_names = ", ".join(method.short_name for method in METHODS.values())
            raise ValueError(f"one or more of {short_names}, not {unknown}")
        return value


class ScoreRecipe(Section):
    """One scoring run."""

    encoder: EncoderSettings = EncoderSettings()
    score: ScoreSection
    seed: Seed = SEED

    @classmethod
    def excludes(cls, key: str) -> str:
        """Of one prompt and several, the other."""
        return EXCLUSIVE.get(key, "")

    @classmethod
    def written_out(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Lists that were written by comma, files that were written as text, and ``prompts: all``."""
        section = data.get("score")
        if not isinstance(section, dict):
            return data
        score = dict(section)
        for key, value in section.items():
            if key not in LISTS or value is None or value == AUTO:
                continue
            if isinstance(value, str) and "{text}" not in value:  # the commas of a prompt's template are its own
                score[key] = [read_yaml(part, f"{part!r} in a list") for part in value.split(",")]
            elif not isinstance(value, list | tuple):
                score[key] = [value]
        if score.get("prompts") == ["all"]:
            # The paper compares its nine prompts, the bare text aside.
            score["prompts"] = list(PAPER_PROMPTS)
        if "local" in score:
            entries = score["local"] if isinstance(score["local"], list) else [score["local"]]
            score["local"] = [local_file(entry) for entry in entries]
        if "development" in score:
            score["development"] = local_file(score["development"])
        return {**data, "score": score}

    def fusions(self) -> list[AnyFusion]:
        """The vectors to score, each once, in the order of the methods."""
        section = self.score
        alphas = (Fusion.alpha,) if isinstance(section.alpha, str) else section.alpha
        every: list[AnyFusion] = []
        for standardize in section.standardize:
            for method in map(find_method, section.methods):
                if standardize != "reference":
                    weights = product(alphas, section.lexical)
                    every += [Fusion(method, alpha, standardize, words).canonical() for alpha, words in weights]
                elif METHODS[method].published_z:
                    every.append(BatchFusion(method, reference_router(self.encoder.model)))
                else:  # the published code leaves hidden states and its sum as they are
                    every += [Fusion(method, alpha, "none").canonical() for alpha in alphas]
        return list(dict.fromkeys(every))

    def locate(self, local: LocalTask) -> LocalTask:
        """A labelled file with its paths counted from ``score.data``, and the recipe's seed where it has none."""
        folder = self.score.data or Path()
        train = folder / local.train if local.train else None
        seed = self.seed if local.seed is None else local.seed
        return replace(local, file=folder / local.file, train=train, seed=seed)

    def sources(self) -> list[TaskSource]:
        """The tasks to score.

        Raises:
            RecipeError: none is named.
            InputError: a task or a file does not exist or does not fit.
        """
        section = self.score
        sources = [local_task(self.locate(local)) for local in section.local]
        sources += [hub_task(name) for name in section.tasks]
        if section.benchmark:
            sources += benchmark_tasks(section.benchmark)
        elif section.task_types and not section.tasks and not section.local:
            sources = [hub_task(name) for kind in section.task_types for name in PAPER_TASKS.get(kind, ())]
        if section.task_types:
            sources = [source for source in sources if source.type in section.task_types]
        if not sources:
            raise RecipeError(
                "No task to score. Name tasks of mteb (score.tasks), task types of the paper's data sets "
                f"(score.task_types: {', '.join(PAPER_TASKS)}), a benchmark (score.benchmark) or files (score.local)."
            )
        # Results are files, which on macOS and Windows are one where their names differ by case alone.
        names = Counter(source.name.casefold() for source in sources)
        if twice := sorted({source.name for source in sources if names[source.name.casefold()] > 1}):
            raise RecipeError(f"Two tasks are called {', '.join(twice)}; give local files names of their own.")
        return sources


def local_file(value: Any) -> Any:
    """The section of a labelled file from ``[TYPE=]FILE[,key=value...]``, which counts from the working folder.

    Keys that a section does not have name columns; several columns of the text stand with ``+`` between them.

    Raises:
        RecipeError: a part is not key=value.
    """
    if not isinstance(value, str):
        if not isinstance(value, dict):
            return value
        texts = value.get("text")
        return {"type": None, **value, **({"text": [texts]} if isinstance(texts, str) else {})}
    first, *rest = value.split(",")
    kind, equals, file = first.partition("=")
    section: dict[str, Any] = {"type": None, "file": str(Path(file if equals else first).absolute())}
    if equals:
        section["type"] = kind
    for part in rest:
        key, equals, column = part.partition("=")
        if not equals:
            raise RecipeError(f"{part!r} in {value!r} is not key=value.")
        if key == "text":
            section[key] = column.split("+")
        elif key == "train":
            section[key] = str(Path(column).absolute())
        elif key in {item.name for item in fields(LocalTask)}:
            section[key] = int(column) if column.isdecimal() and key != "name" else column
        else:
            section.setdefault("columns", {})[key] = column
    return section


def load_score_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ScoreRecipe:
    """Reads a scoring recipe; its ``score.data``, the folder of its local files, counts from the recipe's own folder.

    Raises:
        RecipeError: there is no such recipe, or it or an override is not valid.
    """
    data = read_recipe(name_or_path)
    if "score" not in data:
        raise RecipeError(f"{name_or_path} is not a scoring recipe: it has no section 'score'.")
    if isinstance(section := data["score"] or {}, dict):
        folder = find_recipe(name_or_path).parent / str(section.get("data") or "")
        data = {**data, "score": {**section, "data": str(folder)}}
    return parse_score_recipe(data, overrides, name=str(name_or_path))


def parse_score_recipe(data: Mapping[str, Any], overrides: Sequence[str] = (), *, name: str = "recipe") -> ScoreRecipe:
    """Checks plain data and ``key=value`` overrides against the schema.

    Raises:
        RecipeError: a key does not exist or a value is not of its type; every fault is named.
    """
    return build(ScoreRecipe, data, overrides, name=name)
