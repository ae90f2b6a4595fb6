"""The store itself: the embeddings of one key, found by the content of the documents, with one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from filelock import BaseFileLock
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, StoreError
from moee_topics.messages import counted
from moee_topics.store.files import disk_errors, make_folder, remove_leftovers
from moee_topics.store.hash_table import hash_array
from moee_topics.store.inventory import Inventory, Layout
from moee_topics.store.key_file import check_key, claim, write_key
from moee_topics.store.keys import JSON, canonical, key_digest, plain
from moee_topics.store.lock import lock_writer, unlock_writer
from moee_topics.store.shard import DamagedShard, Shard, arrays_of, check_lengths, write_shard


class EmbeddingStore:
    """The embeddings of one key on disk, found by the content of the documents.

    Use it as a context manager, or call :meth:`close` after writing. Any thread may use it.

    A shard is read through, once, before anything is said or given of its documents; those of a damaged one count as
    not stored.

    Attributes:
        folder: where the shards are.
        key: what the vectors depend on.
    """

    def __init__(self, folder: Path, key: Mapping[str, JSON], lock: BaseFileLock | None, part: str = "") -> None:
        self.folder = folder
        self.key = key
        self._lock = lock
        self._part = part
        self._mutex = threading.RLock()
        self._inventory = Inventory(folder, key, writable=lock is not None and not part)

    @classmethod
    def open(
        cls,
        root: Path,
        key: Mapping[str, JSON],
        *,
        writable: bool = False,
        part: str = "",
        beside: Sequence[Mapping[str, JSON]] = (),
    ) -> EmbeddingStore:
        """Opens the store of a key below ``root``, for one writer or any number of readers.

        Every shard's size and header are checked, and a shard that the index does not know is read through and taken
        in.

        Args:
            root: folder of the stores.
            key: what the vectors depend on.
            writable: whether documents are to be written.
            part: name of a writer that leaves place for others of other names, whose documents should differ. It
                writes shards and their lines in the index, and leaves damaged files alone.
            beside: other keys that may be stored there where several write: those of other views.

        Raises:
            StoreError: another process writes, the folder holds another key, or there is nothing to read; or the store
                holds any other key, where several write.
            ResourceError: the disk is full.
        """
        # A folder for each key: two models, prompts or poolings in one root can never be taken for each other.
        folder = Path(root) / key_digest(key)
        if not writable:
            if not folder.is_dir():
                raise StoreError(
                    f"There are no embeddings for {canonical(key).decode()} in {root}. Encode the corpus first, or "
                    "use the settings it was encoded with."
                )
            check_key(folder, key)
            return cls(folder, key, None)
        if folder.is_symlink():
            raise StoreError(f"{folder} is a link, and what it points to is not written. Put the folder itself there.")
        if part:
            claim(Path(root), key, beside)
        make_folder(folder)
        lock = lock_writer(folder, part)
        try:
            if not check_key(folder, key):
                write_key(folder, key)
            if not part:  # other parts are at work, and in containers they may have this process's number
                remove_leftovers(folder)
            store = cls(folder, key, lock, part)
            if not part:
                store._inventory.save_index()
        # Ctrl-C included: with the lock held nobody could write, and this process could not try again.
        except BaseException:
            unlock_writer(folder, lock)
            raise
        return store

    def close(self) -> None:
        """Lets another process write; reading goes on working."""
        with self._mutex:
            if self._lock is not None:
                try:
                    self._inventory.settle()
                finally:
                    unlock_writer(self.folder, self._lock)
                    self._lock = None
                    self._inventory.writable = False

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._mutex:
            return len(self._inventory)

    def __contains__(self, content: bytes) -> bool:
        with self._mutex:
            return bool(self._inventory.find(hash_array([content]))[0][0] >= 0)

    @property
    def writable(self) -> bool:
        """Whether this process is the one that may write."""
        return self._lock is not None

    @property
    def shards(self) -> list[Shard]:
        """The finished shards by name."""
        with self._mutex:
            return self._inventory.sorted()

    @property
    def damaged(self) -> list[DamagedShard]:
        """The shards that were found damaged so far, by name."""
        return self._inventory.damaged

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """The id and content hash of every stored document, shard by shard."""
        with self._mutex:
            self._inventory.read_through()
        for shard in self.shards:
            yield from self._inventory.file(shard.name).documents()

    def missing(self, hashes: Sequence[bytes]) -> list[int]:
        """The positions of the hashes whose document is not stored, or in a damaged shard, in order."""
        with self._mutex:
            return [int(row) for row in np.flatnonzero(self._inventory.find(hash_array(hashes))[0] < 0)]

    def require(self, hashes: Sequence[bytes]) -> None:
        """Checks that some documents are stored.

        Raises:
            StoreError: some are not, or their shard is damaged.
        """
        missing = len(self.missing(hashes))
        if missing:
            names = ", ".join(f"{shard.name} ({shard.reason})" for shard in self.damaged[:3])
            damage = f" {counted(len(self.damaged), 'damaged shard')} left out: {names}." if self.damaged else ""
            raise StoreError(
                f"{missing:,} of {len(hashes):,} documents are not in the store {self.folder}.{damage} Encode the "
                "corpus again with the same settings, only what is missing is encoded: moee-topics embed RECIPE "
                f"--output {self.folder.parent}"
            )

    def write(self, embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
        """Writes the documents that are not stored yet as one shard, and indexes it.

        Raises:
            StoreError: the store was opened for reading, the shapes are not those of the store, or a value does not
                fit float16.
            ResourceError: the disk is full; every shard written before is kept.
        """
        check_lengths(embeddings, ids, hashes)
        with self._mutex:
            self._require_writable()
            # Whatever the caller knows, a store has a document once. Of equal ones the first: the same corpus in the
            # same order gives the same bytes.
            new = sorted({hashes[row]: row for row in reversed(self.missing(hashes))}.values())
            if not new:
                return
            part, contents = embeddings[new], [hashes[row] for row in new]
            layout = {name: array.shape[1:] for name, array in arrays_of(part).items()}
            self._require_layout(layout)
            shard = write_shard(self.folder, self.key, part, [ids[row] for row in new], contents)
            # After the file is whole: killed in between, the next writer finds a shard that the index does not know.
            self._inventory.add(shard, layout, contents)
            if self._part:
                lock = lock_writer(self.folder, "index", seconds=60.0)  # held for milliseconds by each
                try:
                    self._inventory.save_index(beside_others=True)
                finally:
                    unlock_writer(self.folder, lock)

    def take_in(self, shard: Shard) -> None:
        """Indexes a shard that another process has put into the folder with :func:`write_shard`, or that was copied.

        Raises:
            StoreError: the store was opened for reading, or the file is not there, not whole, or of another key.
        """
        with self._mutex:
            self._require_writable()
            file = self._inventory.file(shard.name)
            if file.key != plain(self.key) or file.shard != replace(shard, xxh3=""):
                raise StoreError(f"{file.path} is another shard than the one that was written. Encode it again.")
            self._require_layout(file.layout)
            self._inventory.add(shard, file.layout, [content for _, content in file.documents()])

    def read(self, hashes: Sequence[bytes]) -> Embeddings:
        """The embeddings of some documents in the order of their hashes, (n, ...) in float16.

        Raises:
            StoreError: some documents are not stored, or their shard is damaged.
        """
        with self._mutex:
            self.require(hashes)
            shards, rows = self._inventory.find(hash_array(hashes))
            layout = self._inventory.layout or {"hidden_states": (0,), "router_logits": (0, 0)}
            names = list(self._inventory.names)
        out = {name: np.empty((len(hashes), *shape), dtype=np.float16) for name, shape in layout.items()}
        # Shard by shard and not hash by hash: the rows of one file are gathered in one go.
        for shard in np.unique(shards):
            file = self._inventory.file(names[shard])
            places = np.flatnonzero(shards == shard)
            for name, array in out.items():
                array[places] = file.array(name)[rows[places]]
        return Embeddings(out["hidden_states"], out["router_logits"], out.get("mean_routing_weights"))

    def read_blocks(self, hashes: Sequence[bytes], rows: int) -> Iterator[Embeddings]:
        """Like :meth:`read`, ``rows`` documents at a time, so that the whole never has to fit in memory."""
        if rows < 1:
            raise InputError(f"read_blocks needs at least 1 row at a time, got {rows}.")
        for start in range(0, len(hashes), rows):
            yield self.read(hashes[start : start + rows])

    def disk_order(self, hashes: Sequence[bytes]) -> NDArray[np.int64]:
        """The positions of the hashes in the order that their documents lie in, (n,), shard after shard.

        Blocks of a corpus whose order is another one, as after many machines, would open most of the shards each.

        Raises:
            StoreError: some documents are not stored, or their shard is damaged.
        """
        with self._mutex:
            self.require(hashes)
            shards, rows = self._inventory.find(hash_array(hashes))
        return np.lexsort((rows, shards))

    def verify(self) -> list[DamagedShard]:
        """Reads every byte of every shard, also of those that have been read before, and gives the damaged ones.

        :meth:`drop` deletes their files.
        """
        with self._mutex:
            self._inventory.read_through(list(self._inventory.shards))
            return list(self.damaged)

    def drop(self, damaged: Iterable[DamagedShard]) -> None:
        """Deletes damaged shards, so that nothing but encoding their documents again is left to do.

        A shard that another writer has made again in the meantime is taken in. A writer of a part leaves them: another
        part may be at just that.
        """
        with self._mutex:
            self._require_writable()
            if self._part:
                return
            for file in self._inventory.drop({shard.name for shard in damaged}):
                with disk_errors(file):
                    file.unlink(missing_ok=True)
            self._inventory.save_index()

    def rebuild_index(self) -> None:
        """Makes the index anew from the shards alone, each read through."""
        with self._mutex:
            self._require_writable()
            (self.folder / "index.json").unlink(missing_ok=True)
            self._inventory.load()
            self._inventory.save_index()

    def _require_layout(self, layout: Layout) -> None:
        if self._inventory.shards and layout != self._inventory.layout:
            raise StoreError(
                f"The store {self.folder} holds documents of the shapes {self._inventory.layout}, got {layout}. "
                "Something that vectors depend on is missing from the key."
            )

    def _require_writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"The store {self.folder} is open for reading only. Open it with writable=True.")
