"""Names of runs and of the files in them lead nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.errors import InputError
from moee_topics.run_folder import is_inside, named_folder


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        *[("a.json", True), ("model/a..b", True), ("..", False), ("../x", False), ("model/../../x", False)],
        *[("/etc/x", False), ("C:\\x", False), ("..\\x", False), ("", False), ("a\0b", False)],
    ],
)
def test_names_from_a_file_stay_in_their_folder(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


@pytest.mark.parametrize(
    "name", ["../..", "..", ".", "", "/tmp/x", "a/b", "a\\b", "C:\\x", "store", "Store", "a\0", ".x", "x.", "x" * 201]
)
def test_a_run_has_a_name_and_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot have the name"):
        named_folder(tmp_path, name)


def test_names_of_runs_differ_by_more_than_case(tmp_path: Path) -> None:
    assert named_folder(tmp_path / "none", "Posts") == tmp_path / "none" / "Posts"
    (tmp_path / "posts").mkdir()
    assert named_folder(tmp_path, "posts") == tmp_path / "posts"
    with pytest.raises(InputError, match=r"'posts'.*by case alone"):
        named_folder(tmp_path, "Posts")
