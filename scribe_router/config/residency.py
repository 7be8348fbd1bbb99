"""Promises of `policies/residency.yaml` that cannot be kept: nothing behind a name is what it demands, or a fallback
leads to where it may not go; and what would keep content under HIPAA."""

from collections.abc import Iterable, Mapping

from scribe_router.config.chains import Chains
from scribe_router.config.documents import Document
from scribe_router.config.naming import Names
from scribe_router.config.problems import Path_
from scribe_router.deployment import Deployment
from scribe_router.eligible import outside
from scribe_router.names import did_you_mean
from scribe_router.policies.cache import CachePolicy
from scribe_router.policies.residency import ResidencyPolicy
from scribe_router.principals import Demand

LOUD = ("LITELLM_LOG", "OPENAI_LOG", "ANTHROPIC_LOG")  # whose loggers write what is sent, at DEBUG


def check_promises(policy: ResidencyPolicy, document: Document, names: Names, chains: Chains) -> None:
    """Report names of nobody, demands that nothing behind a name meets, and fallbacks that lead out of one."""
    for name in policy.names:
        if not names.has(name):
            hint = did_you_mean(name, names.everything())
            document.report(("names", name), f"there is no model, group or alias {name}{hint}", key=True)
            continue
        target = names.aliases.get(name, name)
        demand = policy.demand(name, target)
        _check_name(name, demand, policy, document, names)
        for path, fallback in _fallbacks(name, names, chains):
            if lost := _all_outside(names.deployments(fallback), demand, policy):
                names.problem(path, f"{fallback} leads out of what policies/residency.yaml demands of {name}: {lost}")
    if policy.hipaa and (lost := _all_outside(_every(names), policy.demand(), policy)):
        document.report(("hipaa",), f"no deployment may serve anything: {lost}")


def _check_name(name: str, demand: Demand, policy: ResidencyPolicy, document: Document, names: Names) -> None:
    behind = names.deployments(name)
    if lost := _all_outside(behind, demand, policy):
        document.report(("names", name), f"nothing behind {name} is what is demanded: {lost}", key=True)
        return
    for each in behind:
        if (why := outside(each, demand, policy)) is not None:
            text = f"{each.id} never serves {name}: {why[1]}"
            document.report(("names", name), text, key=True, severity="warning")


def _all_outside(behind: Iterable[Deployment], demand: Demand, policy: ResidencyPolicy) -> str:
    """Why none of these may serve under a demand; empty where one may, or where there are none."""
    reasons = [outside(each, demand, policy) for each in behind]
    return "; ".join(dict.fromkeys(why[1] for why in reasons if why is not None)) if None not in reasons else ""


def _fallbacks(name: str, names: Names, chains: Chains) -> list[tuple[Path_, str]]:
    """The fallbacks of a name, of its members, and of those in turn, each with its place."""
    edges = list(chains.edges())
    reached, queue, found = set[str](), [name], list[tuple[Path_, str]]()
    while queue:
        each = queue.pop(0)
        if each in reached:
            continue
        reached.add(each)
        target = names.aliases.get(each, each)
        queue += [target, *(names.groups[target].models if target in names.groups else ())]
        for path, source, fallback in edges:
            if source == each and (path, fallback) not in found:
                found.append((path, fallback))
                queue.append(fallback)
    return found


def _every(names: Names) -> list[Deployment]:
    rows = [each for model in names.models.values() for each in model]
    return [*rows, *(each.row for each in names.wildcards)]


def check_traces(
    policy: ResidencyPolicy,
    document: Document,
    cache: CachePolicy,
    cache_file: Document,
    environment: Mapping[str, str],
) -> None:
    """A cache, or a library's log of what is sent, where nothing may be kept."""
    hipaa = policy.hipaa or any(each.hipaa for each in policy.names.values())
    if policy.hipaa and cache.on:
        why = "policies/residency.yaml says hipaa, so no answer may be kept; switch the cache off"
        cache_file.report(("enabled",), why)
    for name in LOUD:
        if hipaa and environment.get(name, "").upper() == "DEBUG":
            at = ("hipaa",) if policy.hipaa else ("names",)
            document.report(at, f"{name} is DEBUG, which writes what is sent into the log; unset it")
