"""The rules of the house: imports point down, rooms are entered by their face, only the encoder names torch."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from house_map import FLOOR_OF, PACKAGE, PICTURE, files, imports, picture, room

TESTS = Path(__file__).parent
READS_RECIPES = {"recipe", "run", "mteb", "cli"}
NAMES_TORCH = {"encode"}
ENCODES = {"encode", "embed"}
INSIDE_ENCODE = ("kernels", "quantization", "models", "mixtures")  # from the ground up
# A codec that is tried out, and mteb's own way to ask the encoder that it was given, which is ours with its store.
NO_MODELS = {"''.encode(self.encoding)", "self._model.encode(batches, **options)"}
# Tests of a road through several modules, or of what is no module; every other file of tests has its module's name.
ROADS = {
    "cli/test_help.py": "the help of all commands",
    "corpus/test_mutated_files.py": "damaged files through every reader",
    "encode/models/test_hostile_folders.py": "folders of models that attack, through every loader",
    "encode/models/test_mutated_checkpoints.py": "damaged checkpoints through every loader",
    "encode/test_gpu.py": "a GPU beside the processor, from text to vector",
    "golden/test_golden.py": "what 0.1.0 wrote, through all rooms",
    "golden/test_pocket.py": "the embedded model through all rooms",
    "mteb/tasks/test_mutated_labelled_files.py": "damaged files through every task type",
    "mteb/test_score_effects.py": "every key of a scoring recipe",
    "report/test_report_browser.py": "the page in a browser, where its scripts run",
    "run/test_equal_runs.py": "two runs, byte by byte",
    "run/test_mutated_predictions.py": "damaged files through predict",
    "run/test_run_faults.py": "damaged run folders through every stage",
    "store/test_mutated_stores.py": "damaged stores through every reader",
    "topics/test_bertopic_suite.py": "BERTopic's own tests with our backend",
    "store/test_one_writer.py": "whatever the package writes",
    "test_benchmarks.py": "benchmarks/",
    "test_docs.py": "README, docs/, Makefile",
    "test_effects.py": "every key of a recipe",
    "test_face.py": "moee_topics/__init__.py",
    "test_layers.py": "the imports of all modules, and this",
    "test_notebooks.py": "notebooks/",
    "test_style.py": "the functions of all modules",
    "test_typed_pages.py": "what the pages of docs/ tell to type",
    "test_power_cuts.py": "whatever a run writes, on a disk that fails",
    "topics/test_language_models.py": "from a recipe's keys to what a model is asked",
}
every_file = pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))


def own_imports(path: Path) -> list[list[str]]:
    """What a file imports of the package, split at the dots, without the package's own name."""
    return [name.split(".")[1:] for name in imports(path) if name.startswith("moee_topics.")]


def test_an_import_is_seen_in_every_way_it_can_be_written(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for line in (
        *("import moee_topics.run", "from moee_topics import run", "from moee_topics.run import fit"),
        *(
            "importlib.import_module('moee_topics.run')",
            "import_module('moee_topics.run')",
            "__import__('moee_topics.run')",
        ),
    ):
        module.write_text(f"def later():\n    {line}\n")
        assert [parts[0] for parts in own_imports(module)] == ["run"], line


@every_file
def test_nothing_is_imported_by_a_relative_name(path: Path) -> None:
    """The rules below would not see it."""
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]


def test_every_module_has_a_floor() -> None:
    assert {room(path) for path in files()} == set(FLOOR_OF)


@every_file
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    above = {parts[0] for parts in own_imports(path) if parts[0] not in (here, "__version__")}
    assert not {name for name in above if FLOOR_OF[name] >= FLOOR_OF[here]}


@pytest.mark.parametrize("inner", INSIDE_ENCODE)
def test_imports_between_the_rooms_of_the_encoder_point_down(inner: str) -> None:
    names = {parts[1] for path in (PACKAGE / "encode" / inner).glob("*.py") for parts in own_imports(path) if parts[1:]}
    assert not names & {*INSIDE_ENCODE[INSIDE_ENCODE.index(inner) + 1 :]}


def test_every_room_of_the_encoder_has_a_floor() -> None:
    assert {face.parent.name for face in (PACKAGE / "encode").glob("*/__init__.py")} == {*INSIDE_ENCODE}


@every_file
def test_below_the_runs_nothing_takes_a_recipe(path: Path) -> None:
    assert room(path) in READS_RECIPES or ["recipe"] not in [parts[:1] for parts in own_imports(path)]


@every_file
def test_only_the_encoder_names_torch_or_transformers(path: Path) -> None:
    named = {name.split(".")[0] for name in imports(path)} & {"torch", "transformers", "bitsandbytes"}
    assert room(path) in NAMES_TORCH or not named


@every_file
def test_nothing_but_the_embedder_sends_texts_through_an_encoder(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    # A string's own encode takes a name or nothing; whatever else is encoded goes through a model.
    through = [
        ast.unparse(call)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "encode" and call.args
        if not isinstance(call.args[0], ast.Constant) and ast.unparse(call) not in NO_MODELS
    ]
    assert room(path) in ENCODES or path.name == "estimates.py" or not through


@every_file
def test_a_room_is_entered_by_its_face(path: Path) -> None:
    deep = [parts for parts in own_imports(path) if len(parts) > 1 and (PACKAGE / parts[0]).is_dir()]
    assert not [parts for parts in deep if parts[0] != room(path)]


@pytest.mark.parametrize("folder", sorted(p.parent for p in PACKAGE.rglob("__init__.pyi")), ids=lambda f: f.name)
def test_no_name_of_a_face_is_also_a_file_of_its_room(folder: Path) -> None:
    """Otherwise the import of the file would put the module where the name was."""
    face = importlib.import_module(".".join(["moee_topics", *folder.relative_to(PACKAGE).parts]))
    values = {name for name in face.__all__ if not inspect.ismodule(getattr(face, name))}
    assert not values & {path.stem for path in folder.glob("*.py")}


def test_no_two_modules_have_one_name_unless_they_mean_the_same() -> None:
    names = Counter(path.name for path in PACKAGE.rglob("*.py") if not path.name.startswith("__"))
    assert {name for name, count in names.items() if count > 1} == {"settings.py"}, "what its room can be told"


def test_every_module_has_a_test_file_of_its_name_and_the_others_are_roads() -> None:
    modules = [path.relative_to(PACKAGE) for path in files() if not path.name.startswith("__")]
    mirror = {path.with_name(f"test_{path.name}").as_posix() for path in modules}
    tests = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    assert not mirror - tests, "modules without a test file"
    assert tests - mirror == ROADS.keys()


def test_the_map_in_the_documents_is_that_of_the_imports() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "draw it again: python tests/house_map.py"


def test_help_loads_neither_torch_nor_numba_nor_bertopic() -> None:
    code = (
        "import sys\nfrom moee_topics.cli import main\nsys.argv = ['moee-topics', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numba', 'bertopic', 'transformers', 'umap'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
