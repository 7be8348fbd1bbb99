"""Why a deployment may not serve a request, whatever its state; the lane that can carry it; and what is said where
nothing remains. Pure."""

from collections.abc import Collection, Iterator
from itertools import islice

from scribe_router.deployment import Deployment
from scribe_router.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, PermissionDenied, RequestError
from scribe_router.exchange import Lane
from scribe_router.facts import Facts
from scribe_router.policies.features import OFF
from scribe_router.policies.providers import lacks_search
from scribe_router.policies.reasoning import LEVELS
from scribe_router.policies.residency import Place, ResidencyPolicy, misplaced
from scribe_router.preflight import FITS, fit, unmet
from scribe_router.principals import ANYWHERE, Demand
from scribe_router.registry import Registry
from scribe_router.values import value

NEAREST = 3  # models that an error names which would take the request
# What leaves a deployment out -> the error of a request for which nothing remains: its code, and its field.
LEFT_OUT = {
    "effort": ("effort_unavailable", "reasoning_effort"),
    "forced_tool": ("forced_tool_unavailable", "tool_choice"),
    "search": ("search_unavailable", "enable_search"),
    "feature": ("feature_off", "reasoning_effort"),
    "vision": ("vision_unavailable", "messages"),
    "tools": ("tools_unavailable", "tools"),
    "json_schema": ("json_schema_unavailable", "response_format"),
    "audio": ("audio_unavailable", "messages"),
    "fetch": ("fetch_not_allowed", "messages"),
    "window": ("context_length_exceeded", "messages"),
}


DEMANDED = ("region", "retention", "covered")
ASKED = ("vision", "tools", "json_schema", "audio", "window")


@value
class Exclusion:
    """A deployment that was considered and left out: the rule's name, and the reason with its numbers."""

    deployment: str
    rule: str
    reason: str


def lane_of(deployment: Deployment, request: Facts) -> Lane:
    """The lane that can carry the request; a pin of the operator's is checked against it."""
    if request.api == "completions":
        return "wire"
    if request.tools and deployment.litellm_lane_for_tools:
        effort = request.effort or deployment.params.get("reasoning_effort")
        if deployment.family is not None and effort in LEVELS:
            effort, _ = deployment.family.sent(effort)
        if effort != "none":
            return "litellm"
    return request.lane or deployment.lane


def outside(deployment: Deployment, demand: Demand, policy: ResidencyPolicy) -> tuple[str, str] | None:
    """Why a deployment may not be sent what is under a demand, and its own model's: the rule, and the reason."""
    if policy.on:
        demand &= policy.demand(deployment.model)
    if demand is ANYWHERE:
        return None
    return misplaced(Place(deployment.region, deployment.retention, deployment.covered), demand)


def exclusion(deployment: Deployment, request: Facts, registry: Registry) -> Exclusion | None:
    """Why a deployment is left out, whatever the length of the request; None if it is not. A rule is asked only where
    the request has what it is about: most have nothing."""
    demand, residency = request.demand, registry.residency
    anywhere = demand is ANYWHERE and not residency.on
    never = _cannot(deployment, request) or (None if anywhere else outside(deployment, demand, residency))
    if never is not None:
        return Exclusion(deployment.id, *never)
    if request.lane == "wire" and deployment.wire != "openai":
        return Exclusion(deployment.id, "lane", f"the wire lane was asked for, and it speaks {deployment.wire}")
    if deployment.off:
        return Exclusion(deployment.id, "feature", deployment.off)
    if deployment.only_unasked and request.effort not in (None, "none"):
        return Exclusion(deployment.id, "feature", f"it thinks only when it is asked to, which is {OFF}")
    if deployment.lacks and (need := unmet(deployment, request)):
        return Exclusion(deployment.id, *need)
    if request.links and not registry.features.fetch_urls and (fetching := _fetched(deployment, request)):
        return Exclusion(deployment.id, "fetch", fetching)
    if registry.effort.strict and (lacking := _lacks(deployment, request)):
        return Exclusion(deployment.id, *lacking)
    if registry.routing.strict_search and (unsearched := _lacks_search(deployment, request)):
        return Exclusion(deployment.id, "search", unsearched)
    if request.lane is not None and (lane := lane_of(deployment, request)) != request.lane:
        who = "text completions" if request.api == "completions" else "its tools"
        return Exclusion(deployment.id, "lane", f"the {request.lane} lane was asked for, and {who} need {lane}")
    return None


