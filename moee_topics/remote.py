"""What lies in an object store or on a web server, read by way of a copy that goes when the process ends.

Nothing is written there: a shard is put in its place by a rename and a writer holds a lock, and such stores have
neither.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from moee_topics.defaults import OFFLINE_VARIABLES
from moee_topics.errors import InputError, import_extra
from moee_topics.progress import disk_space

PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "memory": "fsspec",
}
"""Kinds of addresses, and the package that fsspec reads each by."""
LEFT_OUT = "?…"
"""Stands for what of an address is not written down."""


def is_remote(source: str | Path) -> bool:
    """Whether a source is an address such as ``s3://bucket/posts.parquet``."""
    kind, separator, _ = str(source).partition("://")
    return bool(separator) and kind.lower() in PACKAGES


def without_query(source: str) -> str:
    """What of a source is written down: of an address on the web neither user nor query, which may be keys.

    Another source stays as it is; in object stores a question mark is part of a name.
    """
    kind, separator, rest = source.partition("://")
    if not separator or kind.lower() not in ("http", "https"):
        return source
    address, *query = re.split("[?#]", rest, maxsplit=1)
    host, slash, path = address.partition("/")
    return f"{kind}://{host.rpartition('@')[2]}{slash}{path}{LEFT_OUT if query or '@' in host else ''}"


def refuse_address(folder: str | Path) -> None:
    """Refuses an address where a folder or file of this machine is written or read in place.

    Raises:
        InputError: it is an address, also as ``Path`` writes it, with one slash; to the system that is a folder "s3:".
    """
    # Of two letters or more before the colon: C:/ is a drive.
    if found := re.match(r"([a-z][a-z0-9+.-]+):[/\\]+(.*)", str(folder), re.IGNORECASE | re.DOTALL):
        address = f"{found[1]}://{found[2]}"
        raise InputError(
            f"{address} is an address, and nothing is written to object stores or read in place there. Give a folder "
            f"of this machine. A store that lies there is copied by: moee-topics store merge FOLDER {address}"
        )


@cache
def local_copy(url: str) -> Path:
    """Copies a file or a folder to this machine, once in a process; the copy is deleted when the process ends.

    It is a copy, and not read in place, because files are read more than once and shards are mapped into memory. It
    lies where ``TMPDIR`` says.

    Raises:
        InputError: it is not there, may not be read, or the package for it is not installed.
        ResourceError: the disk is full.
    """
    kind, _, rest = url.partition("://")
    kind, said = kind.lower(), without_query(url)
    if url.endswith(LEFT_OUT):
        raise InputError(f"{url} is not the whole address: what may be a key was not written down. Give all of it.")
    if kind != "memory" and any(os.environ.get(name, "0") not in ("", "0") for name in OFFLINE_VARIABLES):
        raise InputError(f"{said} is on the network, which --offline or {OFFLINE_VARIABLES[0]} forbids. Copy it first.")
    fsspec = import_extra("fsspec.core", "hub")
    try:
        files, path = fsspec.url_to_fs(f"{kind}://{rest}")
        # The ending says what a file is, and behind it a signed address has its signature; keys of S3 may have a ?.
        named = re.split("[?#]", path)[0] if kind in ("http", "https") else path
        target = Path(tempfile.mkdtemp(dir=_copies().name), PurePosixPath(named).name or kind)
        with disk_space("TMPDIR names the place of what is copied from an object store."):
            files.get(path, str(target), recursive=files.isdir(path))
    except ImportError as error:
        raise InputError(f"{said} needs the package {PACKAGES[kind]}: pip install {PACKAGES[kind]}") from error
    except FileNotFoundError as error:
        raise InputError(f"There is no {said}.") from error
    except _errors_of_readers() as error:
        # aiohttp says the address once more, in letters of its own.
        fault = re.sub(r"[?#][^\s'\"]+", LEFT_OUT, str(error)) if said != url else str(error)
        raise InputError(f"{said} cannot be read ({type(error).__name__}: {fault}).") from error
    return target


@cache
def _copies() -> Any:
    return tempfile.TemporaryDirectory(prefix="moee-topics-")


def _errors_of_readers() -> tuple[type[Exception], ...]:
    """Also of libraries below fsspec that have errors of their own, as botocore without credentials."""
    modules = {"botocore.exceptions": "BotoCoreError", "aiohttp": "ClientError"}
    foreign = (getattr(sys.modules[module], name) for module, name in modules.items() if module in sys.modules)
    return (OSError, ValueError, RuntimeError, *foreign)
