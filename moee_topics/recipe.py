"""The schema of a recipe, its dotted overrides, and the recipes that come with the package.

Sections stand in road order. A recipe is data: it never names Python code, and a key that does not exist is an error
that names the nearest one that does.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from moee_topics.encode import EncoderSettings
from moee_topics.errors import RecipeError

Method = Literal["hidden_states", "routing_weights", "concat", "weighted_sum"]
Block = Literal["hidden_states", "routing_weights"]
ScoreName = Literal["npmi", "topic_diversity", "outliers", "ami", "ari", "v_measure"]
Strategy = Literal["embeddings", "c-tf-idf", "distributions", "probabilities"]
Arguments = dict[str, Any]


class Section(BaseModel):
    """Base of all sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSection(Section):
    """What to read; see :class:`moee_topics.corpus.CorpusOptions`."""

    source: str
    text: str | list[str] | None = None
    id: str | None = None
    label: str | None = None
    timestamp: str | None = None
    encoding: str = "utf-8"
    decoding_errors: Literal["strict", "replace"] = "strict"
    pattern: str = "**/*.txt"
    limit: Annotated[int, Field(ge=1)] | None = None
    subset: Literal["train", "test", "all"] = "all"
    remove: list[Literal["headers", "footers", "quotes"]] = ["headers", "footers", "quotes"]
    data_home: Path | None = None
    packages: list[str] = []
    per_package: Annotated[int, Field(ge=0)] = 400
    split: str = "train"
    config: str | None = None


class FusionSection(Section):
    """How hidden states and routing weights become one vector; see :mod:`moee_topics.fuse.fusion`."""

    method: Method = "weighted_sum"
    alpha: Annotated[float, Field(ge=0)] = 0.5
    standardize: bool | Block = True


class OutlierSection(Section):
    """How outliers are given a topic; see :class:`moee_topics.topics.OutlierReduction`."""

    strategy: Strategy = "embeddings"
    target_share: Annotated[float, Field(ge=0, le=1)] | None = None
    threshold: float = 0.0


class TopicsSection(Section):
    """Words of topics and what is done with topics after the clustering; see :mod:`moee_topics.topics`."""

    stop_words: str | list[str] | None = "english"
    representation: str | list[str | dict[str, Arguments | None]] = "keybert"
    nr_topics: Annotated[int, Field(ge=2)] | Literal["auto"] | None = None
    outliers: OutlierSection | None = None
    seed_topic_list: list[list[str]] | None = None
    zeroshot_topic_list: list[str] | None = None
    zeroshot_min_similarity: Annotated[float, Field(ge=0, le=1)] = 0.7
    hierarchy: bool = True
    over_time: bool = True
    time_bins: Annotated[int, Field(ge=2)] = 20
    per_class: bool = True
    experts: bool = True


class StabilitySection(Section):
    """How many more fits say how stable the topics are: with other seeds, and on bootstrap samples; none by default."""

    seeds: Annotated[int, Field(ge=0)] = 0
    bootstraps: Annotated[int, Field(ge=0)] = 0

    @property
    def wanted(self) -> bool:
        """Whether stability is to be measured at all."""
        return self.seeds + self.bootstraps > 0


class ReportSection(Section):
    """The report file: whether to write it, and how many documents its map shows at most."""

    html: bool = True
    map_documents: Annotated[int, Field(ge=1)] = 20_000


class Recipe(Section):
    """One whole run, from documents to a report."""

    corpus: CorpusSection
    encoder: EncoderSettings = EncoderSettings()
    fusion: FusionSection = FusionSection()
    umap: Arguments = {}
    hdbscan: Arguments = {}
    vectorizer: Arguments = {}
    ctfidf: Arguments = {}
    bertopic: Arguments = {}
    topics: TopicsSection = TopicsSection()
    scores: list[ScoreName] = ["npmi", "topic_diversity", "outliers", "ami", "ari", "v_measure"]
    stability: StabilitySection = StabilitySection()
    report: ReportSection = ReportSection()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42

    def to_json(self) -> dict[str, Any]:
        """The whole recipe as plain JSON, defaults included."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class RecipeFile:
    """A recipe that comes with the package.

    Attributes:
        name: what the command line calls it.
        path: its file.
        summary: the first line of the comment it starts with.
        kind: "run" for a corpus, "score" for scoring tasks (:mod:`moee_topics.scoring`).
    """

    name: str
    path: Path
    summary: str
    kind: Literal["run", "score"] = "run"


def shipped_recipes() -> list[RecipeFile]:
    """The recipes that come with the package, by name; those in folders are called ``folder/name``."""
    root = recipes_folder()
    paths = sorted(root.rglob("*.yaml"))
    return [
        RecipeFile(path.relative_to(root).with_suffix("").as_posix(), path, _summary(path), recipe_kind(path))
        for path in paths
    ]


def recipes_folder() -> Path:
    """Where the shipped recipes are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe, given its shipped name or a path.

    Raises:
        RecipeError: there is neither.
    """
    shipped = {recipe.name: recipe.path for recipe in shipped_recipes()}
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    raise RecipeError(
        f"There is no recipe {str(name_or_path)!r}, neither a file nor one of the shipped: {', '.join(shipped)}."
        + _did_you_mean(str(name_or_path), shipped)
    )


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and lays ``key=value`` overrides over it.

    Args:
        name_or_path: a shipped name, or a file.
        overrides: such as ``fusion.alpha=0.5``; the value is YAML.

    Raises:
        RecipeError: there is no such recipe, or it or an override is not valid.
    """
    data = read_recipe(name_or_path)
    if is_scoring(data):
        raise RecipeError(
            f"{name_or_path} scores a model and has no corpus. Run it with: moee-topics score {name_or_path}"
        )
    return parse_recipe(data, overrides, name=str(name_or_path))


