"""All that is known about one request while it is served, and the vocabulary that every other module speaks.

Nothing here knows how a fact was obtained: no YAML, HTTP, SQL, clock or LiteLLM. Money is integer nano-dollars
(1 USD = 1_000_000_000), times are float seconds since the epoch, sizes are tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

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
class Demand:
    """What is demanded of every place that serves a request. `regions` are where it may be (None: anywhere),
    `retention` the most days for which it keeps what it is sent (None: any, or unknown). With `hipaa` it has to be
    covered."""

    regions: tuple[str, ...] | None = None
    retention: int | None = None
    hipaa: bool = False

    @property
    def keeps_nothing(self) -> bool:
        """Whether we may keep nothing of it either."""
        return self.hipaa or self.retention == 0

    def __and__(self, other: "Demand") -> "Demand":
        """Both at once: it only ever narrows."""
        if other is self or other == ANYWHERE:
            return self
        theirs = other.regions
        mine = theirs if self.regions is None else self.regions
        both = mine if theirs is None or mine is None else tuple(each for each in mine if each in theirs)
        days = [each for each in (self.retention, other.retention) if each is not None]
        return Demand(both, min(days, default=None), self.hipaa or other.hipaa)


ANYWHERE = Demand()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a principal may; unless something is said, nothing.

    `models` are patterns of models, groups and aliases with at most one `*` each, `fields` those of our request fields
    that it may set, `regions` where it may be served, and `addresses` the networks that it has to call from; of these
    two none means any. `retention` and `hipaa` are demanded of what serves it. `limits` are the ids of limits that hold
    for those who name them. `signed` demands signed requests, `administers` opens what tells of others. `*` alone
    stands for all of a kind.
    """

    models: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    mcp_groups: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    signed: bool = False
    administers: bool = False
    retention: int | None = None
    hipaa: bool = False

    @property
    def demand(self) -> Demand:
        """What is demanded of whoever serves it."""
        if self.regions or self.hipaa or self.retention is not None:
            return Demand(self.regions or None, self.retention, self.hipaa)
        return ANYWHERE


NOTHING = Grant()
EVERYTHING = Grant(models=("*",), fields=("*",), tools=("*",), mcp_groups=("*",), administers=True)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what it may. `local` is a caller on loopback, or the process itself. `team` is empty for who has
    none."""

    name: str
    user: str
    team: str = ""
    grant: Grant = NOTHING


LOCAL = Principal(name="local", user="local", grant=EVERYTHING)


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
class Charge:
    """One scope that an attempt counts against: a limit, whose window it is, and the cap of that window.

    A counter that does not exist yet starts with the rows opened at or after `since` (the window's start) whose fields
    match, such as `(("user", "alice"),)`; with neither `since` nor `match` it starts at zero.
    """

    limit: str
    scope: str
    window: str
    cap: int
    since: float | None = None
    match: tuple[tuple[str, str], ...] = ()

    @property
    def counter(self) -> str:
        return f"{self.limit}|{self.scope}|{self.window}"


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


Rate = Literal["requests", "tokens", "concurrent"]  # the first two in any minute


@dataclass(frozen=True, slots=True)
class Draw:
    """What a request or an attempt takes of one limit of rate: `amount` of `most`."""

    limit: str
    scope: str
    rate: Rate
    most: int
    amount: int = 1

    @property
    def counter(self) -> str:
        return f"{self.limit}|{self.scope}|{self.rate}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How a limit of rate stands: `remaining` of `most`, and in `reset` seconds all of it if nothing more is asked."""

    most: int
    remaining: int
    reset: float


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
    plan; `number` is which. `held` is the row of the ledger by which the next round can be paid for.
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

    def receipt(self) -> "Receipt":
        """What the client is told about the exchange."""
        served = self.attempts[-1] if self.attempts else None
        return Receipt(
            request_id=self.id,
            model=(served.served or served.model.partition("/")[2]) if served else None,
            deployment=served.deployment if served else None,
            provider=served.provider if served else None,
            lane=served.lane if served else None,
            attempts=len(self.attempts),
            cost=self.cost,
            mark=served.mark if served else None,
            output_cap=None if served is None or served.cap is None else served.cap,
            cap_origin=served.cap_origin if served else "none",
            effort=(served.effort or None) if served else None,
            upstream_provider=(served.provided_by or None) if served else None,
            cache=self.cache,
            tool_calls=len(self.tools),
            tool_cost=self.tool_cost,
            warnings=tuple(self.warnings),
            allowances=self.allowances,
            upstream_limits=served.upstream_limits if served else {},
            experiment=self.exposure.label if self.exposure else None,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an answer tells about itself: `.scribe` in Python, `x-scribe-*` over HTTP.

    `model` is the provider's own name, `cost` nano-dollars over all attempts (None: still open, or without a price),
    `output_cap` the cap in tokens that was written upstream and `cap_origin` who chose it, `effort` the reasoning
    effort that was asked for and what was sent, `upstream_provider` who served behind a router of others' models,
    `cache` whether the answer is a stored one (`hit`), that of an identical request (`shared`) or neither (`miss`;
    None: it cannot be). `tool_calls` is how many MCP tools ran, `tool_cost` their part of the cost. `allowances` are
    what the caller's limits of rate leave, `upstream_limits` what the provider said of its own, as far as the lane sees
    it. `experiment` is the experiment and the arm, as `name=arm`.
    """

    request_id: str
    model: str | None
    deployment: str | None
    provider: str | None
    lane: Lane | None
    attempts: int
    cost: int | None
    mark: Mark | None
    output_cap: int | None
    cap_origin: str
    effort: str | None = None
    upstream_provider: str | None = None
    cache: Cached | None = None
    tool_calls: int = 0
    tool_cost: int | None = None
    warnings: tuple[str, ...] = ()
    allowances: Mapping[Rate, Allowance] = field(default_factory=dict)
    upstream_limits: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None

    @property
    def cost_usd(self) -> str | None:
        """The cost as a decimal string of USD."""
        return None if self.cost is None else usd(self.cost)

    @property
    def tool_cost_usd(self) -> str | None:
        """What MCP tools cost, as a decimal string of USD."""
        return None if self.tool_cost is None else usd(self.tool_cost)


def _sum(costs: list[int | None]) -> int | None:
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def usd(nano: int) -> str:
    """Nano-dollars as a decimal string of USD without an exponent: `usd(32_500_000) == "0.0325"`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(nano, 1_000_000_000)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"
