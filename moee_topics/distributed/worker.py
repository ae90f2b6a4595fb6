"""One of several processes that encode: it loads the model once, and writes shards. Nothing here knows of Ray."""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from moee_topics import errors
from moee_topics.embed import Group, Key, TextEncoder, encode_in_calls
from moee_topics.encode import TokenCounts, View, entry_keys
from moee_topics.errors import MoEETopicsError, StoreError
from moee_topics.progress import resumable
from moee_topics.store import Shard, fewest_differences, key_digest, write_shard

_KEPT = "What is written is kept: run the same command again to go on."


class Source(Protocol):
    """What a worker loads its encoder from; ``EncoderSource`` is one. It travels to the worker without weights."""

    @property
    def counts(self) -> TokenCounts:
        """Tokens that went through the encoder so far."""
        ...

    def __call__(self) -> TextEncoder:
        """The encoder; the first call loads the weights."""
        ...


@dataclass(frozen=True)
class Job:
    """A store that is filled.

    Attributes:
        root: its folder, absolute.
        key: what all its vectors depend on.
        lock: what the process that leads has written beside its lock, by entry: whoever reads the same sees the same
            folder, and not one of this name on another disk.
    """

    root: Path
    key: Key
    lock: Mapping[View, str]

    @classmethod
    def led_here(cls, root: Path, key: Key) -> Job:
        """The job of a store that this process has opened for writing."""
        root = root.resolve()
        return cls(root, key, {entry: lock_text(root / key_digest(own)) for entry, own in entry_keys(key).items()})

    def folders(self) -> dict[View, Path]:
        """Where the shards of each entry belong."""
        return {entry: self.root / key_digest(key) for entry, key in entry_keys(self.key).items()}


@dataclass(frozen=True)
class Written:
    """What became of a group: its shards, and the tokens that went through the model."""

    documents: int
    shards: dict[View, Shard]
    counts: TokenCounts


@dataclass(frozen=True)
class Failure:
    """An error of ours on its way to the process that leads, where it is raised as it was."""

    # Not the error itself: Ray hands one over inside of an error of its own, with the trace as its message, and pickle
    # makes an error by its message alone, where some are made of more.
    kind: str
    message: str

    def error(self) -> MoEETopicsError:
        """The error."""
        kind = getattr(errors, self.kind)
        error: MoEETopicsError = kind.__new__(kind)
        error.args = (self.message,)
        return error


def told_by_name(work: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a worker that gives an error of ours back instead of raising it, with the name of the machine."""

    @functools.wraps(work)
    def guarded(*arguments: Any) -> Any:
        try:
            with resumable(_KEPT):
                return work(*arguments)
        except MoEETopicsError as error:
            kind = next(one for one in type(error).__mro__ if one.__module__ == errors.__name__)
            return Failure(kind.__name__, f"On {socket.gethostname()}: {error}")

    return guarded


class Worker:
    """Encodes groups of texts.

    Args:
        source: of the encoder.
        environment: variables that this process must have before a library of the hub is imported.
    """

    def __init__(self, source: Source, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._source = source

    @told_by_name
    def key(self) -> Any:
        """What the vectors depend on, by the encoder, which it loads."""
        return self._key()

    @told_by_name
    def join(self, job: Job) -> None:
        """Loads the encoder, and looks whether it is the one that the store needs, and whether the store is here.

        Raises:
            ModelError: the model is not on this machine.
            StoreError: it would encode otherwise than the others, or does not see their folder.
        """
        self._check(job)

    @told_by_name
    def encode(self, job: Job, group: Group) -> Written:
        """Encodes a group and writes its shards, each whole and under its name, or not at all.

        Raises:
            MoEETopicsError: as :meth:`join`; memory or disk do not suffice, or a vector is not finite.
        """
        self._check(job)  # another process may have taken the place of the one that joined
        before, encoder = self._source.counts, self._source()
        parts = encode_in_calls(encoder, job.key, [text.text for text in group.texts], [*group.rows])
        shards, keys, folders = {}, entry_keys(job.key), job.folders()
        for entry, rows in group.rows.items():
            texts = [group.texts[row] for row in rows]
            ids, contents = [text.id for text in texts], [text.content for text in texts]
            shards[entry] = write_shard(folders[entry], keys[entry], parts[entry][rows], ids, contents)
        return Written(len(group.texts), shards, self._source.counts - before)

    def _key(self) -> Any:
        return json.loads(json.dumps(self._source().spec.key()))  # lists in the place of tuples, as a store has them

    def _check(self, job: Job) -> None:
        if differing := fewest_differences([job.key], self._key()):
            raise StoreError(
                f"A worker would encode otherwise than the store says ({differing}). Name what differs in the recipe, "
                "and bring the same model to every machine."
            )
        for entry, folder in job.folders().items():
            if lock_text(folder) != job.lock[entry]:
                raise StoreError(
                    f"A worker does not see the store {job.root} that is written: the folder is missing there, or is "
                    "another one of the same name. Name one with --output that all machines share."
                )


def lock_text(folder: Path) -> str:
    """Who writes to an entry of a store, as it stands beside the lock; empty where it is not seen."""
    try:
        return (folder / "writer.json").read_text(encoding="utf-8")
    except OSError:
        return ""
