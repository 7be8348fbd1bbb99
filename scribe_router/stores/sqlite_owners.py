"""Which processes are alive: each owner of reservations holds a kernel lock on a file of its own.

The kernel lets go of the lock when the process ends, however it ends. This module knows files and locks. It must never
know rows, money or SQL. It needs a local disk: locks over network file systems do not tell the truth.
"""

import fcntl
import os
import uuid
import weakref
from pathlib import Path


class Owner:
    """A living owner. Its file exists and is locked before the constructor returns, and until `release`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = -1
        while self._file < 0:
            self.id = uuid.uuid4().hex
            self._file = _claim(folder / self.id)
        self._pid = os.getpid()
        owner = weakref.ref(self)
        # A forked child shares the lock: without this, an orphan would keep its dead parent's reservations alive.
        os.register_at_fork(after_in_child=lambda: _let_go(owner()))

    def release(self) -> None:
        """Remove the file and the lock; what is still reserved under this id may be swept from now on."""
        if self._file >= 0 and os.getpid() == self._pid:
            (self._folder / self.id).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file without unlocking it, for a fork's child: the parent goes on holding the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _let_go(owner: Owner | None) -> None:
    if owner is not None:
        owner.close()


def _claim(path: Path) -> int:
    """Create and lock the file; -1 if a sweep took it for a dead owner's in between."""
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return -1
    if os.fstat(file).st_nlink == 0:
        os.close(file)
        return -1
    return file


def owners(folder: Path) -> set[str]:
    """The ids of all owners that have a file, dead or alive."""
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def bury(folder: Path, owner: str) -> bool:
    """Whether the owner is dead; if so its file is gone. An owner without a file is dead, so burying twice is safe."""
    path = folder / owner
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(file)
