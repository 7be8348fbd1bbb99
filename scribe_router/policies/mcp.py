"""MCP tools: `policies/mcp.yaml`. Which servers there are, which of their tools may be used, what a call costs.

Knows names and prices; never a session, nor what a server said.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, HttpUrl, SecretStr, model_validator

from scribe_router.exchange import Json, Mark, ToolOutcome
from scribe_router.money import NANO
from scribe_router.policies.schema import Retention, Shape

BETWEEN = "__"  # a server's name and a tool's, in the name that models see
LONGEST_NAME = 64  # of a function, at OpenAI and at Anthropic
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]
Fee = Literal["free", "refuse"] | Usd


class LiteLLMCosts(Shape):
    """LiteLLM's own way to say prices, in USD: a tool's, and that of every other tool of the server."""

    default_cost_per_query: Usd | None = None
    tool_name_to_cost_per_query: dict[str, Usd] = Field(default_factory=dict)


class McpServer(Shape):
    """One server: a `command` that is started here with `arguments`, in `folder` and with no more of our environment
    than `environment` names (and PATH, HOME and the like), or the `url` of one that speaks streamable HTTP, with
    `headers`.

    `tools` are patterns of the names of its tools that may be used. A call costs what `prices` says for its tool, else
    `price`: `free`, USD, or `refuse`; what has no price is refused. With `reported` a price that the server states in
    `_meta.cost.usd` counts, up to that price. A call that failed costs the same, or nothing (`failed: free`).
    `timeout_seconds` is for one call, `concurrent` bounds the calls at once, and `result_bytes` what a model is told of
    a result. `region`, `retention` (`zero`, or days) and `covered` say what is true of it, for requests that are bound
    to such places: those are not offered the tools of another one, nor of one that does not say.
    """

    command: str | None = Field(default=None, min_length=1)
    arguments: tuple[str, ...] = ()
    environment: dict[str, SecretStr] = Field(default_factory=dict)
    folder: str | None = None
    url: HttpUrl | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tools: tuple[str, ...] = ("*",)
    price: Fee = "refuse"
    prices: dict[str, Fee] = Field(default_factory=dict)
    mcp_server_cost_info: LiteLLMCosts | None = None
    reported: bool = False
    failed: Literal["price", "free"] = "price"
    timeout_seconds: float = Field(default=60.0, gt=0)
    concurrent: int = Field(default=8, ge=1)
    result_bytes: int = Field(default=65_536, ge=256)
    region: str | None = None
    retention: Retention | None = None
    covered: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "McpServer":
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has a command or a url")
        if self.url is not None and (self.arguments or self.environment or self.folder):
            raise ValueError("arguments, environment and folder belong to a command")
        if self.command is not None and self.headers:
            raise ValueError("headers belong to a url")
        if self.mcp_server_cost_info is not None and (self.price != "refuse" or self.prices):
            raise ValueError("prices are said once: as price and prices, or as mcp_server_cost_info")
        return self

    def offers(self, tool: str) -> bool:
        """Whether a tool of this server may be used at all."""
        return any(fnmatchcase(tool, pattern) for pattern in self.tools) and self.fee(tool) is not None

    def fee(self, tool: str) -> int | None:
        """What a call of a tool costs at most, in nano-dollars; None: it is refused."""
        if (theirs := self.mcp_server_cost_info) is not None:
            said: Fee | None = theirs.tool_name_to_cost_per_query.get(tool, theirs.default_cost_per_query)
        else:
            said = self.prices.get(tool, self.price)
        if said is None or said == "refuse":
            return None
        return 0 if said == "free" else int(Decimal(said) * NANO)


class McpGroup(Shape):
    """Tools under one name, by which a request may ask for them, and who may use them: virtual `keys` and `teams`, `*`
    for everybody; and keys that name the group themselves. `tools` are servers, or `server__tool` with patterns."""

    tools: tuple[str, ...] = Field(min_length=1)
    keys: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


class McpPolicy(Shape):
    """The servers by name, and the groups by which who is let in gets to their tools; this machine's own callers and
    the master key get to all.

    A request goes at most `rounds` times to a model for its tools, for at most `seconds`, and spends at most `usd` on
    them (empty: what its other limits leave). A tool that is called with the same arguments `repeats` times in one
    request is reported as a loop, once. Without `tracking` a call leaves no row in the ledger, so that only free tools
    may be used.
    """

    enabled: bool = True
    tracking: bool = True
    servers: dict[Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$", max_length=32)], McpServer] = Field(
        default_factory=dict
    )
    groups: dict[str, McpGroup] = Field(default_factory=dict)
    rounds: int = Field(default=8, ge=1, le=100)
    seconds: float = Field(default=300.0, gt=0)
    usd: Usd | Literal[""] | None = None
    repeats: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _distinct(self) -> "McpPolicy":
        if both := sorted(self.servers.keys() & self.groups.keys()):
            raise ValueError(f"{both[0]} is a server and a group; a request could not tell them apart")
        return self

    @property
    def cap(self) -> int | None:
        """What one request may spend on tools, in nano-dollars."""
        return int(self.usd * NANO) if isinstance(self.usd, Decimal) else None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a server as models see it: `function` is its name there, `fee` what a call costs at most, in
    nano-dollars, `schema` what the server says of its arguments, unchanged."""

    server: str
    name: str
    function: str
    fee: int
    description: str = ""
    schema: Json | None = None

    @property
    def place(self) -> str:
        """The name by which a request and a group ask for it."""
        return f"{self.server}{BETWEEN}{self.name}"

    def offered(self) -> Json:
        """The tool in OpenAI's format."""
        schema = self.schema if self.schema is not None else {"type": "object", "properties": {}}
        return {
            "type": "function",
            "function": {"name": self.function, "description": self.description, "parameters": schema},
        }


class Listed(NamedTuple):
    """A tool as its server lists it."""

    name: str
    description: str
    schema: Json


def catalogue(policy: McpPolicy, listings: Mapping[str, Sequence[Listed]]) -> dict[str, Tool]:
    """The tools that may be used, by the name that models see. `listings` are those of the servers that answered."""
    tools: dict[str, Tool] = {}
    for server, listed in listings.items():
        row = policy.servers[server]
        for each in listed:
            fee = row.fee(each.name)
            if fee is not None and row.offers(each.name) and (policy.tracking or not fee):
                function = _function(f"{server}{BETWEEN}{each.name}")
                tools[function] = Tool(server, each.name, function, fee, each.description, each.schema)
    return tools


def _function(name: str) -> str:
    """The name as every provider takes it. One that has to change ends in a hash of what it was, so that no two are
    the same."""
    fit = _UNFIT.sub("_", name)
    if fit == name and len(name) <= LONGEST_NAME:
        return name
    mark = blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{fit[: LONGEST_NAME - len(mark) - 1]}_{mark}"


def settled(row: McpServer, fee: int, outcome: ToolOutcome, reported: int | None) -> tuple[int, Mark]:
    """(cost in nano-dollars, mark) of a call. A server's own figure counts where the row says so, and never above what
    was reserved; nothing is known of a call whose answer did not come, so it counts as made."""
    if outcome in ("not_connected", "refused") or (outcome != "answered" and row.failed == "free"):
        return 0, Mark.ZERO
    if outcome in ("timeout", "lost"):
        return fee, Mark.DOUBT
    if row.reported and reported is not None:
        return min(fee, reported), Mark.REPORTED
    return fee, Mark.COMPUTED


def fingerprint(arguments: Any) -> str:
    """A hash of a call's arguments, whatever the order of their names."""
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
