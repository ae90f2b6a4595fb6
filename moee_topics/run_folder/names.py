"""Names of runs and of the files in them: data, which must lead nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

from moee_topics.defaults import STORE_NAME
from moee_topics.errors import InputError
from moee_topics.messages import shortened

VERSIONS = "versions"


def is_inside(name: str) -> bool:
    """Whether a name from a file stays in the folder that it is joined to."""
    return bool(name) and not re.search(r"^[/\\]|^[a-zA-Z]:|(^|[/\\])\.\.([/\\]|$)|\0", name)


def is_plain_name(name: str) -> bool:
    """Whether a name can be that of a file or folder on every system, with 55 bytes to spare for an ending."""
    odd = re.search(r"[/\\\x00-\x1f]|^\.|[. ]$", name) or not is_inside(name)
    # Windows keeps the names of its devices, whatever ending they are given.
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return not odd and not device and len(name.encode("utf-8", "replace")) <= 200


def named_folder(output: Path, name: str) -> Path:
    """The folder of a run by its name: one folder in the output folder, and no other place.

    Raises:
        InputError: the name leads elsewhere, is that of the embeddings, or is another run's but for case.
    """
    if not is_plain_name(name) or name.casefold() == STORE_NAME:
        raise InputError(
            f"A run cannot have the name {shortened(name)}: it is a folder in {output}, where {STORE_NAME!r} holds the "
            "embeddings. Give one of at most 200 bytes without slashes, without dots at its ends and unlike Windows's "
            "devices (con, nul), and the folder it goes into as --output."
        )
    # On macOS and Windows the two would be one folder, and the second run would take the place of the first.
    others = [path.name for path in output.iterdir()] if output.is_dir() else []
    if name not in others and (same := [other for other in others if other.casefold() == name.casefold()]):
        raise InputError(
            f"{output} has the run {same[0]!r}, whose name differs from {name!r} by case alone. Use another."
        )
    return output / name


def run_command(folder: Path) -> str:
    """The command that makes a run folder again; what is whole in it stays."""
    if folder.parent.name == VERSIONS:  # the last version is whole: back to it, and once more forward
        return f"moee-topics update {folder.parent.parent} --undo, and the update or decision once more"
    return f"moee-topics run RECIPE --output {folder.parent} --name {folder.name}"
