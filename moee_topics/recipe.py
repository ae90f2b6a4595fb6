"""The schema of a recipe, its dotted overrides, and the recipes that come with the package.

Sections stand in road order. A recipe is data: it never names Python code, and a key that does not exist is an error
that names the nearest one that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from moee_topics.corpus import CorpusSettings
from moee_topics.defaults import SEED, SEEDS
from moee_topics.encode import EXCLUSIVE, EncoderSettings
from moee_topics.errors import InputError, RecipeError
from moee_topics.evaluate import SCORES
from moee_topics.fuse import Fusion, ReduceSettings
from moee_topics.messages import did_you_mean, shortened
from moee_topics.plain_data import read_yaml
from moee_topics.report import ReportSettings
from moee_topics.schema import Section, build
from moee_topics.topics import (
    BertopicArguments,
    ClusterSettings,
    CtfidfArguments,
    HdbscanArguments,
    LabelSection,
    LargeSettings,
    StabilitySettings,
    TopicSettings,
    UmapArguments,
    UpstreamSections,
    VectorizerArguments,
    check_together,
)

if TYPE_CHECKING:
    ScoreName = str
else:  # the table says the names; a type checker cannot read them from it, the schema and its messages can
    ScoreName = Literal[tuple(SCORES)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
FACTS = ("for", "documents", "model", "cpu", "gpu")
"""What the comment at the top of a shipped recipe says of it, each in a line: the last two are times, as measured."""
MAX_BYTES = 1_000_000  # a corpus named by mistake is told before it is in memory


class Recipe(Section):
    """One whole run, from documents to a report."""

    corpus: CorpusSettings
    encoder: EncoderSettings = EncoderSettings()
    fusion: Fusion = Fusion()
    reduce: ReduceSettings = ReduceSettings()
    large: LargeSettings = LargeSettings()
    umap: UmapArguments = Field(default_factory=UmapArguments)
    cluster: ClusterSettings = ClusterSettings()
    hdbscan: HdbscanArguments = Field(default_factory=HdbscanArguments)
    vectorizer: VectorizerArguments = Field(default_factory=VectorizerArguments)
    ctfidf: CtfidfArguments = Field(default_factory=CtfidfArguments)
    bertopic: BertopicArguments = Field(default_factory=BertopicArguments)
    topics: TopicSettings = TopicSettings()
    scores: tuple[ScoreName, ...] = tuple(SCORES)
    stability: StabilitySettings = StabilitySettings()
    labels: LabelSection = LabelSection()
    report: ReportSettings = ReportSettings()
    seed: Seed = SEED

    @classmethod
    def instead_of(cls, key: str) -> str:
        """What to use in the place of an argument of upstream that a recipe does not hold."""
        return UpstreamSections.instead_of(key)

    @classmethod
    def excludes(cls, key: str) -> str:
        """``encoder.prompts`` for ``encoder.prompt`` and the reverse: an override of one sets the other aside."""
        return EXCLUSIVE.get(key, "")

    @classmethod
    def written_out(cls, data: dict[str, Any]) -> dict[str, Any]:
        """``labels.check`` may be the provider of the judge alone, such as ``local``; ``none`` asks for no judge."""
        labels = data.get("labels")
        if not isinstance(labels, dict) or not isinstance(check := labels.get("check"), str):
            return data
        return {**data, "labels": {**labels, "check": None if check == "none" else {"provider": check}}}

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.encoder.routing == "none" and self.fusion.needs_routers:
            raise InputError(
                f"encoder.routing is 'none', and fusion.method={self.fusion.method} needs the routers. Use "
                "fusion.method=hidden_states, or leave encoder.routing out"
            )
        if self.encoder.prompts and self.encoder.combine_prompts == "concat" and "embed_filter" in self.fusion.filters:
            raise InputError(
                "fusion.filters has embed_filter, whose directions are those of one hidden state, and with "
                "encoder.combine_prompts=concat several stand end to end. Use mean, or leave the filter out"
            )
        check_together(self.topics, self, self.cluster)
        return self


@dataclass(frozen=True)
class RecipeFile:
    """A recipe that comes with the package.

    Attributes:
        name: what the command line calls it.
        path: its file.
        summary: the first line of the comment it starts with.
        kind: "run" for a corpus, "score" for scoring tasks (:mod:`moee_topics.mteb`).
        facts: what else that comment says, in lines such as ``# for: a first look``; the keys are those of ``FACTS``.
    """

    name: str
    path: Path
    summary: str
    kind: Literal["run", "score"] = "run"
    facts: Mapping[str, str] = field(default_factory=dict)


def shipped_recipes() -> list[RecipeFile]:
    """The recipes that come with the package, by name; those in folders are called ``folder/name``."""
    root = recipes_folder()
    recipes = []
    for path in sorted(root.rglob("*.yaml")):
        name = path.relative_to(root).with_suffix("").as_posix()
        # Not parsed: one that is broken must not take the list of all others with it.
        lines = path.read_text(encoding="utf-8").splitlines()
        kind: Literal["run", "score"] = "score" if any(line.startswith("score:") for line in lines) else "run"
        comment = [line.lstrip("# ").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
        said = {key: fact.strip() for key, colon, fact in (line.partition(":") for line in comment) if colon}
        facts = {key: said[key] for key in FACTS if key in said}
        recipes.append(RecipeFile(name, path, comment[0] if comment else "", kind, facts))
    return recipes


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
    if not isinstance(name_or_path, str | Path):
        raise RecipeError(f"A recipe is {shortened(name_or_path)}, expected its name or the path of its file.")
    shipped = {recipe.name: recipe.path for recipe in shipped_recipes()}
    if str(name_or_path) in shipped and not Path(name_or_path).is_file():
        return shipped[str(name_or_path)]
    try:
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError):  # a name too long for a file, or the home of nobody
        pass
    raise RecipeError(
        f"There is no recipe {str(name_or_path)!r}, neither a file nor one of the shipped: {', '.join(shipped)}."
        + did_you_mean(str(name_or_path), list(shipped))
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
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{path} has more than {MAX_BYTES:,} bytes, more than a recipe can have.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from error
    data = read_yaml(text, str(path))
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe: expected sections such as 'corpus:' at the top.")
    return data


def is_scoring(data: Mapping[str, Any]) -> bool:
    """Whether plain data is a recipe of :mod:`moee_topics.mteb`, which has tasks instead of a corpus."""
    return "score" in data and "corpus" not in data


def parse_recipe(data: Mapping[str, Any], overrides: Sequence[str] = (), *, name: str = "recipe") -> Recipe:
    """Checks plain data and ``key=value`` overrides against the schema.

    Raises:
        RecipeError: a key does not exist, or a value is not of its type; every fault is named.
    """
    return build(Recipe, data, overrides, name=name)