def read_recipe(name_or_path: str | Path) -> dict[str, Any]:
    """The plain data of a recipe, not yet checked.

    Raises:
        RecipeError: there is no such recipe, or it is no mapping of sections.
    """
    path = find_recipe(name_or_path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe: expected sections such as 'corpus:' at the top.")
    return data


def is_scoring(data: Mapping[str, Any]) -> bool:
    """Whether plain data is a recipe of :mod:`moee_topics.scoring`, which has tasks instead of a corpus."""
    return "score" in data and "corpus" not in data


def parse_recipe(data: Mapping[str, Any], overrides: Sequence[str] = (), *, name: str = "recipe") -> Recipe:
    """Checks plain data and ``key=value`` overrides against the schema.

    Raises:
        RecipeError: a key does not exist, or a value is not of its type; every fault is named.
    """
    merged = dict(data)
    for override in overrides:
        merged = _overridden(merged, *parse_override(override))
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(_faults(error, name)) from error


def parse_override(override: str) -> tuple[list[str], Any]:
    """The keys and the value of ``section.key=value``; the value is YAML.

    Raises:
        RecipeError: it is not of that form.
    """
    path, equals, value = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"{override!r} is no override. Expected key=value, such as fusion.alpha=0.5.")
    try:
        return keys, yaml.safe_load(value) if value.strip() else None
    except yaml.YAMLError as error:
        raise RecipeError(f"The value of {override!r} is not YAML: {_one_line(error)}") from error


def _overridden(data: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested mappings with one value replaced."""
    first, *rest = keys
    if not rest:
        return {**data, first: value}
    inside = data.get(first)
    return {**data, first: _overridden(inside if isinstance(inside, dict) else {}, rest, value)}


def recipe_kind(path: Path) -> Literal["run", "score"]:
    """Whether the file of a recipe runs a corpus or scores tasks: by its section ``score``."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "score" if any(line.startswith("score:") for line in lines) else "run"


def _summary(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _faults(error: ValidationError, name: str) -> str:
    found = [_fault(fault["type"], list(fault["loc"]), fault) for fault in error.errors()]
    faults = list(dict.fromkeys(found))
    if len(faults) == 1:
        return f"{name}: {faults[0]}"
    return f"{name} has {len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults)


def _fault(kind: str, place: list[int | str], fault: Mapping[str, Any]) -> str:
    keys = _schema_keys(place)
    path = ".".join(keys)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"there is no key {path}." + _did_you_mean(path, list(known_keys()))
    if kind == "missing":
        return f"{path} is missing." + (
            " Set corpus.source, such as corpus.source=posts.csv." if "corpus" in keys else ""
        )
    expected = _expected(Recipe, keys)
    return f"{path} is {fault['input']!r}, expected {expected or fault['msg']}."


def _schema_keys(place: Iterable[int | str]) -> list[str]:
    """The keys of a fault's place, without the branches of unions that pydantic adds."""
    keys: list[str] = []
    annotation: Any = Recipe
    for part in place:
        names = _fields(annotation)
        if names is None:
            break
        keys.append(str(part))
        annotation = names[str(part)].annotation if str(part) in names else None
    return keys


def _fields(annotation: Any) -> dict[str, FieldInfo] | None:
    """The fields of a section (also one that may be absent), None for anything else."""
    for option in [annotation, *get_args(annotation)]:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option.model_fields
        if isinstance(option, type) and is_dataclass(option):
            hints = get_type_hints(option, include_extras=True)
            return {name: FieldInfo.from_annotation(hint) for name, hint in hints.items()}
    return None


def known_keys() -> Iterator[str]:
    """Every key of the schema with its section, as ``fusion.alpha``."""
    yield from _keys(Recipe, "")


def _keys(annotation: Any, prefix: str) -> Iterator[str]:
    for name, field in (_fields(annotation) or {}).items():
        yield prefix + name
        yield from _keys(field.annotation, f"{prefix}{name}.")


def _expected(model: type[BaseModel], keys: Sequence[str]) -> str:
    annotation: Any = model
    bounds: list[str] = []
    for key in keys:
        field = (_fields(annotation) or {}).get(key)
        if field is None:
            return ""
        annotation, bounds = field.annotation, [_bound(item) for item in field.metadata]
    return describe_type(annotation) + "".join(bounds)


def describe_type(annotation: Any) -> str:
    """A type in the words of a person who writes YAML."""
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in names:
        return names[annotation]
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin is Annotated:
        return describe_type(arguments[0]) + "".join(_bound(item) for item in arguments[1].metadata)
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if origin is list:
        return f"a list of ({describe_type(arguments[0])})"
    return "a mapping of keys to values"


def _bound(item: Any) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [f", {words[name]} {getattr(item, name)}" for name in words if getattr(item, name, None) is not None]
    return "".join(found)


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    options = list(known)
    last = {option.rpartition(".")[2]: option for option in reversed(options)}
    close = difflib.get_close_matches(given, options, n=1, cutoff=0.6)
    close = close or [last[name] for name in difflib.get_close_matches(given.rpartition(".")[2], last, n=1, cutoff=0.6)]
    return f" Did you mean {close[0]}?" if close else ""
