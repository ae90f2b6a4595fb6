"""Recipes: every shipped one is valid, an override changes one value, and a mistake is named with its place."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.encode.settings import POCKET
from moee_topics.errors import InputError, RecipeError
from moee_topics.recipe import (
    Recipe,
    find_recipe,
    is_scoring,
    load_recipe,
    parse_recipe,
    shipped_recipes,
)
from moee_topics.run import check
from moee_topics.schema import known_keys, parse_override

REPOSITORY = Path(__file__).parents[1]
SMALL = {"corpus": {"source": "docstrings"}}


def refused(*overrides: str, data: dict[str, Any] | None = None) -> str:
    with pytest.raises(RecipeError) as error:
        parse_recipe(SMALL if data is None else data, overrides)
    return str(error.value)


def topic_recipes() -> list[str]:
    shipped = [(recipe.name, yaml.safe_load(recipe.path.read_text(encoding="utf-8"))) for recipe in shipped_recipes()]
    return [name for name, data in shipped if not is_scoring(data)]


@pytest.mark.parametrize("name", topic_recipes())
def test_every_shipped_recipe_is_valid_and_says_how_to_run_it(name: str) -> None:
    check(load_recipe(name))
    header = find_recipe(name).read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "moee-topics" in header and name.split("/")[-1] in header


def test_the_promised_recipes_are_shipped_with_a_summary() -> None:
    found = {recipe.name: recipe.summary for recipe in shipped_recipes()}
    assert {"quickstart", "20newsgroups-pocket", "20newsgroups"} <= set(found)
    assert all(found.values())


def test_the_published_recipe_is_the_published_one() -> None:
    recipe = load_recipe("20newsgroups")
    assert recipe.encoder.model == "allenai/OLMoE-1B-7B-0924"
    assert (recipe.encoder.quantize, recipe.encoder.prompt, recipe.encoder.pooling) == (
        "nf4",
        "prompteol",
        "last_token",
    )
    assert recipe.umap == {"n_neighbors": 15, "n_components": 5, "min_dist": 0.0, "metric": "cosine"}
    assert recipe.hdbscan == {"min_cluster_size": 15, "metric": "euclidean", "cluster_selection_method": "eom"}
    assert (recipe.topics.stop_words, recipe.topics.representation) == ("english", "keybert")


def test_an_override_of_several_prompts_sets_the_one_of_a_recipe_aside_and_the_other_way_round() -> None:
    several = load_recipe("quickstart", ["encoder.prompts=[none, cluster]"])
    assert several.encoder.prompts == ("none", "cluster")
    assert parse_recipe(several.to_json(), ["encoder.prompt=tone"]).encoder.prompt == "tone"
    assert "give one of them" in refused("encoder.prompt=tone", "encoder.prompts=[none, cluster]")


def test_prompt_and_pooling_follow_the_model_unless_they_are_given() -> None:
    def read(*overrides: str) -> tuple[str, str]:
        encoder = parse_recipe(SMALL, overrides).encoder
        return encoder.prompt, encoder.pooling

    assert read() == read("encoder.model=pocket") == ("none", "mean")
    assert read("encoder.model=allenai/OLMoE-1B-7B-0924") == ("prompteol", "last_token")
    assert read("encoder.prompt=tone") == ("tone", "mean")


def test_a_recipe_survives_its_own_json() -> None:
    recipe = load_recipe("20newsgroups", ["topics.outliers.target_share=0.1", "corpus.data_home=some/where"])
    assert Recipe.model_validate(recipe.to_json()) == recipe


def test_an_override_changes_its_value_and_no_other() -> None:
    before, after = load_recipe("quickstart"), load_recipe("quickstart", ["fusion.alpha=0.75"])
    assert after.fusion.alpha == 0.75
    assert after == before.model_copy(update={"fusion": before.fusion.with_alpha(0.75)})


def test_the_last_override_wins_and_new_sections_are_made() -> None:
    recipe = parse_recipe(SMALL, ["seed=1", "seed=2", "hdbscan.min_samples=3", "topics.outliers.target_share=0"])
    assert (recipe.seed, recipe.hdbscan) == (2, {"min_samples": 3})
    assert recipe.topics.outliers is not None and recipe.topics.outliers.target_share == 0


@given(st.one_of(st.integers(), st.booleans(), st.none(), st.text("abc "), st.lists(st.integers(), max_size=3)))
def test_override_values_are_yaml(value: Any) -> None:
    keys, found = parse_override(f"umap.anything={yaml.safe_dump(value, default_flow_style=True).split('...')[0]}")
    assert keys == ["umap", "anything"] and found == value


@pytest.mark.parametrize("override", ["fusion.alpha", "=1", "a..b=1", ".=1"])
def test_an_override_without_key_or_value_is_refused(override: str) -> None:
    assert "Expected key=value" in refused(override)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("fusion.alfa=1", "fusion.alpha"),
        ("fusoin.alpha=1", "fusion"),
        ("alpha=1", "fusion.alpha"),
        ("encoder.poolin=mean", "encoder.pooling"),
        ("topics.outliers.target=0.1", "topics.outliers.target_share"),
        ("hdbscn.min_cluster_size=3", "hdbscan"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override: str, nearest: str) -> None:
    message = refused(override)
    assert "there is no key" in message and message.endswith(f"Did you mean {nearest}?")
    assert nearest in set(known_keys(Recipe))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("fusion.alpha=x", "fusion.alpha is 'x', expected a number, at least 0."),
        ("fusion.alpha=-1", "fusion.alpha is -1, expected a number, at least 0."),
        ("encoder.quantize=int4", "encoder.quantize is 'int4', expected auto | none | int8 | nf4 | w8a8 | w7a8 | fp8."),
        ("umap=3", "umap is 3, expected a mapping of keys to values."),
        ("corpus.limit=0", "corpus.limit is 0, expected a whole number, at least 1 or null."),
        ("fusion.standardize=maybe", "expected true or false or none | hidden_states | routing_weights | both."),
        ("scores=[npmy]", "expected a list of (npmi | topic_diversity"),
    ],
)
def test_a_wrong_value_gets_one_readable_message(override: str, expected: str) -> None:
    message = refused(override)
    assert expected in message and "\n" not in message


def test_every_fault_is_named_once() -> None:
    message = refused("seed=x", "fusion.alpha=y", "nonsense=1")
    assert "3 faults" in message and len(message.splitlines()) == 4


def test_a_fault_of_a_section_hides_no_other_one() -> None:
    message = refused(
        *("corpus.encoding=idna", "corpus.delimiter=ab", "corpus.limit=0", "fusion.method=foo", "fusion.alpha=-1"),
        *("topics.outliers={strategy: embeddings, target_share: 3}", "topics.time_bins=1", "topics.nr_topics=1"),
        *("topics.representation=zz", "topics.seed_topic_list=[]", "seed=x", "nonsense=3"),
    )
    for fault in (
        *("'idna' is not an encoding", "corpus.delimiter is 'ab'", "corpus.limit is 0", "no way to fuse called 'foo'"),
        *("fusion.alpha is -1", "topics.outliers.target_share is 3", "topics.time_bins is 1", "topics.nr_topics is 1"),
        *("no representation 'zz'", "seed_topic_list is a list", "seed is 'x'", "no key nonsense"),
    ):
        assert message.count(fault) == 1, fault
    assert "is missing" not in message  # the corpus is there, and wrong


def test_views_are_written_as_one_or_a_list_and_what_cannot_be_is_refused() -> None:
    encoder = parse_recipe(SMALL, ["encoder.layers=[0.75, 8-12, last]", "encoder.pooling=weighted_mean"]).encoder
    assert (encoder.layers, encoder.pooling) == ((0.75, "8-12", "last"), "weighted_mean")
    assert "encoder.layers has 'lsat'" in refused("encoder.layers=lsat")
    assert "fusion.method=weighted_sum needs the routers" in refused("encoder.routing=none")
    assert parse_recipe(SMALL, ["encoder.routing=none", "fusion.method=hidden_states"]).encoder.routing == "none"


def test_what_is_wrong_together_is_said_in_one_message() -> None:
    message = refused("umap.metric_kwds={p: 3}", "topics.stop_words=klingon", "ctfidf.seed_multiplier=3")
    assert all(name in message for name in ("umap.metric_kwds", "stop_words=klingon", "ctfidf.seed_multiplier"))
    # Half of it may be wrong by the other half: a metric that is misspelt may have been minkowski.
    assert "metric_kwds" not in refused("umap.metric_kwds={p: 3}", "umap.metric=minkovski")


@pytest.mark.parametrize(
    "text",
    ["*.md", "*x", "!tag x", "@x", "%x", "`x", "#5", "a # b", "a: b", "&a", "- a", "-", "|", ">x", "? a", "<<", "=x"],
)
def test_what_is_typed_behind_the_equals_sign_is_what_is_read(text: str) -> None:
    assert parse_override(f"corpus.source={text}") == (["corpus", "source"], text)


def test_a_delimiter_may_be_any_character_that_is_typed() -> None:
    for character in "#|;:,-*!%& \t":
        assert parse_recipe(SMALL, [f"corpus.delimiter={character}"]).corpus.field_delimiter == character
    assert parse_recipe(SMALL, ["encoder.prompt=Topic: {text} is"]).encoder.prompt == "Topic: {text} is"


def test_text_that_yaml_takes_for_another_value_is_told_to_be_quoted() -> None:
    assert refused("corpus.label=no").endswith("""Quote it to make it text: 'corpus.label="no"'.""")
    assert refused("corpus.label=1").endswith("""'corpus.label="1"'.""")
    assert refused("encoder.prompt={text}").endswith("""'encoder.prompt="…"'.""")
    assert refused("encoder.prompt={text} in a word").endswith("""quote it: '"…"'.""")
    assert parse_recipe(SMALL, ['encoder.prompt="{text} in a word"']).encoder.prompt == "{text} in a word"


def test_a_recipe_without_corpus_says_what_to_set() -> None:
    assert "corpus is missing. Set corpus.source" in refused(data={})
    assert "corpus.source is missing. Set corpus.source" in refused(data={"corpus": {}})


def test_a_scoring_recipe_names_its_command(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("score: {tasks: [STS12]}")
    with pytest.raises(RecipeError, match="moee-topics score"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "just text", "a: [1", "corpus: !!python/object:os.system {}"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        load_recipe(path)


def test_an_unknown_recipe_names_the_nearest_and_all() -> None:
    with pytest.raises(RecipeError, match=r"20newsgroups.*Did you mean quickstart\?"):
        load_recipe("quickstrt")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("umap.n_neighbours=5", "there is no key umap.n_neighbours. Did you mean umap.n_neighbors?"),
        ("hdbscan.min_cluster=5", "there is no key hdbscan.min_cluster. Did you mean hdbscan.min_cluster_size?"),
        ("vectorizer.ngrams=5", "there is no key vectorizer.ngrams. Did you mean vectorizer.ngram_range?"),
        ("ctfidf.bm25=true", "there is no key ctfidf.bm25. Did you mean ctfidf.bm25_weighting?"),
        ("bertopic.umap_model=x", "there is no key bertopic.umap_model: the section umap sets it up."),
        ("bertopic.min_topic_size=5", "there is no key bertopic.min_topic_size: hdbscan.min_cluster_size does that."),
        ("bertopic.n_gram_range=[1,2]", "there is no key bertopic.n_gram_range: vectorizer.ngram_range does that."),
        ("umap.random_state=1", "there is no key umap.random_state: seed sets it for all parts."),
        ("umap.n_neighbors=auto", "umap.n_neighbors is 'auto', expected a whole number, at least 2."),
        ("umap.n_neighbors=15.5", "umap.n_neighbors is 15.5, expected a whole number, at least 2."),
        ("umap.n_neighbors=null", "umap.n_neighbors is None, expected a whole number, at least 2."),
        ("umap.min_dist=2", "umap.min_dist is above umap.spread (1.0 unless given)."),
        ("hdbscan.metric=cosine", "hdbscan.metric is 'cosine', expected euclidean | manhattan"),
        ("vectorizer.ngram_range=[2,1]", "vectorizer.ngram_range: [2, 1] is to go from fewer words to more"),
        ("vectorizer.token_pattern='(a'", "vectorizer.token_pattern: '(a' is not a regular expression"),
        ("vectorizer.token_pattern='(a)(b)'", "vectorizer.token_pattern: '(a)(b)' has 2 groups"),
        ("bertopic.top_n_words=0", "bertopic.top_n_words is 0, expected a whole number, at least 1."),
        ("topics.representation=keyburt", "topics: There is no representation 'keyburt'"),
        (
            "topics.representation={mmr: {diversity: 9}}",
            "topics: representation: mmr.diversity is 9, expected a number",
        ),
        (
            "topics.representation={keybert: {nr_samples: x}}",
            "topics: representation: keybert.nr_samples is 'x', expected a",
        ),
        ("corpus.pattern=../*", "corpus: corpus.pattern is '../*', expected files inside the folder"),
        ("corpus.pattern=/etc/*", "corpus: corpus.pattern is '/etc/*', expected files inside"),
        ("corpus.pattern='**a'", "corpus: corpus.pattern is '**a', expected files inside"),
        ("corpus.encoding=idna", "corpus: 'idna' is not an encoding of text"),
        ("encoder.prompt=no text field", "encoder: The prompt 'no text field' is neither a known name"),
    ],
)
def test_what_upstream_would_refuse_is_refused_when_the_recipe_is_read(override: str, expected: str) -> None:
    assert refused(override).startswith(f"recipe: {expected}")


def test_reading_a_recipe_loads_neither_torch_nor_umap() -> None:
    code = (
        "import sys\nfrom moee_topics.recipe import load_recipe\nload_recipe('quickstart')\n"
        "assert not {'torch', 'umap', 'bertopic', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


PIECES = [
    *(b"[", b"]", b"{", b"}", b"&a ", b"*a", b": ", b"- ", b"? ", b"<<: ", b"'", b'"', b"\t", b"\n", b"\x00", b"\xff"),
    *(b"null", b"true", b"1e999", b"9" * 5000, b".nan", b"!!set", b"!!python/name:os.system", b"\\uD800"),
]


def mutated(recipe: bytes, rng: random.Random) -> bytes:
    """A recipe with one to six bytes changed, pieces put in, deleted or copied."""
    data = bytearray(recipe)
    for _ in range(rng.randint(1, 6)):
        at, kind = rng.randrange(len(data)), rng.randrange(4)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(PIECES)
        elif kind == 2:
            del data[at : at + rng.randint(1, 30)]
        else:
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.randint(1, 60)]
    return bytes(data)


@pytest.mark.slow
def test_no_mutated_recipe_is_a_traceback(tmp_path: Path) -> None:
    from moee_topics.mteb import load_score_recipe

    rng, path = random.Random(7), tmp_path / "mutant.yaml"
    recipes = [recipe.path.read_bytes() for recipe in shipped_recipes()]
    for _ in range(10_000):
        path.write_bytes(mutated(rng.choice(recipes), rng))
        for load in (load_recipe, load_score_recipe):
            with contextlib.suppress(RecipeError, InputError):
                load(path)


@pytest.mark.slow
def test_the_wheel_holds_recipes_and_the_embedded_model(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "recipes").rglob("*.yaml")}
    assert {f"moee_topics/{path}" for path in recipes} <= names
    pocket = {f"moee_topics/encode/models/pocket/{path.name}" for path in POCKET.iterdir()}
    assert {*pocket, "moee_topics/py.typed"} <= names
    assert wheel.stat().st_size < 80_000_000 and max(path.stat().st_size for path in POCKET.iterdir()) < 50_000_000
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "recipes/"))]
    # The weights are of another's model, whose licence asks for its text, its notice and what was changed.
    assert {f"moee_topics/encode/models/pocket/{name}" for name in ("LICENSE", "MODEL_CARD.md")} <= names
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    subprocess.run(
        [sys.executable, "-c", WITH_THE_WHEEL],
        cwd=tmp_path,
        check=True,
        env={"PYTHONPATH": str(tmp_path / "installed")},
    )


WITH_THE_WHEEL = """
import socket
socket.socket.connect = socket.getaddrinfo = None  # whoever asks the network fails
import moee_topics
assert "installed" in moee_topics.__file__
from moee_topics import MoEEncoder
from moee_topics.recipe import load_recipe
load_recipe("quickstart")
embeddings = MoEEncoder.from_pretrained("pocket").encode(["A probe orbits a planet."])
assert embeddings.hidden_states.shape == (1, 576)
"""


@pytest.mark.parametrize("data", [[1, 2], None, 3, "corpus", [("corpus", {})]])
def test_a_recipe_that_is_no_mapping_is_an_error_of_recipes(data: Any) -> None:
    with pytest.raises(RecipeError, match="expected a mapping of sections"):
        parse_recipe(data)


@pytest.mark.parametrize("override", [3, None, ("seed", 1), {"seed": 1}])
def test_an_override_that_is_no_text_is_an_error_of_recipes(override: Any) -> None:
    with pytest.raises(RecipeError, match="not an override"):
        parse_recipe({"corpus": {"source": "x"}}, [override])


@pytest.mark.parametrize("name", [3, None, b"quickstart", ["quickstart"]])
def test_a_recipe_that_is_called_by_no_text_is_an_error_of_recipes(name: Any) -> None:
    with pytest.raises(RecipeError, match="expected its name or the path of its file"):
        load_recipe(name)
