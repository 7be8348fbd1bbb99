"""What an operator has switched off for everybody: `policies/features.yaml`. Knows names of fields, no model."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from scribe_router.errors import InvalidRequest
from scribe_router.policies.schema import Shape

TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "mcp_tools")
OFF = "switched off in policies/features.yaml"


class Feature(Shape):
    """Whether it is there; where it is not, a request that asks for it is refused, or served without it (`strip`)."""

    enabled: bool = True
    when_off: Literal["refuse", "strip"] = "refuse"


class FeaturesPolicy(Shape):
    """Without `reasoning` models are told not to think, and those that cannot stop are left out. Without `tools` no
    model is given any. Without `hybrid_reasoning` models that think only when they are asked to are not asked. Without
    `mcp_integration` no request gets tools of MCP servers.

    With `fetch_urls` images and files that a message points to are fetched by this machine for models that take them as
    bytes only, never from private addresses; without it such a model is left out.
    """

    reasoning: Feature = Feature()
    tools: Feature = Feature()
    hybrid_reasoning: Feature = Feature()
    mcp_integration: Feature = Feature()
    fetch_urls: bool = False

    @property
    def all_on(self) -> bool:
        """Whether nothing is to be taken out of any request."""
        return self.reasoning.enabled and self.tools.enabled and self.mcp_integration.enabled

    def without(
        self, body: Mapping[str, Any], thinking: Collection[str], controls: Collection[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """A request without what is off, and what was taken out, in words. `controls` are all fields about reasoning,
        `thinking` those by which this request asks for it. Raises `InvalidRequest` where it is to be refused."""
        body, served = self._without_servers(body)
        calling = [name for name in ("tools", "functions", "mcp_tools") if body.get(name)]
        taken: set[str] = set()
        for feature, asking, names in ((self.reasoning, thinking, controls), (self.tools, calling, TOOLS)):
            if feature.enabled:
                continue
            if asking and feature.when_off == "refuse":
                raise _off(next(iter(asking)))
            taken.update(names)
        said = [f"{name} is taken out: it is {OFF}" for name in (*thinking, *calling) if name in taken]
        return {name: value for name, value in body.items() if name not in taken}, [*served, *said]

    def _without_servers(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
        """A request without what asks for MCP servers, ours and those that the provider would call."""
        tools = body.get("tools")
        kept = [each for each in tools if not _of_server(each)] if isinstance(tools, list) else tools
        asking = [name for name in ("mcp_tools",) if body.get(name)]
        asking += ["tools"] if kept != tools else []
        if self.mcp_integration.enabled or not asking:
            return body, []
        if self.mcp_integration.when_off == "refuse":
            raise _off(asking[0])
        rest = {name: value for name, value in body.items() if name not in ("mcp_tools", "tools")}
        if kept:
            rest["tools"] = kept
        elif "tools" in asking:  # without tools a provider refuses what is said of them
            rest = {name: value for name, value in rest.items() if name not in TOOLS}
        said = {
            "mcp_tools": f"mcp_tools is taken out: it is {OFF}",
            "tools": f"MCP servers are taken out of tools: {OFF}",
        }
        return rest, [said[name] for name in asking]


def _of_server(tool: Any) -> bool:
    return isinstance(tool, Mapping) and tool.get("type") == "mcp"


def _off(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is {OFF}", code="feature_off", param=name)
