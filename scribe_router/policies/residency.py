"""Where requests may be served, and by whom: `policies/residency.yaml`. Absent, only keys and requests say so.

Knows demands, and the marks of a place; never a deployment, nor how a request got there. Demands only ever add up, and
what is not known of a place counts as not so.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import Field

from scribe_router.errors import InvalidRequest
from scribe_router.policies.schema import Retention, Shape, days
from scribe_router.principals import ANYWHERE, Demand

REGIONS, ZERO_RETENTION = "regions", "zero_retention"  # of a request's metadata
_STRANGERS = frozenset({"server_url", "connector_id"})
COVERED = Demand(hipaa=True)


class Place(NamedTuple):
    """What is known of a deployment, or of a server of tools: its region, for how many days it keeps what it is sent,
    and whether a contract covers it under HIPAA. None and False are unknown."""

    region: str | None
    retention: int | None
    covered: bool


class Required(Shape):
    """What is demanded of whatever serves a request: a region among `regions`, to keep what it is sent for at most
    `retention` (`zero`, or days), and with `hipaa` to be covered."""

    regions: tuple[str, ...] | None = Field(default=None, min_length=1)
    retention: Retention | None = None
    hipaa: bool = False

    @property
    def demand(self) -> Demand:
        return Demand(self.regions, days(self.retention), self.hipaa)


class ResidencyPolicy(Shape):
    """What is demanded, by the name of a model, group or alias: it holds for every request for that name, wherever its
    fallbacks, experiments, limits and tools lead it; that of a model also for whatever else leads to its deployments.
    With `hipaa` every request is served by covered places alone, and nothing of it is kept."""

    hipaa: bool = False
    names: dict[str, Required] = Field(default_factory=dict)

    @cached_property
    def on(self) -> bool:
        return self.hipaa or bool(self.names)

    def demand(self, *names: str) -> Demand:
        """What is demanded of a request that asks for something by all these names."""
        found = COVERED if self.hipaa else ANYWHERE
        for name in names:
            if name in self.names:
                found &= self.names[name].demand
        return found


def asked(body: Mapping[str, Any], demand: Demand) -> Demand:
    """A demand with what a request demands beyond it. A wish that cannot be read is not taken for none: raises
    `InvalidRequest`."""
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return demand
    regions, zero = metadata.get(REGIONS), metadata.get(ZERO_RETENTION)
    if regions is not None:
        if not isinstance(regions, list) or not regions or not all(isinstance(each, str) and each for each in regions):
            raise _wrong(REGIONS, "must be a list of regions")
        demand &= Demand(regions=tuple(regions))
    if zero is not None:
        if not isinstance(zero, bool):
            raise _wrong(ZERO_RETENTION, "must be true or false")
        demand &= Demand(retention=0) if zero else ANYWHERE
    return demand


def led_away(body: Mapping[str, Any], demand: Demand) -> str | None:
    """The tool of a request that leads its provider to a server of somebody's, of which nothing is known, although
    something is demanded; None where there is none."""
    tools = body.get("tools")
    if demand == ANYWHERE or not isinstance(tools, list):
        return None
    places = (index for index, tool in enumerate(tools) if isinstance(tool, Mapping) and _STRANGERS & tool.keys())
    return next((f"tools[{index}]" for index in places), None)


def unlabelled(body: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """A request without labels that mean nothing here, since a plan and the journal repeat them: under HIPAA they may
    say too much. Those `known` stay."""
    provider = body.get("provider")
    meant = not isinstance(provider, str) or provider in known
    kept = {name: value for name, value in body.items() if name != "provider" or meant}
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(metadata.get("task"), str) and metadata["task"] not in known:
        kept["metadata"] = {name: value for name, value in metadata.items() if name != "task"}
    return kept


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"metadata.{name} {what}", code="invalid_type", param=f"metadata.{name}")


def misplaced(place: Place, demand: Demand) -> tuple[str, str] | None:
    """Why a place is not what is demanded: the rule, and the reason; None where it is."""
    if demand.regions is not None and place.region not in demand.regions:
        where = place.region or "no region that is known"
        among = ", ".join(demand.regions) or "none, since no region is in all that is demanded"
        return "region", f"it is in {where}, this request may be served in {among}"
    if demand.retention is not None and (place.retention is None or place.retention > demand.retention):
        keeps = "it is not known how long it keeps" if place.retention is None else f"{_days(place.retention)} it keeps"
        return "retention", f"{keeps} what it is sent, this request allows {_days(demand.retention)}"
    if demand.hipaa and not place.covered:
        return "covered", "it is not marked as covered, this request is under HIPAA"
    return None


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"
