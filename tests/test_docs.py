"""What the README and the pages of the site say is there, and what they tell to type works."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import runpy
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bag_of_words import themed_corpus
from command_line import call
from sklearn.metrics import adjusted_mutual_info_score
from typer.main import get_command
from typer.testing import CliRunner

import moee_topics
from moee_topics.cli.app import app
from moee_topics.evaluate import SCORES
from moee_topics.recipe import Recipe, shipped_recipes
from moee_topics.run_folder import RunFolder
from moee_topics.schema import known_keys

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^moee-topics (\w+)", README, flags=re.MULTILINE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


DOCS = ROOT / "docs"
GENERATED = DOCS / "recipe-keys.md"  # by `make docs`, see docs/recipe_keys.py
PAGES = sorted({*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")} - {GENERATED})


def commands_of_the_pages() -> list[str]:
    """The commands of the pages in any of their scripts, each on one line."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"```(?:bash|yaml|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        found += [line[line.index("moee-topics ") :] for line in lines if re.search(r"(^|[\s\"'])moee-topics \w", line)]
    return sorted(set(found))


@pytest.mark.parametrize("line", commands_of_the_pages())
def test_every_command_of_the_pages_is_one_with_the_options_it_has(line: str) -> None:
    text = line.partition(" #")[0].rstrip("& ")
    # A quotation mark may belong to what stands before the command, as in: ssh node "moee-topics …".
    words = shlex.split(text.rstrip('"') if text.count('"') % 2 else text)[1:]
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options
    command.make_context(command.name, [word.replace("$SLURM_ARRAY_TASK_ID", "1") for word in words])


def test_every_key_of_the_pages_is_one_of_a_recipe() -> None:
    keys = set(known_keys(Recipe))
    sections = {key.partition(".")[0] for key in keys}
    upstream = {"umap", "hdbscan", "vectorizer", "ctfidf", "bertopic"}  # their keys are checked when a recipe is read
    for page in PAGES:
        named = re.findall(r"`([a-z]+\.[a-z_]+)=[^`]*`", page.read_text(encoding="utf-8"))
        asked = {key for key in named if key.partition(".")[0] in sections - upstream}
        assert asked <= keys, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_to_a_page_of_the_site(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        assert link.startswith("http") or target.is_relative_to(DOCS), link
        assert link.startswith("http") or target.exists() or target == GENERATED, link


def test_the_site_has_every_page_and_names_of_the_code_that_are_there() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    entries = [value for entry in site["nav"] for value in entry.values()]
    listed = [path for value in entries for path in ([value] if isinstance(value, str) else named_in(value))]
    pages = [page.relative_to(DOCS).as_posix() for page in (*PAGES, GENERATED)]
    assert sorted(listed) == sorted(pages)
    assert site["theme"]["font"] is False, "fonts come from another host"
    for name in re.findall(
        r"^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        room, _, value = name.rpartition(".")
        assert hasattr(importlib.import_module(room), value), name


def named_in(entries: list[dict[str, str]]) -> list[str]:
    return [path for entry in entries for path in entry.values()]


def test_the_page_of_keys_tells_each_key_of_a_recipe_once() -> None:
    page: str = runpy.run_path(str(DOCS / "recipe_keys.py"))["page"]()
    told, section = [], ""
    for line in page.splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        told += [section] if line.startswith("## ") else []
        if (key := re.match(r"- `([\w.]+)`", line)) and section != "scores":
            told.append(f"{section}.{key[1]}")
        assert not line.endswith(": "), f"the docstring of {section} says nothing of: {line}"
    assert sorted(told) == sorted(known_keys(Recipe))
    assert all(f"- `{score}`: " in page for score in SCORES)


def test_the_reference_has_every_name_of_the_face() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^::: (?:\w+\.)+(\w+)$", page, re.MULTILINE))
    assert set(moee_topics.__all__) <= shown


def test_names_of_bertopic_that_are_compared_are_its_own() -> None:
    from bertopic import BERTopic

    page = (DOCS / "coming-from.md").read_text(encoding="utf-8")
    table = page[page.index("| in BERTopic") : page.index("Three things differ")]
    firsts = " ".join(row.split(" | ")[0] for row in table.splitlines()[2:])
    named = {re.match(r"\w+", code)[0] for code in re.findall(r"`([^`]+)`", firsts)}  # type: ignore[index]
    assert named and not named - {*dir(BERTopic), *inspect.signature(BERTopic).parameters}


@pytest.mark.slow
def test_the_reports_of_the_gallery_are_written_from_what_is_kept_of_their_runs(tmp_path: Path) -> None:
    gallery = Path(shutil.copytree(DOCS / "gallery", tmp_path / "gallery"))
    assert sum(path.stat().st_size for path in gallery.rglob("*")) < 600_000
    for name, topics, chapter in (("packages", 14, "stability"), ("growing", 18, "drift")):
        done = call("report", gallery / name, "--quiet")
        assert not done.exit_code, done.output
        assert RunFolder.read(gallery / name).result.topic_count == topics
        assert f'id="{chapter}-title"' in (gallery / name / "report.html").read_text("utf-8")
    done = call("diff", gallery / "growing", "v1", "v3", "--output", gallery / "changes.html")
    assert not done.exit_code and "born" in (gallery / "changes.html").read_text("utf-8")


def test_the_example_with_bertopic_runs_as_it_stands() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    documents, labels = themed_corpus(per_theme=30, noise=0)
    names: dict[str, Any] = {"documents": documents}
    exec(example, names)
    assert not names["backend"].learns and len(names["topics"]) == len(documents)
    assert adjusted_mutual_info_score(labels, names["topics"]) > 0.5


def test_every_recipe_of_the_readme_ships() -> None:
    named = set(re.findall(r"^moee-topics (?:run|estimate|score) ([\w-]+)", README, flags=re.MULTILINE))
    assert named <= {recipe.name for recipe in shipped_recipes()}


def test_every_file_of_the_map_exists() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README, flags=re.MULTILINE)
    for row in rows:
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", row):
            folder = ROOT / "moee_topics" if name.startswith("moee_topics/") else folder
            path = ROOT / name if "/" in name and name.split("/")[0] in ("moee_topics",) else folder / name
            assert path.exists() or (ROOT / name).exists(), name


def test_the_two_commands_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_links_inside_the_repository_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_every_place_for_a_change_is_there_and_so_is_its_test() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## Where do I change") : text.index("Letters, everywhere")]
    places = re.findall(r"`((?:moee_topics|tests)/[^`*]+)`", table)
    assert len(re.findall(r"^\| an? ", table, flags=re.MULTILINE)) >= 10 and len(places) >= 20
    assert not [place for place in places if not (ROOT / place).exists()]


def test_every_place_for_a_change_names_one_file_and_one_test_and_what_is_in_the_file() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## Where do I change") : text.index("Letters, everywhere")]
    for row in re.findall(r"^\| (an? .*?) \| (.*?) \| (.*?) \|$", table, flags=re.MULTILINE):
        change, place, test = row
        (file,) = re.findall(r"`(moee_topics/[^`]+)`", place)
        # A change that adds a file adds the test of its name too, since the tests mirror the tree.
        one_test = re.fullmatch(r"`(tests/[\w/]+\.py)`(, and one of its file's name, as `(tests/[\w/]+\.py)`)?", test)
        assert one_test is not None, change
        assert bool(one_test[2]) == place.startswith(("a class in a file", "a file")), change
        for named in filter(None, one_test.group(1, 3)):
            assert "def test_" in (ROOT / named).read_text(encoding="utf-8")
        if (ROOT / file).is_file():
            for name in re.findall(r"`([A-Z_]+)`", place):
                assert re.search(rf"^{name}\b", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE), name


@pytest.mark.parametrize("document", ["docs/reliability.md", "docs/cluster.md", "CONTRIBUTING.md"])
def test_every_test_and_script_that_a_document_names_is_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    names = re.findall(r"(?:tests|benchmarks)/[\w./-]*\w", text)
    assert names and not [name for name in names if not (ROOT / name).exists()]
    for file, word in re.findall(r"pytest (?:-m slow )?(tests/[\w/]+\.py) -k (\w+)", text):
        assert re.search(rf"def test_\w*{word}", (ROOT / file).read_text(encoding="utf-8")), word


def test_every_target_says_what_it_is_for() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert targets is not None
    for target in targets[1].split():
        assert re.search(rf"^{target}:.*## \S", makefile, flags=re.MULTILINE), target


def test_the_examples_of_the_readme_enter_by_the_face_and_their_names_are_there() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("moee_topics"):
                assert node.module.count(".") <= 1
                room = importlib.import_module(node.module)
                assert all(hasattr(room, alias.name) for alias in node.names)
