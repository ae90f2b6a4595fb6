"""A small ext4 disk in a file, whose power can be cut: what was not synced is gone, as on a real one."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = 2

needs_loop_devices = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop0").exists(),
    reason="cutting the power needs root, loop devices and mkfs.ext4",
)


def cut_power(mount: Path) -> None:
    """From here on nothing reaches the disk, and what is not on it yet never will."""
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
    finally:
        os.close(descriptor)


class LoopDisk:
    """The disk and where it is mounted."""

    def __init__(self, image: Path, mount: Path) -> None:
        self.image, self.mount = image, mount

    def format(self) -> None:
        """Empties it, and mounts it."""
        self.unmount()
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.remount()

    def remount(self, options: str = "loop") -> None:
        """Starts the machine again."""
        self.unmount()
        done = subprocess.run(["mount", "-o", options, self.image, self.mount], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"loop devices are not allowed here: {done.stderr.strip()}")

    def unmount(self) -> None:
        if os.path.ismount(self.mount):
            subprocess.run(["umount", self.mount], check=True)


@contextmanager
def loop_disk(folder: Path, megabytes: int) -> Iterator[LoopDisk]:
    """An empty disk below a folder."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    disk = LoopDisk(image, mount)
    try:
        disk.format()
        yield disk
    finally:
        disk.unmount()
        image.unlink()


def cut_at(mount: Path, call: int) -> None:
    """Cuts the power just before the given sync of this process, counted from 1, and ends the process."""
    sync, calls = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            cut_power(mount)
            os._exit(9)
        sync(descriptor)

    os.fsync = counted
