"""Who asks, what it may, and what it demands of whatever serves it. Nothing here knows where a principal came from: no
key, file or store."""

from dataclasses import dataclass


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
