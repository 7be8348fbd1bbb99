"""How much a model reasons when nobody says, and what `auto` means: `policies/effort.yaml`. Knows a request's facts."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from scribe_router.exchange import Level
from scribe_router.policies.schema import OfTask, Shape, Traits


class Rule(OfTask):
    """`effort` is for a request that is all that the rule says."""

    effort: Level


class EffortPolicy(Shape):
    """`auto` are rules, the first that holds decides. `defaults` are for requests that say nothing: a level, or auto,
    by the name of a model or of a provider (the model's counts). With `strict` a candidate that lacks the level is left
    out, and a request for which none is left is refused."""

    strict: bool = False
    defaults: Mapping[str, Level | Literal["auto"] | None] = Field(default_factory=dict)
    auto: tuple[Rule, ...] = ()

    @field_validator("defaults", mode="before")
    @classmethod
    def _empty_is_none(cls, defaults: Any) -> Any:
        """A variable that is not set is an empty text."""
        return {name: level or None for name, level in defaults.items()} if isinstance(defaults, dict) else defaults

    def known_tasks(self) -> frozenset[str]:
        """The tasks that mean something here."""
        return frozenset(task for each in self.auto for task in each.task or ())

    def default(self, model: str, provider: str) -> str | None:
        """What a deployment is asked for when the request says nothing; None leaves it to the model."""
        return self.defaults.get(model) or self.defaults.get(provider)

    def chosen(self, traits: Traits) -> Level | None:
        """What `auto` means for a request; None where no rule holds: it is left to the model."""
        for rule in self.auto:
            if rule.holds(traits):
                return rule.effort
        return None
