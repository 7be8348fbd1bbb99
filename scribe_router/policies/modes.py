"""A provider's routing modes (`modes` in `policies/providers.yaml`): which one a request gets, and what that writes.

Knows names and bodies, no deployment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Modes:
    """`fields` are what each mode writes, `wishes` the mode behind an `optimize_for` (None: none), `usual` the one of
    requests that name none."""

    fields: Mapping[str, Fields] = field(default_factory=lambda: MappingProxyType({}))
    wishes: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    usual: str | None = None

    def chosen(self, named: str | None, wish: str | None) -> str | None:
        """The mode of a request: the one that its model's name ends in, else what it is to be optimised for."""
        if named in self.fields:
            return named
        return self.usual if wish is None else self.wishes.get(wish, self.usual)


NO_MODES = Modes()


def moded(body: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """The body with what a mode writes. What the client or the operator says stays; tools are added to theirs."""
    added = dict(body)
    for name, value in fields.items():
        said = body.get(name)
        if said is None:
            added[name] = value
        elif isinstance(said, Mapping) and isinstance(value, Mapping):
            added[name] = {**value, **said}
        elif isinstance(said, list) and isinstance(value, list):
            kinds = [each.get("type") for each in said if isinstance(each, Mapping)]
            added[name] = [*said, *(each for each in value if each["type"] not in kinds)]
    return added
