"""Which answers are kept, for whom and under which key: `policies/cache.yaml`. Absent, none is.

Knows what was asked, by whom, and how it was served; never where answers are kept, nor whether one is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from scribe_router.exchange import Call, Exchange, Json
from scribe_router.policies.schema import Shape
from scribe_router.principals import ANYWHERE, Demand, Principal

# By these a request asks for more than an answer to its words: state at the provider, the web of today, tools that act.
_MORE = ("store", "web_search_options", "enable_search", "plugins", "mcp_tools")
_CLIENTS_TOOLS = ("function", "custom")  # any other type is run by the provider
_LABELS = ("user", "safety_identifier")  # who asks, in the request's own words


class CachePolicy(Shape):
    """Keeps answers for `ttl_seconds` and gives them to identical requests, free of charge. `enabled` is true or false,
    or a list in which one true is enough.

    `store`: `memory` (of each process; LiteLLM's word for it is `local`), `disk` (the SQLite file `path`, for the
    processes of one machine) or `redis` (the server `redis`, for all machines). Memory and disk hold at most
    `max_bytes`; what was stored first goes first. Redis has its own bound, `maxmemory`. `share` is who gets an answer
    that somebody paid for: the same `principal` (key, user and team), its `team`, or `all`. `sampled` says whether a
    request for a `temperature` above 0 is one of those.
    """

    enabled: bool | tuple[bool, ...] = False
    store: Literal["memory", "local", "disk", "redis"] = "memory"
    path: str = Field(default=".scribe/cache.sqlite3", min_length=1)
    redis: str = Field(default="", pattern=r"^(rediss?(\+cluster)?://.+)?$", repr=False)
    ttl_seconds: float = Field(default=3600, gt=0, le=30 * 86400)
    max_bytes: PositiveInt = 100_000_000
    share: Literal["principal", "team", "all"] = "principal"
    sampled: bool = False

    @model_validator(mode="after")
    def _addressed(self) -> "CachePolicy":
        if self.on and self.store == "redis" and not self.redis:
            raise ValueError("store: redis needs the server's address, redis: redis://HOST:PORT")
        return self

    @property
    def on(self) -> bool:
        return self.enabled if isinstance(self.enabled, bool) else any(self.enabled)

    def key(self, call: Call, principal: Principal, version: str, demand: Demand = ANYWHERE) -> str | None:
        """The name of the answer to a call under a configuration, a hash; None where it is not to be kept."""
        if not self._keeps(call):
            return None
        who = self._who(principal)
        left_out = {"stream", "stream_options"} if who[0] == "principal" else {"stream", "stream_options", *_LABELS}
        body = {name: value for name, value in call.body.items() if name not in left_out}
        options = call.body.get("stream_options")
        if isinstance(options, Mapping):  # usage is kept always, and shown to who asks for it
            options = {name: value for name, value in options.items() if name != "include_usage"}
        # Who may ask for less, or be served in fewer places, gets no answer of the others.
        within = demand & principal.grant.demand
        may = principal.grant.models, within.regions, within.retention, within.hipaa
        wanted = [version, call.api, who, may, call.options.provider, call.options.lane, body, options or None]
        try:
            text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError):  # a job's own objects
            return None
        return hashlib.sha256(text.encode()).hexdigest()

    def _keeps(self, call: Call) -> bool:
        body = call.body
        if not self.on or call.options.cache == "no-store" or any(body.get(name) for name in _MORE):
            return False
        if call.api == "completions" and call.stream:  # of a plain answer only a chat is made
            return False
        tools = body.get("tools")
        if isinstance(tools, list) and not all(map(_clients_own, tools)):
            return False
        return self.sampled or not body.get("temperature")

    def _who(self, principal: Principal) -> tuple[str, ...]:
        if self.share == "all":
            return ("all",)
        if self.share == "team" and principal.team:
            return "team", principal.team
        return "principal", principal.name, principal.user, principal.team


def _clients_own(tool: Any) -> bool:
    return isinstance(tool, Mapping) and tool.get("type", "function") in _CLIENTS_TOOLS


def lasting(exchange: Exchange) -> bool:
    """Whether the answer of an exchange is what its request would get at any other time: no stand-in's, and not cut
    short by the money that was left, and not the web's of today, which a deployment may search unasked."""
    served = exchange.attempts[-1]
    candidates = exchange.plan.candidates if exchange.plan else ()
    searched = served.usage is not None and served.usage.searches > 0
    return (
        not searched
        and served.cap_origin != "clamped"
        and any(each.deployment == served.deployment and not each.fallback for each in candidates)
    )


def as_chunks(answer: Json) -> Iterator[Json]:
    """A plain answer as the chunks of a stream: all that each choice says, how each ends, the usage."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    choices = [
        {"index": place, **choice}
        for place, choice in enumerate(answer.get("choices") or ())
        if isinstance(choice, Mapping)
    ]
    for choice in choices:
        rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
        yield {**head, "choices": [{**rest, "delta": _delta(choice.get("message") or {}), "finish_reason": None}]}
    for choice in choices:
        end = {"index": choice["index"], "delta": {}, "finish_reason": choice.get("finish_reason")}
        yield {**head, "choices": [end]}
    if answer.get("usage"):
        yield {**head, "choices": [], "usage": answer["usage"]}


def _delta(message: Json) -> Json:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{"index": place, **call} for place, call in enumerate(calls)]}
