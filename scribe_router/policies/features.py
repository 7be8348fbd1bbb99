"""What an operator has switched off for everybody: `policies/features.yaml`. Knows names of fields, no model."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from scribe_router.errors import InvalidRequest
from scribe_router.policies.schema import Shape

TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")
OFF = "switched off in policies/features.yaml"


class Feature(Shape):
    """Whether it is there; where it is not, a request that asks for it is refused, or served without it (`strip`)."""

    enabled: bool = True
    when_off: Literal["refuse", "strip"] = "refuse"


class FeaturesPolicy(Shape):
    """Without `reasoning` models are told not to think, and those that cannot stop are left out. Without `tools` no
    model is given any. Without `hybrid_reasoning` models that think only when they are asked to are not asked.

    With `fetch_urls` images and files that a message points to are fetched by this machine for models that take them as
    bytes only, never from private addresses; without it such a model is left out.
    """

    reasoning: Feature = Feature()
    tools: Feature = Feature()
    hybrid_reasoning: Feature = Feature()
    fetch_urls: bool = False

    def without(
        self, body: Mapping[str, Any], thinking: Collection[str], controls: Collection[str]
    ) -> tuple[dict[str, Any], list[str]]:
        """A request without what is off, and what was taken out, in words. `controls` are all fields about reasoning,
        `thinking` those by which this request asks for it. Raises `InvalidRequest` where it is to be refused."""
        calling = [name for name in ("tools", "functions") if body.get(name)]
        taken: set[str] = set()
        for feature, asking, names in ((self.reasoning, thinking, controls), (self.tools, calling, TOOLS)):
            if feature.enabled:
                continue
            if asking and feature.when_off == "refuse":
                name = next(iter(asking))
                raise InvalidRequest(f"{name} is {OFF}", code="feature_off", param=name)
            taken.update(names)
        said = [f"{name} is taken out: it is {OFF}" for name in (*thinking, *calling) if name in taken]
        return {name: value for name, value in body.items() if name not in taken}, said
