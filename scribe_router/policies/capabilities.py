"""What models are good at: `policies/capabilities.yaml`. Numbers from 0 to 10 by ability; knows no deployment."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, RootModel

from scribe_router.policies.schema import Shape

Tenths = Annotated[float, Field(ge=0, le=10)]


class Capable(Shape):
    """Abilities of the models whose names match one of `models`, whatever provider serves them; the longest wins."""

    models: tuple[str, ...] = Field(min_length=1)
    abilities: dict[str, Tenths]

    def matches(self, model: str) -> int:
        """How well it fits: the length of the longest pattern; 0 for not at all."""
        return max((len(each) for each in self.models if fnmatchcase(model, each.lower())), default=0)


class CapabilitiesKnowledge(RootModel[dict[str, Capable]]):
    """Name of a row to models and their abilities."""

    def abilities(self, upstream_model: str) -> Mapping[str, float]:
        """The abilities of a provider's model; empty when nobody wrote them down."""
        name = upstream_model.rpartition("/")[2].lower().replace(".", "-")
        best = max(self.root.values(), key=lambda each: each.matches(name), default=None)
        found = best is not None and best.matches(name)
        return MappingProxyType(best.abilities if best is not None and found else {})

    def names(self) -> frozenset[str]:
        """Every ability that a row names."""
        return frozenset(name for each in self.root.values() for name in each.abilities)
