"""Why a past request went where it did: its plan as it was made, what happened, and whether it would be planned so.

Prints what a record says, and compares; knows no file and no running object.
"""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from scribe_router import __version__
from scribe_router.errors import RequestError
from scribe_router.exchange import Attempt, Exchange, Json, ToolCall
from scribe_router.explain import aligned, describe
from scribe_router.journal import NotRecorded, recall
from scribe_router.money import usd
from scribe_router.plan import Plan, plan
from scribe_router.record import Record
from scribe_router.registry import Registry

LONGEST = 1_000  # letters of an explanation in a header
NAMES_LETTERS = frozenset("-_./:@+*")  # beside letters and digits; what separates names is none of them


def recorded(journal: str | None, identity: str) -> Record:
    """The record of a past exchange. Raises `NotRecorded`."""
    line = recall(journal, identity)
    try:
        return Record.read(line)
    except ValueError:
        who = line.get("software", "an older version")
        raise NotRecorded(f"the line of {identity} was written by {who}, this is {__version__}: look at it") from None


def faults(past: Record, registry: Registry) -> list[str] | None:
    """What a plan that is made anew of the recorded facts, state and seed has otherwise: nothing, unless there is a
    fault. None where it cannot be compared: no plan was made, or software or configuration are others now."""
    plans = [*([past.plan] if past.plan else []), *past.downgraded, *past.later]
    if not plans or (past.software, past.version) != (__version__, registry.version):
        return None
    return [fault for each in plans for fault in _differences(each, registry)]


def _differences(made: Plan, registry: Registry) -> list[str]:
    try:
        again = plan(made.facts, registry, made.snapshot)
    except RequestError as error:
        return [f"no plan is made any more: {error.message}"]
    names = [each.name for each in fields(Plan) if getattr(made, each.name) != getattr(again, each.name)]
    return [f"{name}: {_short(getattr(made, name))} then, {_short(getattr(again, name))} now" for name in names]


def _short(value: Any) -> str:
    shown = [getattr(each, "deployment", each) for each in value] if isinstance(value, tuple) else value
    return str(shown)[:300]


def verdict(past: Record, registry: Registry) -> str:
    """Whether the plan can be made again, in a sentence."""
    found = faults(past, registry)
    if found:
        return f"FAULT: the same facts, state and seed give another plan now: {'; '.join(found)}"
    if found is not None:
        return "planned again of the same facts, state and seed: the same plan"
    if past.plan is None:
        return "there is no plan to make again"
    if past.software != __version__:
        return f"not planned again: version {past.software} of this package planned it, this is {__version__}"
    return f"not planned again: the configuration was {past.version}, now it is {registry.version}"


def explained(past: Record, registry: Registry) -> str:
    """All of it as lines. Prices and windows are those of today's configuration."""
    lines = [_headline(past)]
    if past.unplanned:
        lines += [f"no plan could be made: {past.unplanned}"]
    for made in ([past.plan] if past.plan else []) + list(past.downgraded):
        lines += ["", describe(made, registry, version=past.version)]
    lines += _rounds(past, registry)
    if past.attempts:
        lines += ["", "what happened", *aligned([_HEAD, *_attempts(past)])]
    if past.passed:
        left = [("-", each.deployment, f"{each.code}: {each.reason}") for each in past.passed]
        lines += ["", "sent nothing when its turn had come", *aligned(left)]
    said = [each for each in past.warnings if past.plan is None or each not in past.plan.warnings]
    lines += ["", *(f"! {each}" for each in said), verdict(past, registry)]
    return "\n".join(lines)


def _rounds(past: Record, registry: Registry) -> list[str]:
    """The plans of later rounds, each that is not like the one before."""
    lines, before = [], past.plan
    for number, made in enumerate(past.later, 2):
        same = before is not None and (made.candidates, made.excluded) == (before.candidates, before.excluded)
        told = [f"round {number}: planned like the one before"]
        lines += ["", *(told if same else (f"round {number}", describe(made, registry, version=past.version)))]
        before = made
    return lines


def as_json(past: Record, registry: Registry) -> Json:
    """The record with the verdict; `reproduced` is none where there is nothing to compare."""
    found = faults(past, registry)
    return {**past.as_json(), "reproduced": None if found is None else not found, "verdict": verdict(past, registry)}


