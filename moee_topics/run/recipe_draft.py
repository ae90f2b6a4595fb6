"""A recipe from a few answers about a corpus: the settings of the shipped ones, with the reasons beside them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal, NamedTuple

from moee_topics.corpus import CorpusSettings, Survey
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.errors import ModelError
from moee_topics.messages import counted
from moee_topics.plain_data import read_yaml
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.run.whole_run import check
from moee_topics.run.workspace import Workspace

Language = Literal["english", "chinese", "japanese", "thai", "other"]
Length = Literal["short", "medium", "long"]

TOKENIZERS = {"chinese": "jieba", "japanese": "sudachi", "thai": "pythainlp"}
SHORT, LONG = 150, 1500  # characters of the median document
SHARE_OF_CLUSTER = 80 / 18_331  # of 20newsgroups-pocket; quickstart's is nearly the same
LEAST_CLUSTER, LARGEST_CLUSTER = 5, 200

RECIPE = Template("""\
# $documents documents of $source, with $model. Written by moee-topics init.
#
#   moee-topics estimate $name      # tokens, memory, disk and time, before it is begun
#   moee-topics run $name
#   moee-topics run $name hdbscan.min_cluster_size=$half   # more and finer topics; nothing is encoded again

corpus:
$corpus

encoder:
$encoder

# From here on nothing touches the model: change it and run again, the vectors are kept.
fusion:
  method: weighted_sum    # hidden_states | routing_weights | concat | weighted_sum
  alpha: ${alpha}# weight of the routing; cos = (cos_HS + alpha * cos_RW) / (1 + alpha)
  standardize: true       # each dimension to mean 0 and deviation 1, so that no block's scale decides
  lexical: ${lexical}# weight of the documents' words (TF-IDF + SVD); 0 leaves them out

umap:    {n_neighbors: 15, n_components: 5, min_dist: 0.0, metric: cosine}
hdbscan: {min_cluster_size: $cluster, min_samples: 5, cluster_selection_method: leaf}   # smaller finds more topics
topics:
$topics
scores: [$scores]
seed: 42
""")

POCKET = """\
  model: pocket           # comes with the package and runs anywhere; it has learned from English
  prompt: {prompt}
  pooling: mean           # … and the vectors of all tokens are averaged
  max_tokens: {tokens:<12}# longer documents are cut; moee-topics estimate says how many"""

LARGE = """\
  model: {model}
  quantize: {quantize}
  prompt: prompteol       # 'This sentence: "…" means in one word:'; the last token then holds the meaning
  pooling: last_token
  max_tokens: {tokens:<12}# longer documents are cut; moee-topics estimate says how many"""


class _Reading(NamedTuple):
    """How documents of a length are read: tokens, and by the embedded model the weight of words and the prompt."""

    max_tokens: int
    lexical: float
    prompt: str


QUANTIZE = {
    "auto": "auto          # what this machine reads fastest, its vectors kept; nf4 takes a quarter of the memory",
    "nf4": "nf4           # four bits, experts included: with more it finds no room in this machine's memory",
}
ALONE = "none            # it reads texts of this length best where they stand alone …"
ASKED = "cluster         # 'This sentence: \"…\" belongs to the following cluster:' helps short texts …"
# Words count a quarter beside short texts (docs/decisions/09), which gain three to five points by the prompt; long ones
# with words beside them lose one (docs/readouts.md).
READINGS: dict[Length, _Reading] = {
    "short": _Reading(96, 0.25, ASKED),
    "medium": _Reading(128, 1.0, ALONE),
    "long": _Reading(256, 1.0, ALONE),
}


@dataclass(frozen=True)
class Answers:
    """What is asked before a recipe is written.

    Attributes:
        corpus: where the documents are, and in which columns.
        language: of the documents; "other" for any other and for several.
        length: of the documents: short as titles, medium as abstracts and posts, or long.
        model: "pocket", a folder or a name on the hub.
    """

    corpus: CorpusSettings
    language: Language = "english"
    length: Length = "medium"
    model: str = "pocket"


