"""All that is known about one request while it is served, and the vocabulary that every other module speaks.

Nothing here knows how a fact was obtained: no YAML, HTTP, SQL, clock or LiteLLM. Money is integer nano-dollars
(1 USD = 1_000_000_000), times are float seconds since the epoch, sizes are tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from scribe_router.counters import Allowance, Rate
from scribe_router.principals import ANYWHERE, Demand, Principal

if TYPE_CHECKING:
    from scribe_router.plan import Plan

Api = Literal["chat", "completions", "embeddings"]
Lane = Literal["wire", "litellm"]
Cached = Literal["hit", "miss", "shared"]
Level = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ToolOutcome = Literal["answered", "failed", "timeout", "lost", "not_connected", "refused"]
OptimizeFor = Literal["cost", "speed", "quality", "reasoning", "balance"]
Json = dict[str, Any]
# Fields of an assistant's message that hold what it thought; the last five are signed by their vendor.
Thought = Literal[
    "reasoning_content",
    "reasoning",
    "thinking_blocks",
    "reasoning_details",
    "provider_specific_fields",
    "extra_content",
    "reasoning_items",
]


class Category(StrEnum):
    """Why an attempt failed; it decides what happens next."""

    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    NETWORK = "network"
    TIMEOUT = "timeout"
    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_POLICY = "content_policy"
    STREAM = "stream"
    INTERNAL = "internal"


class Reached(StrEnum):
    """How far a failed attempt got, which decides what it may have cost."""

    NOT_CONNECTED = "not_connected"
    REPLIED = "replied"
    LOST = "lost"
    STREAMED = "streamed"
    ABORTED = "aborted"


class Mark(StrEnum):
    """Where the figure of a settled attempt comes from."""

    REPORTED = "reported"
    COMPUTED = "computed"
    BOUND = "bound"
    ZERO = "zero"
    DOUBT = "doubt"
    ABORT = "abort"
    SWEPT = "swept"
    RELEASED = "released"
    UNPRICED = "unpriced"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What the operator's own code may set for one call; never part of the API's parameters.

    `timeout` is the deadline of the whole call in seconds; `user` and `team` are who the money is charged to. With
    `cache`, as HTTP names it, no answer is taken from the cache, and with `no-store` none is put into it.
    """

    timeout: float | None = None
    provider: str | None = None
    lane: Lane | None = None
    user: str | None = None
    team: str | None = None
    cache: Literal["no-cache", "no-store"] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the client sent it: `body` is never re-modelled, only read and forwarded."""

    api: Api
    body: Json
    options: CallOptions = CallOptions()

    @property
    def model(self) -> str:
        name = self.body.get("model")
        return name if isinstance(name, str) else ""

    @property
    def stream(self) -> bool:
        return self.api != "embeddings" and bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt. `input` includes the cached ones, `output` includes `reasoning`.

    `searches` are web searches, `terms` what the reply says of its service tier, place and speed.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    reported_cost: int | None = None
    searches: int = 0
    terms: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        return self.input == 0 and self.output == 0


@dataclass(frozen=True, slots=True)
class Exposure:
    """The arm of an experiment that a request is in: what serves it, the part of all units that it has, and the unit as
    a digest."""

    experiment: str
    arm: str
    model: str
    share: float
    unit: str

    @property
    def label(self) -> str:
        return f"{self.experiment}={self.arm}"


class AttemptFailed(Exception):
    """An upstream attempt failed. `detail` is safe to show: no key, no prompt, no provider's raw text.

    `blameless` says that it tells nothing of the deployment: we ended it, or it was about the request itself.
    """

    def __init__(
        self,
        category: Category,
        reached: Reached,
        detail: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        error: Json | None = None,
        blameless: bool = False,
    ) -> None:
        super().__init__(detail)
        self.category = category
        self.reached = reached
        self.detail = detail
        self.status = status
        self.retry_after = retry_after
        self.error = error
        self.blameless = blameless


@dataclass(slots=True)
class Attempt:
    """One upstream attempt: what was reserved for it, how it ended and what it cost.

    `ceiling` is the most input tokens that can be billed; `recorded` is False where the ledger was away. `effort` says
    which reasoning effort was asked for and which was sent. `provided_by` and `served` are the provider and the model
    behind a router of others' models, where it names them. `round` is which one of a request with MCP tools it is of.
    """

    id: str
    deployment: str
    model: str
    provider: str
    lane: Lane
    started: float
    via: str
    bound: int = 0
    granted: int = 0
    ceiling: int = 0
    recorded: bool = True
    cap: int | None = None
    cap_origin: Literal["client", "default", "clamped", "none"] = "none"
    effort: str = ""
    provided_by: str = ""
    served: str = ""
    round: int = 0
    first_token: float | None = None
    ended: float | None = None
    category: Category | None = None
    reached: Reached | None = None
    detail: str = ""
    status: int | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    fees: int = 0
    usage: Usage | None = None
    cost: int | None = None
    mark: Mark | None = None
    upstream_limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passed:
    """A candidate that was sent nothing when its turn had come: the code of the refusal, and the reason."""

    deployment: str
    code: str
    reason: str


@dataclass(slots=True)
class ToolCall:
    """One call of an MCP tool: what was reserved for it (`fee`, nano-dollars), how it ended and what it cost.

    `function` is its name for models, `arguments` a hash of what it was called with; `reported` says that the cost is
    the server's own figure. `round` is the one in which the model called it.
    """

    id: str
    server: str
    tool: str
    function: str
    arguments: str
    fee: int
    started: float
    ended: float | None = None
    outcome: ToolOutcome | None = None
    cost: int | None = None
    mark: Mark | None = None
    reported: bool = False
    recorded: bool = True
    round: int = 0


@dataclass(slots=True)
class Exchange:
    """One request from its arrival to its settled end.

    `unplanned` says why there is no plan, `downgraded` are the plans that limits of money led to after it, and `passed`
    the candidates that were sent nothing.

    `cache` says where the answer came from, where one may come from the cache. `callers` are the exchanges that still
    wait for what this one does: its own, and those of identical requests. `allowances` are those of its caller's
    tightest limits of rate, `exposure` is the arm of the experiment that its name is under.

    `demand` is what every place that serves it has to be.

    A request with MCP tools goes to a model in rounds, each an exchange `of` this one that shares all but its call and
    plan; `number` is which, and `later` are the plans of all but the first. `held` is the row of the ledger by which
    the next round can be paid for.
    """

    id: str
    call: Call
    principal: Principal
    version: str
    opened: float
    requested: str = ""
    plan: "Plan | None" = None
    unplanned: str = ""
    downgraded: list["Plan"] = field(default_factory=list)
    later: list["Plan"] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcome: str = "open"
    ended: float | None = None
    allowances: dict[Rate, Allowance] = field(default_factory=dict)
    cache: Cached | None = None
    callers: set[str] = field(default_factory=set)
    tools: list[ToolCall] = field(default_factory=list)
    of: "Exchange | None" = None
    number: int = 0
    held: str | None = None
    exposure: Exposure | None = None
    demand: Demand = ANYWHERE

    def __post_init__(self) -> None:
        if self.of is None:  # whoever left does not come back for the next round
            self.callers.add(self.id)

    def round(self, call: Call, number: int) -> "Exchange":
        """One round of this request, counted from 1: `call` is what it says to the model now."""
        return replace(self, call=call, plan=None, of=self, number=number)

    @property
    def abandoned(self) -> bool:
        return not self.callers

    @property
    def cost(self) -> int | None:
        """Nano-dollars over all attempts and tools; None while one is open, or has no price."""
        return _sum([*(each.cost for each in self.attempts), *(each.cost for each in self.tools)])

    @property
    def tool_cost(self) -> int | None:
        """Nano-dollars over all calls of MCP tools; None while one is open, or where there was none."""
        return _sum([each.cost for each in self.tools]) if self.tools else None

    @property
    def spent(self) -> int:
        """Nano-dollars so far, with what is reserved for what is under way."""
        attempts = sum(each.granted if each.cost is None else each.cost for each in self.attempts)
        return attempts + sum(each.fee if each.cost is None else each.cost for each in self.tools)


def _sum(costs: list[int | None]) -> int | None:
    return None if None in costs else sum(cost for cost in costs if cost is not None)
