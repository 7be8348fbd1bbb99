"""Whose keys are tried where, and what came of it. Knows the registry and what is shown; how it is asked, it leaves.

Each host is asked once for each key, whatever the number of deployments. No key is shown, nor kept in what is found.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from scribe_router.deployment import Deployment
from scribe_router.errors import ConfigError
from scribe_router.policies.health import Verdict, verdict
from scribe_router.registry import Registry

SHOWN = 3  # deployments of a line


@dataclass(frozen=True, slots=True)
class Question:
    """A request that tells whether a host takes a key. `public`: it would answer without one."""

    url: str
    headers: tuple[tuple[str, str], ...]
    public: bool

    def __repr__(self) -> str:
        return f"Question({self.url})"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a host says of a key, which is shown by the name of its variable."""

    deployments: tuple[str, ...]
    host: str
    key: str
    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        more = len(self.deployments) - SHOWN
        names = ", ".join(self.deployments[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{self.verdict}: {self.key} at {self.host}: {self.reason} ({names})"


def question(deployment: Deployment) -> Question | None:
    """How a deployment's host is asked; None where it is not known."""
    listing, base = deployment.listing, deployment.api_base
    if listing is None or base is None or deployment.missing:
        return None
    key = deployment.api_key
    said = {listing.header: f"Bearer {key}" if listing.header == "Authorization" else key} if key else {}
    headers = {**said, **deployment.headers}
    return Question(f"{base}{listing.path}", tuple(sorted(headers.items())), listing.public)


def by_question(deployments: Iterable[Deployment]) -> Mapping[Question | None, list[Deployment]]:
    """Deployments by the request that tells of them."""
    found: dict[Question | None, list[Deployment]] = {}
    for each in deployments:
        found.setdefault(question(each), []).append(each)
    return found


async def verified(registry: Registry) -> tuple[Finding, ...]:
    """Try every key that a deployment has. Takes twice `health.seconds` at most."""
    from scribe_router.upstream.listings import ask_all

    rows = (*registry.deployments.values(), *(each.row for each in registry.wildcards))
    groups = by_question(each for each in rows if each.api_key and not each.missing)
    policy, asked = registry.health, [each for each in groups if each is not None and not each.public]
    failures = await ask_all([(each.url, dict(each.headers)) for each in asked], policy.seconds, policy.at_once)
    told = dict(zip(asked, failures, strict=True))
    found = []
    for each, behind in groups.items():
        if each in told:
            failure = told[each]
            reason = "it is taken" if failure is None else failure.detail
            found.append(_finding(behind, verdict(failure), reason))
        else:
            found += _untold(behind)
    return tuple(sorted(found, key=lambda each: (each.host, each.key)))


def _untold(deployments: list[Deployment]) -> list[Finding]:
    """One for each host that has nothing to try a key with."""
    hosts: dict[tuple[str, str], list[Deployment]] = {}
    for each in deployments:
        hosts.setdefault((_host(each), each.provider), []).append(each)
    return [_finding(behind, "unknown", "nothing is known that tells of a key there") for behind in hosts.values()]


def _finding(deployments: list[Deployment], said: Verdict, reason: str) -> Finding:
    first = deployments[0]
    return Finding(tuple(each.id for each in deployments), _host(first), first.key_name or "its key", said, reason)


def _host(deployment: Deployment) -> str:
    return urlsplit(deployment.api_base or "").netloc or deployment.provider


def at_start(registry: Registry) -> tuple[Finding, ...]:
    """What `verify` in policies/health.yaml finds, nothing where it is off. Raises `ConfigError` with every wrong key
    where those end the start."""
    if registry.health.verify == "off":
        return ()
    found = asyncio.run(verified(registry))
    wrong = tuple(str(each) for each in found if each.verdict == "wrong")
    if wrong and registry.health.verify == "fail":
        raise ConfigError((*wrong, "verify: fail in policies/health.yaml ends the start"))
    return found


def dumped(found: Iterable[Finding]) -> str:
    """Findings as text, for another process."""
    return json.dumps([asdict(each) for each in found])


def loaded(text: str) -> tuple[Finding, ...]:
    """Findings from their text."""
    return tuple(Finding(**{**each, "deployments": tuple(each["deployments"])}) for each in json.loads(text))
