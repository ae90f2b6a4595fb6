"""decisions.yaml: what a person wrote around the entries stays, and a slip is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.errors import InputError, RecipeError
from moee_topics.run_folder import read_decisions, write_decisions
from moee_topics.topics import Decision

NAMED = Decision("name", (3,), text="Space", words=(("orbit", "nasa"),))
MERGED = Decision("merge", (4, 7), words=(("god",), ("faith",)))
DROPPED = Decision("drop", (5,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.yaml"


def test_what_is_written_is_read(path: Path) -> None:
    assert read_decisions(path) == []
    write_decisions(path, [NAMED, MERGED])
    assert read_decisions(path) == [NAMED, MERGED] and path.read_text().startswith("# ")
    write_decisions(path, [])
    assert read_decisions(path) == []


def test_comments_and_untouched_entries_stay(path: Path) -> None:
    mine = "# mine\n- {name: Space,   topic: 3, words: [orbit, nasa]}\n\n# why\n- merge: [4, 7]   # both\n- drop: 5"
    path.write_text(mine)
    added = Decision("note", (3,), text="é")
    write_decisions(path, [*read_decisions(path), added])
    assert path.read_text().startswith(f"{mine}\n- note: é\n") and read_decisions(path)[-1] == added
    write_decisions(path, [one for one in read_decisions(path) if one.verb in ("merge", "note")])
    assert path.read_text() == "# mine\n# why\n- merge: [4, 7]   # both\n- note: é\n  topic: 3\n"
    write_decisions(path, [MERGED])
    assert read_decisions(path) == [MERGED] and "# mine" in path.read_text()


@pytest.mark.parametrize("text", ["[]", "[{drop: 9}]", "  - drop: 9\n", "# nothing\n", "", "- drop: 9\n# end"])
def test_lists_of_any_form_take_another_entry(path: Path, text: str) -> None:
    path.write_text(text)
    before = read_decisions(path)
    write_decisions(path, [*before, NAMED])
    assert read_decisions(path) == [*before, NAMED]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- name: [Space\n  topic: 3\n- drop: 5", "not YAML of decisions.*line 2"),
        ("- drop: 4\n\n- name: Space", "line 3, name: topic is None"),
        ("- merge: [4, 4]", "line 1, merge"),
        ("- !!python/object/apply:os.system [ls]", "not YAML of decisions"),
        ("drop: 5", "is not a list of decisions"),
        ("- drop: &x [*x]", "."),
        ("- {drop: 5, drop: 6}", "stands twice"),
    ],
)
def test_a_slip_is_told_with_its_line_and_nothing_is_written(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        read_decisions(path)
    with pytest.raises(RecipeError, match=said):
        write_decisions(path, [DROPPED])
    assert path.read_text() == text


def test_what_is_no_text_is_told(path: Path) -> None:
    path.write_bytes(b"- name: \xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_decisions(path)
