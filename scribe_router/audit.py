"""The audit log: a line of JSON for every administrative act, and for everybody who was refused for cause (401, 403).

Lines are only ever added, whole, by any number of processes; the file is opened for each, so that it may be moved away
at any time. What others chose is cut and escaped, and what looks like a key is not written.
"""

import json
import logging
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("scribe_router.audit")
LONGEST = 200  # letters of one value
_SECRET = re.compile(r"(sk-[\w-]{4})[\w-]{4,}")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where: a principal and its address, or a login and `command line`."""

    name: str
    address: str


class Audit:
    """Appends to one file, or without a path to none. `lost` counts what could not be written: a full disk must not
    keep a key from being revoked."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.lost = 0

    def write(self, now: float, actor: Actor, act: str, outcome: str, **more: Any) -> None:
        """Add a line. `more` are texts and numbers that say what it was about."""
        if self._path is None:
            return
        time = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        said = {"time": time, "actor": actor.name, "address": actor.address, "act": act, "outcome": outcome, **more}
        line = json.dumps({name: shown(value) for name, value in said.items() if value is not None})
        try:
            self._append(line.encode() + b"\n")
        except OSError as error:
            self.lost += 1
            if self.lost == 1:
                log.error("the audit log %s cannot be written: %s", self._path, error.strerror)

    def _append(self, line: bytes) -> None:
        assert self._path is not None  # noqa: S101  (only `write` calls it)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def shown(value: Any) -> Any:
    """The value as it may stand in the log."""
    if isinstance(value, list | tuple):
        return [shown(each) for each in value[:LONGEST]]
    if not isinstance(value, str):
        return value
    text = _SECRET.sub(r"\1…", value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
