"""What models are good at: `policies/capabilities.yaml`. Numbers from 0 to 10 by ability; knows no deployment."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, RootModel

from scribe_router.policies.schema import OfModels, fitting

Tenths = Annotated[float, Field(ge=0, le=10)]


class Capable(OfModels):
    """Abilities of the models whose names match one of `models`, whatever provider serves them; the longest wins."""

    abilities: dict[str, Tenths]


class CapabilitiesKnowledge(RootModel[dict[str, Capable]]):
    """Name of a row to models and their abilities."""

    def abilities(self, upstream_model: str) -> Mapping[str, float]:
        """The abilities of a provider's model; empty when nobody wrote them down."""
        found = fitting(self.root.values(), upstream_model)
        return MappingProxyType(found.abilities if found is not None else {})

    def names(self) -> frozenset[str]:
        """Every ability that a row names."""
        return frozenset(name for each in self.root.values() for name in each.abilities)
