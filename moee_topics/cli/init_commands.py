"""``moee-topics init``: five questions about a corpus, and the recipe that the answers make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from moee_topics.cli.options import Json, Quiet, command
from moee_topics.cli.recipe_commands import check_new
from moee_topics.cli.stdout import show
from moee_topics.errors import InputError
from moee_topics.messages import did_you_mean

if TYPE_CHECKING:
    from moee_topics.corpus import CorpusSettings, Preview
    from moee_topics.run import Answers

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Given:
    """What is answered beforehand."""

    source: Annotated[str | None, typer.Option(help="Where the documents are; as corpus.source.")] = None
    query: Annotated[str | None, typer.Option(help="Of a database: one SELECT whose rows are documents.")] = None
    text: Annotated[str | None, typer.Option(help="Column of the text; several with commas.")] = None
    language: Annotated[str | None, typer.Option(help="english, chinese, japanese, thai or other.")] = None
    length: Annotated[str | None, typer.Option(help="short, medium or long [default: as measured].")] = None
    model: Annotated[str | None, typer.Option(help="pocket, a folder or a name on the hub.")] = None
    label: Annotated[str | None, typer.Option(help="Column of known classes, or none.")] = None
    timestamp: Annotated[str | None, typer.Option(help="Column of times, or none.")] = None


@command("moee-topics init", "moee-topics init posts.yaml --source posts.csv --text title,body --yes")
def init(
    given: Given,
    target: Annotated[Path, typer.Argument(help="File to write.", metavar="TARGET")] = Path("mine.yaml"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is proposed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a recipe for your documents, by five questions.

    What an option answers is not asked. Without a terminal nothing is asked, and what is proposed is taken. All
    documents are read once, which tells of empty ones, copies and markup before the first run.
    """
    from moee_topics.cli.progress_bars import progress_for
    from moee_topics.run import draft
    from moee_topics.store import write_text

    check_new(target, force)  # before the questions
    asks = not (yes or as_json) and _somebody_is_there()
    text, survey = draft(_answers(given, Interview(asks)), str(target), progress_for(quiet))
    write_text(target, text)
    data = {"path": target, "documents": survey.documents, "labels": len(survey.label_names)}
    show(data, [f"Written: {target}", f"Go on with: moee-topics run {target}"], as_json=as_json)


@dataclass(frozen=True)
class Interview:
    """Asks for what was not given, until an answer fits; where nobody is asked, what is proposed is the answer."""

    asks: bool

    def answer(self, given: str | None, question: str, proposal: str, fits: Callable[[str], Answer]) -> Answer:
        """What ``fits`` makes of an answer; its InputError is told, and the question asked again."""
        if given is not None or not self.asks:
            return fits(proposal if given is None else given)
        while True:
            try:
                # On stderr, as all that is no data.
                return fits(typer.prompt(question, default=proposal or None, prompt_suffix=" ", err=True))
            except InputError as error:
                typer.echo(f"   {error}", err=True)

    def tell(self, fact: str) -> None:
        """What helps to answer."""
        if self.asks:
            typer.echo(f"   {fact}", err=True)


def _answers(given: Given, interview: Interview) -> Answers:
    from moee_topics.run import Answers, Language, Length, length_of

    look = interview.answer(
        given.source, "1. Where are the documents: a file, a folder, a database, hub:NAME?", "", _looker(given)
    )
    settings = _text_columns(look, given, interview)
    language: Language = interview.answer(
        given.language, "3. In which language are they?", "english", _one_of("language", get_args(Language))
    )
    characters = look.characters([settings.text] if isinstance(settings.text, str) else settings.text or ())
    interview.tell(f"Half of the first {len(look.rows)} are shorter than {characters:,} characters.")
    length: Length = interview.answer(
        given.length,
        "   Are they short (titles), medium (posts, abstracts) or long?",
        length_of(characters, language),
        _one_of("length", get_args(Length)),
    )
    interview.tell("pocket runs on any machine and knows English; a name such as allenai/OLMoE-1B-7B-0924 wants a GPU.")
    model = interview.answer(given.model, "4. Which model reads them?", "pocket", _named)
    settings = _optional_column("label", "5. Which column has known classes?", look, settings, given.label, interview)
    settings = _optional_column("timestamp", "   And which times?", look, settings, given.timestamp, interview)
    return Answers(settings, language, length, model)


def _looker(given: Given) -> Callable[[str], Preview]:
    from moee_topics.corpus import CorpusSettings, preview

    def look(source: str) -> Preview:
        if not source:
            raise InputError(
                "Nobody is asked where no terminal is, or with --yes. Say where the documents are: --source."
            )
        return preview(CorpusSettings(source, query=given.query))

    return look


def _text_columns(look: Preview, given: Given, interview: Interview) -> CorpusSettings:
    """The settings of the corpus with the columns of the text, where there are any."""

    def fits(reply: str) -> CorpusSettings:
        names = tuple(name.strip() for name in reply.split(","))
        settings = replace(look.settings, text=reply if reply in look.columns or len(names) == 1 else names)
        look.check(settings)
        return settings

    if not look.columns and given.text is None:
        return look.settings
    interview.tell(f"Its columns: {', '.join(look.columns)}")
    return interview.answer(
        given.text, "2. Which hold the text (several with commas)?", ",".join(look.usual.text), fits
    )


def _optional_column(
    key: str, question: str, look: Preview, settings: CorpusSettings, given: str | None, interview: Interview
) -> CorpusSettings:
    """The settings with a column of labels or times, or with "none"."""

    def fits(reply: str) -> CorpusSettings:
        column: dict[str, Any] = {key: reply}
        changed = replace(settings, **column)
        look.check(changed)
        return changed

    if not look.columns and given is None:
        return settings
    return interview.answer(given, f"{question} (none for none)", getattr(look.usual, key) or "none", fits)


def _one_of(name: str, options: Sequence[Any]) -> Callable[[str], Any]:  # of a Literal, which has no type for them
    def fits(reply: str) -> Any:
        if reply not in options:
            raise InputError(
                f"The {name} is {reply!r}, expected one of: {', '.join(options)}.{did_you_mean(reply, options)}"
            )
        return reply

    return fits


def _named(reply: str) -> str:
    if not reply.strip():
        raise InputError("The model has no name. Expected pocket, a folder or a name on the hub.")
    return reply.strip()


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()