def length_of(characters: int, language: Language) -> Length:
    """What a median number of characters is called."""
    # A word of Chinese or Japanese has two characters or so, one of a language with spaces six.
    letters = characters * 3 if language in TOKENIZERS else characters
    return "short" if letters < SHORT else "medium" if letters < LONG else "long"


def draft(answers: Answers, name: str, progress: Progress | None = None) -> tuple[str, Survey]:
    """The YAML of a recipe, comments included, and what a pass over the corpus found.

    Args:
        answers: what was asked.
        name: of the file it is for, in its examples.
        progress: is told what is odd about the corpus.

    Raises:
        InputError: the corpus cannot be read, or has no documents.
        RecipeError: something upstream would refuse.
        MissingExtraError: a package that the recipe needs is not installed.
    """
    survey = Workspace(Recipe(corpus=answers.corpus), Path(), Path(), progress or Progress()).survey
    text = _text(answers, survey, shlex.quote(name))
    check(parse_recipe(read_yaml(text, name), name=name))
    return text, survey


def _text(answers: Answers, survey: Survey, name: str) -> str:
    pocket = answers.model == "pocket"
    reading = READINGS[answers.length]
    cluster = min(LARGEST_CLUSTER, max(LEAST_CLUSTER, round(survey.unique * SHARE_OF_CLUSTER)))
    scores = ["npmi", "topic_diversity", "prediction", "outliers"]
    return RECIPE.substitute(
        documents=f"{survey.documents:,}",
        source=_one_line(answers.corpus.source),
        name=name,
        half=max(2, cluster // 2),
        corpus="\n".join(_corpus_lines(answers.corpus, survey)),
        encoder=(POCKET if pocket else LARGE).format(
            model=_quoted(answers.model),
            tokens=reading.max_tokens,
            prompt=reading.prompt,
            quantize="" if pocket else QUANTIZE[_quantize(answers.model)],
        ),
        model=_one_line(answers.model),
        alpha=f"{0.25 if pocket else 0.5:<17}",
        lexical=f"{reading.lexical if pocket else 0.0:<15}",  # words add the less, the better the model
        cluster=cluster,
        topics="\n".join(_topic_lines(answers.language)),
        scores=", ".join(scores + ["ami", "ari", "v_measure"] * bool(survey.label_names)),
    )


def _quantize(model: str) -> Literal["auto", "nf4"]:
    """What suits a model on this machine."""
    try:
        return EncoderSource(EncoderSettings(model)).suggested_quantize
    except ModelError:  # it is neither here nor to be had now: a run will say so, and until then nobody knows its size
        return "auto"


def _corpus_lines(corpus: CorpusSettings, survey: Survey) -> list[str]:
    columns = {"query": corpus.query, "text": corpus.text, "label": corpus.label, "timestamp": corpus.timestamp}
    lines = [f"  source: {_quoted(corpus.source)}"]
    lines += [f"  {key}: {_quoted(value)}" for key, value in columns.items() if value is not None]  # none: not read
    if survey.marked_up:
        marked_up = counted(survey.marked_up, "document")
        lines.append(f"  clean: html   # HTML in {marked_up}, whose tags would become words")
    return lines


def _topic_lines(language: Language) -> list[str]:
    words = "english" if language == "english" else "auto    # words that more than a quarter of the documents use"
    lines = [f"  stop_words: {words}"]
    if tokenizer := TOKENIZERS.get(language):
        lines.append(f"  tokenizer: {tokenizer}   # cuts words: pip install 'moee-topics[{language}]'")
    return [
        *lines,
        "  representation: [ctfidf, keybert]   # the first names the topics; keybert asks the model",
        "  outliers: {strategy: embeddings, target_share: 0.2}   # the others join their nearest topic",
    ]


def _quoted(value: str | Sequence[str]) -> str:
    return json.dumps(value, ensure_ascii=False)  # which is YAML too


def _one_line(text: str) -> str:
    return " ".join(text.split())
