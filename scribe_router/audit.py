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
MOST_REFUSED = 10  # lines a second for refusals of one address
MOST_ADDRESSES = 1_000
_SECRET = re.compile(r"(sk-[\w-]{4})[\w-]{4,}")


@dataclass(slots=True)
class _Flood:
    """How many refusals of one address were written in one second, and how many were not since the last line."""

    second: int
    written: int = 0
    left_out: int = 0


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
        self._floods: dict[str, _Flood] = {}
        self.lost = 0

    def refused(self, now: float, actor: Actor, act: str, outcome: str, **more: Any) -> None:
        """Add a line for who was refused, at most `MOST_REFUSED` a second for each address; the next line says how many
        were left out."""
        flood = self._floods.setdefault(actor.address, _Flood(int(now)))
        if flood.second != int(now):
            flood.second, flood.written = int(now), 0
        if flood.written >= MOST_REFUSED:
            flood.left_out += 1
            return
        left_out, flood.left_out, flood.written = flood.left_out or None, 0, flood.written + 1
        self.write(now, actor, act, outcome, **more, left_out=left_out)
        if len(self._floods) > MOST_ADDRESSES:
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """Forget addresses that are quiet; of those with lines left out, say so first."""
        for address, flood in self._floods.copy().items():
            if flood.second != int(now) or len(self._floods) > MOST_ADDRESSES:
                del self._floods[address]
                if flood.left_out:
                    self.write(now, Actor("", address), "refusals", "left_out", left_out=flood.left_out)

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
