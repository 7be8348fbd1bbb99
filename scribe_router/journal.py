"""One JSON line for each finished exchange: what the plan was made from, each attempt, usage and cost. No content.

Knows finished exchanges only. A disk that is full never fails a request: it is said once, and counted.
"""

import json
import logging
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scribe_router.encoding import json_bytes
from scribe_router.exchange import Attempt, Exchange, Json, usd

log = logging.getLogger("scribe_router.journal")


class Journal:
    """Appends to one file; several processes may share it (a line is one write)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self.lost = 0

    def write(self, exchange: Exchange) -> None:
        """Append the line of a finished exchange."""
        if self._path is None:
            return
        line = json_bytes(record(exchange)) + b"\n"
        try:
            with self._lock:
                if self._file is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                os.write(self._file, line)
        except OSError as error:
            self.lost += 1
            if self.lost == 1:
                log.error("the journal %s cannot be written: %s; requests go on without it", self._path, error.strerror)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def summary(exchange: Exchange) -> str:
    """The exchange in one line for a person."""
    served = exchange.attempts[-1] if exchange.attempts else None
    seconds = (exchange.ended or exchange.opened) - exchange.opened
    unserved = f"cache ({exchange.cache})" if exchange.cache in ("hit", "shared") else "no attempt"
    way = f"{served.deployment} ({served.lane})" if served else unserved
    tries = f", {len(exchange.attempts)} attempts" if len(exchange.attempts) > 1 else ""
    tokens = f", {served.usage.input}+{served.usage.output} tokens" if served and served.usage else ""
    cost = "no price" if exchange.cost is None else f"{usd(exchange.cost)} usd"
    name = "".join(letter if letter.isprintable() else "?" for letter in exchange.requested[:100])
    return f"{exchange.id} {name} -> {way}: {exchange.outcome} in {seconds:.3f} s{tries}{tokens}, {cost}"


def record(exchange: Exchange) -> Json:
    """The exchange as its line says it; lengths and roles instead of content."""
    body, plan = exchange.call.body, exchange.plan
    messages = body.get("messages")
    return {
        "id": exchange.id,
        "opened": exchange.opened,
        "ended": exchange.ended,
        "version": exchange.version,
        "api": exchange.call.api,
        "principal": exchange.principal.name,
        "user": exchange.principal.user,
        "team": exchange.principal.team,
        "requested": exchange.requested,
        "stream": exchange.call.stream,
        "messages": [_message(message) for message in messages] if isinstance(messages, list) else [],
        "parameters": {name: value for name, value in body.items() if isinstance(value, int | float | bool)},
        "plan": None
        if plan is None
        else {
            "facts": asdict(plan.facts),
            "seed": plan.snapshot.seed,
            "today": plan.snapshot.today.isoformat(),
            "now": plan.snapshot.now,
            "circuits": {name: asdict(circuit) for name, circuit in plan.snapshot.circuits.items()},
            "load": {name: asdict(load) for name, load in plan.snapshot.load.items()},
            "turns": dict(plan.snapshot.turns),
            "strategy": plan.strategy,
            "candidates": [each.deployment for each in plan.candidates],
            "scores": {each.deployment: each.score for each in plan.candidates if each.score},
            "excluded": [asdict(each) for each in plan.excluded],
        },
        "attempts": [_attempt(attempt) for attempt in exchange.attempts],
        "cache": exchange.cache,
        "experiment": None if exchange.exposure is None else asdict(exchange.exposure),
        "warnings": exchange.warnings,
        "outcome": exchange.outcome,
        "cost_usd": None if exchange.cost is None else usd(exchange.cost),
    }


def _message(message: Any) -> Json:
    role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
    return {"role": role if isinstance(role, str) else None, "length": _length(content)}


def _length(content: Any) -> int | None:
    if content is None or isinstance(content, str):
        return len(content or "")
    try:
        return len(json.dumps(content))
    except RecursionError:  # it is refused, and has a line all the same
        return None


def _attempt(attempt: Attempt) -> Json:
    return {name: value for name, value in asdict(attempt).items() if value not in (None, "")}