def _fetched(deployment: Deployment, request: Facts) -> str:
    """Why LiteLLM would fetch here what a client points to; empty where the provider does it, or nobody."""
    passed_on = {"openai": {"https", "other"}, "anthropic": {"https", "file"}}.get(deployment.wire, set())
    if request.links <= passed_on or lane_of(deployment, request) == "wire":
        return ""
    return "what a message points to would be fetched from here; send it as data:, or see fetch_urls in features.yaml"


def _cannot(deployment: Deployment, request: Facts) -> tuple[str, str] | None:
    """Why a deployment is not for this request at all, whatever it asks for: the rule, and the reason."""
    if deployment.mode != ("embedding" if request.api == "embeddings" else "chat"):
        return "mode", f"it is a model for {deployment.mode}, the request is for {request.api}"
    if request.api == "completions" and deployment.completions is None:
        return "mode", "it has no text completions"
    if deployment.missing:
        return "missing", deployment.missing
    return None


def nothing_left(name: str, excluded: Collection[Exclusion], request: Facts, registry: Registry) -> RequestError:
    """The error of a request that nothing behind a name can serve: each reason; and where that is the request's own,
    the nearest models that would take it."""
    text = f"nothing can serve {name}: {reasons(excluded)}"
    forbidden = next((rule for rule in DEMANDED if any(each.rule == rule for each in excluded)), None)
    if forbidden is not None:
        return PermissionDenied(text, code=f"{forbidden}_not_allowed", param="model")
    rule = next((rule for rule in LEFT_OUT if any(each.rule == rule for each in excluded)), None)
    if rule is None:
        return ModelNotFound(text, param="model")
    code, param = LEFT_OUT[rule]
    near = ", ".join(islice(_takers(rule, excluded, request, registry), NEAREST)) if rule in ASKED else ""
    kind = ContextLengthExceeded if rule == "window" else InvalidRequest
    return kind(f"{text}; try {near}" if near else text, code=code, param=param)


def reasons(excluded: Collection[Exclusion]) -> str:
    """Each reason once, with the deployments that it holds for."""
    found: dict[str, list[str]] = {}
    for each in excluded:
        found.setdefault(each.reason, []).append(each.deployment)
    return "; ".join(f"{reason} ({', '.join(deployments)})" for reason, deployments in found.items())


def _takers(rule: str, excluded: Collection[Exclusion], request: Facts, registry: Registry) -> Iterator[str]:
    """The models that are known to have what `rule` misses and could serve it; those at the same providers first."""
    providers = {registry.deployment(each.deployment).provider for each in excluded}
    every = sorted(registry.deployments.values(), key=lambda each: each.provider not in providers)
    able = (each for each in every if (each.window is not None if rule == "window" else rule in each.supports))
    fitting = (each for each in able if fit(each, request) == FITS)
    serving = (each for each in fitting if exclusion(each, request, registry) is None)
    yield from dict.fromkeys(each.model for each in serving)


def _lacks_search(deployment: Deployment, request: Facts) -> str:
    """Why a deployment cannot search the web for a request that wants it; empty if it can, or need not."""
    default = deployment.params.get("enable_search") is True
    if request.api != "chat" or not (default if request.search is None else request.search):
        return ""
    return lacks_search(deployment.search, deployment.upstream_model, tools=request.tools)


def _lacks(deployment: Deployment, request: Facts) -> tuple[str, str] | None:
    """Why a deployment cannot be asked for this effort, or be made to call a tool: the rule, and the reason."""
    family, effort = deployment.family, request.effort
    if family is None:
        return None if effort is None else ("effort", "it is not known how it is told to reason")
    sent = family.default if effort is None else family.sent(effort)[0]
    if effort not in (None, sent):
        return "effort", f"{effort} is not available, {sent} is the nearest"
    forces = family.forces(thinking=sent != "none") if request.forces_tool else "any"
    if forces == "never":
        return "forced_tool", "it cannot be made to call a tool"
    if forces == "unthinking" and effort is not None:
        return "effort", f"{effort} is not available, a forced tool leaves no thinking"
    return None
