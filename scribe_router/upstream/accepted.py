"""What of a body a deployment's models accept: how it is told to reason, which tools may be forced, and its quirks.

Pure; whatever is not sent as it was asked is said.
"""

from scribe_router.deployment import Deployment
from scribe_router.exchange import Json
from scribe_router.policies.quirks import fitted, streamed
from scribe_router.policies.reasoning import Encoded, Family, forced_tool, tool_name, written, yielding


def accepted(
    body: Json, deployment: Deployment, effort: Encoded | None
) -> tuple[Json, Encoded | None, tuple[str, ...]]:
    """The body with the effort in it and without what these models refuse; the effort that is left; what is said."""
    said: list[str] = []
    family, thinking = deployment.family, False
    if family is not None:
        body, effort = _forced(body, family, effort, said)
        thinking = family.level(body, effort) != "none"
        refused = (*family.never, *(family.never_thinking if thinking else ()))
        said += [f"{name} is not sent: {body['model']} refuses it" for name in dict.fromkeys(refused) if name in body]
        body = {name: value for name, value in body.items() if name not in refused}
        body = body if effort is None else written(body, effort)
    body, changed = fitted(deployment.quirks, body)
    if streamed(deployment.quirks, thinking=thinking):
        body |= {"stream": True, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
    return body, effort, (*said, *changed)


def _forced(body: Json, family: Family, effort: Encoded | None, said: list[str]) -> tuple[Json, Encoded | None]:
    """The body with such a choice of tools as the family takes; where its thinking has to give way, without."""
    name = forced_tool(body)
    takes = "any" if name is None else family.forces(thinking=family.level(body, effort) != "none")
    if takes == "any" or not body.get("tools") or (takes == "required" and not name):
        return body, effort
    if takes == "unthinking":
        return body, yielding(family)
    alone = [tool for tool in body["tools"] if name and tool_name(tool) == name]
    sent, why = ("required", "takes no tool by its name") if takes == "required" else ("auto", "takes no forced tool")
    only = f", with {name} as the only tool" if alone else ""
    said.append(f"tool_choice is sent as {sent}{only}: {body['model']} {why}")
    return {**body, "tool_choice": sent, "tools": alone or body["tools"]}, effort