def _headline(past: Record) -> str:
    when = f"{datetime.fromtimestamp(past.opened, UTC):%Y-%m-%d %H:%M:%S} UTC"
    who = past.principal if past.user == past.principal else f"{past.principal} for {past.user}"
    took = "" if past.ended is None else f" in {past.ended - past.opened:.3f} s"
    kept = f", from the cache ({past.cache})" if past.cache in ("hit", "shared") else ""
    cost = "no price" if past.cost_usd is None else f"{past.cost_usd} usd"
    return f"{past.id}, {when}, {who}: {past.outcome}{took}{kept}, {cost}"


_HEAD = ("", "deployment", "lane", "after", "took", "outcome", "usd", "mark", "because of")


def _attempts(past: Record) -> list[tuple[str, ...]]:
    """A row for each attempt and each tool that ran, as they began: seconds after the request came in, and seconds
    that it took."""
    steps = [(each.started, _cells(number, each, past.opened)) for number, each in enumerate(past.attempts, 1)]
    steps += [(each.started, _tool_cells(each, past.opened)) for each in past.tools]
    return [cells for _, cells in sorted(steps, key=lambda step: step[0])]


def _cells(number: int, attempt: Attempt, opened: float) -> tuple[str, ...]:
    first = "" if attempt.first_token is None else f", first token {attempt.first_token - attempt.started:.3f} s"
    ended = f"{_outcome(attempt)}{f' ({attempt.status})' if attempt.status else ''}"
    asked = f"round {attempt.round}, " if attempt.round else ""
    why = f"{asked}{attempt.via}{f'; {attempt.detail}' if attempt.detail else ''}"
    after, took = _times(attempt, opened)
    return (f"{number}.", attempt.deployment, attempt.lane, after, took + first, ended, *_money(attempt), why)


def _tool_cells(call: ToolCall, opened: float) -> tuple[str, ...]:
    why = f"called in round {call.round}"
    return ("", call.function, "mcp", *_times(call, opened), call.outcome or "running", *_money(call), why)


def _times(step: Attempt | ToolCall, opened: float) -> tuple[str, str]:
    return f"{step.started - opened:.3f} s", "" if step.ended is None else f"{step.ended - step.started:.3f} s"


def _money(step: Attempt | ToolCall) -> tuple[str, str]:
    return "no price" if step.cost is None else usd(step.cost), step.mark or ""


def _outcome(attempt: Attempt) -> str:
    if attempt.category is not None:
        return attempt.category.value
    return "answering" if attempt.ended is None else "answered"


def compact(exchange: Exchange) -> str:
    """An exchange in one line for a header: at most `LONGEST` letters of ASCII; no name holds what separates names."""
    return _cut("; ".join(f"{name}={','.join(values)}" for name, values in _parts(exchange) if values))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _parts(exchange: Exchange) -> Iterator[tuple[str, list[str]]]:
    """What is most important comes first."""
    made = exchange.plan
    yield "requested", [_safe(exchange.requested)]
    yield "tried", [f"{_safe(each.deployment)}>{_outcome(each)}" for each in exchange.attempts]
    yield "passed", [f"{_safe(each.deployment)}>{_safe(each.code)}" for each in exchange.passed]
    yield "cache", [exchange.cache] if exchange.cache else []
    if made is not None:
        yield "planned", [_safe(each.deployment) for each in made.candidates]
        yield "model", [_safe(made.model)]
        yield "strategy", [_safe(made.strategy)]
        yield "seed", [str(made.snapshot.seed)]
        yield "left_out", [f"{_safe(each.deployment)}>{_safe(each.rule)}" for each in made.excluded]
    for each in exchange.downgraded:
        yield "downgraded", [_safe(one.deployment) for one in each.candidates]
    yield "configuration", [_safe(exchange.version)]


def _safe(name: str) -> str:
    """A name without what would start another one; a client may have thought of it."""
    kept = (letter if letter.isascii() and (letter.isalnum() or letter in NAMES_LETTERS) else "?" for letter in name)
    return "".join(kept)[:100]
