"""One exchange as a line of the journal says it, and as it is read again: all but what was said. No content.

Knows finished exchanges; never files. What a plan was made from is there, so that it can be made again.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from scribe_router import __version__
from scribe_router.encoding import json_line
from scribe_router.exchange import Api, Attempt, Cached, Exchange, Exposure, Json, Passed, ToolCall
from scribe_router.money import usd
from scribe_router.plan import Plan
from scribe_router.policies.parameters import API


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange. `software` is the version of this package, `version` that of the configuration. `unplanned` says
    why there is no plan; `downgraded` are the plans that limits led to after it, `later` those of all rounds with MCP
    tools but the first, `passed` the candidates that were
    asked nothing. `messages` are roles and lengths, `parameters` numbers and flags; under HIPAA no name, label or
    warning of the client's own is there."""

    id: str
    opened: float
    ended: float | None
    software: str
    version: str
    api: Api
    principal: str
    user: str
    team: str
    requested: str
    stream: bool
    messages: tuple[Json, ...]
    parameters: Json
    plan: Plan | None
    unplanned: str
    downgraded: tuple[Plan, ...]
    attempts: tuple[Attempt, ...]
    passed: tuple[Passed, ...]
    tools: tuple[ToolCall, ...]
    cache: Cached | None
    experiment: Exposure | None
    warnings: tuple[str, ...]
    outcome: str
    cost_usd: str | None
    later: tuple[Plan, ...] = ()

    @classmethod
    def of(cls, exchange: Exchange) -> "Record":
        """The record of an exchange, lengths and roles instead of content."""
        body, messages = exchange.call.body, exchange.call.body.get("messages")
        record = cls(
            id=exchange.id,
            opened=exchange.opened,
            ended=exchange.ended,
            software=__version__,
            version=exchange.version,
            api=exchange.call.api,
            principal=exchange.principal.name,
            user=exchange.principal.user,
            team=exchange.principal.team,
            requested=exchange.requested,
            stream=exchange.call.stream,
            messages=tuple(map(_message, messages)) if isinstance(messages, list) else (),
            parameters={name: value for name, value in body.items() if isinstance(value, int | float | bool)},
            plan=exchange.plan,
            unplanned=exchange.unplanned,
            downgraded=tuple(exchange.downgraded),
            attempts=tuple(exchange.attempts),
            passed=tuple(exchange.passed),
            tools=tuple(exchange.tools),
            cache=exchange.cache,
            experiment=exchange.exposure,
            warnings=tuple(exchange.warnings),
            outcome=exchange.outcome,
            cost_usd=None if exchange.cost is None else usd(exchange.cost),
            later=tuple(exchange.later),
        )
        return record._bare() if exchange.demand.hipaa else record

    def _bare(self) -> "Record":
        """The record without any word of the client's own: under HIPAA even a label may say too much."""
        return replace(
            self,
            requested=self.plan.requested if self.plan else "",
            messages=tuple({"role": None, "length": each["length"]} for each in self.messages),
            parameters={name: value for name, value in self.parameters.items() if name in API[self.api]},
            unplanned="no plan was made" if self.unplanned else "",
            warnings=(),
        )

    @classmethod
    def read(cls, line: Json) -> "Record":
        """The record that a line holds. Raises `ValueError` where it is none of this version's."""
        return _records().validate_python(line)

    def as_json(self) -> Json:
        """The record as its line holds it: what is as usual is left out of its parts."""
        return _records().dump_python(self, mode="json", exclude_defaults=True, warnings=False)  # type: ignore[no-any-return]

    def line(self) -> bytes:
        """The line, with its end."""
        return json_line(self.as_json())


@cache
def _records() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


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
