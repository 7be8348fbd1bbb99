"""One user's lines of the journal: read from every part, and taken out of every part while others go on writing.

A part is written anew beside itself and takes its own place in one step, under the lock that every write holds: whoever
is cut off leaves the part as it was, and whoever writes sees that the file is another one, and opens that.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from scribe_router.exchange import Json
from scribe_router.journal import older, same_file

Mine = Callable[[bytes], bool]


def lines_of(journal: Path, user: str) -> Iterator[Json]:
    """The lines of a user, the oldest part first."""
    mine = _of(user)
    for part in (*reversed(older(journal)), journal):
        with suppress(FileNotFoundError), part.open("rb") as file:
            yield from (json.loads(line) for line in file if mine(line) and _read(line) is not None)


def erase(journal: Path, user: str) -> int:
    """Take the lines of a user out of every part; how many there were. Raises `OSError`.

    The newest part comes first: what is renamed meanwhile is looked at twice, not missed.
    """
    mine = _of(user)
    count = _rewrite(journal, mine)
    return count + sum(_rewrite(part, mine) for part in older(journal))


def _rewrite(part: Path, mine: Mine) -> int:
    while True:
        try:
            file = part.open("rb")
        except FileNotFoundError:  # there is none, or it was deleted because of its age
            return 0
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if same_file(file.fileno(), part):
                return _without(file, part, mine)


def _without(file: IO[bytes], part: Path, mine: Mine) -> int:
    """Write the others' lines beside the part, then put that in its place. It is as old as the part was."""
    count = sum(map(mine, file))
    if not count:
        return 0
    beside, was = part.with_name(f".{part.name}.erasing"), os.fstat(file.fileno())
    file.seek(0)
    beside.unlink(missing_ok=True)  # of somebody who was cut off
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.writelines(line for line in file if not mine(line))
        new.flush()
        os.utime(beside, ns=(was.st_atime_ns, was.st_mtime_ns))
        os.fsync(new.fileno())
    beside.replace(part)
    folder = os.open(part.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return count


def _of(user: str) -> Mine:
    """Whether a line is of a user. One that was torn is, when the name is in it."""
    said = json.dumps(user, ensure_ascii=False).encode("utf-8", "surrogatepass")
    escaped = json.dumps(user).encode()

    def mine(line: bytes) -> bool:
        if said not in line and escaped not in line:
            return False
        record = _read(line)
        return record is None or record.get("user") == user

    return mine


def _read(line: bytes) -> Json | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
