"""Old model names and their successors: `policies/migrations.yaml`. Knows names and dates, no deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pydantic import RootModel, model_validator

from scribe_router.policies.schema import Shape

SOON = timedelta(days=30)


class Migration(Shape):
    """`to` serves requests for the old name. `retires` is the provider's shutdown date, `note` what changes."""

    to: str
    retires: date | None = None
    note: str | None = None


class MigrationsKnowledge(RootModel[dict[str, Migration]]):
    """Old name to successor."""

    @model_validator(mode="after")
    def _ends(self) -> "MigrationsKnowledge":
        for name in self.root:
            successor(self.root, name)
        return self


@dataclass(frozen=True, slots=True)
class Migrated:
    """The name that serves instead, and the warning that a client gets."""

    name: str
    warning: str


def successor(rows: Mapping[str, Migration], name: str) -> str:
    """The last name of the chain that starts at `name`. Raises ValueError when the chain runs in a circle."""
    seen = [name]
    while (row := rows.get(seen[-1])) is not None:
        if row.to in seen:
            raise ValueError(f"migrations run in a circle: {' -> '.join([*seen, row.to])}")
        seen.append(row.to)
    return seen[-1]


def migrate(rows: Mapping[str, Migration], name: str, today: date) -> Migrated | None:
    """What serves instead of `name`, with or without its provider's prefix; None when the name is not an old one."""
    known = listed(rows, name)
    row = rows.get(known)
    if row is None:
        return None
    last = successor(rows, known)
    note = f"; {row.note}" if row.note else ""
    return Migrated(last, f"{known}{retirement(row, today)} is served by {last}{note}")


def listed(rows: Mapping[str, Migration], name: str) -> str:
    """The name as the rows would have it: as it is, or without its provider's prefix."""
    return name if name in rows else name.rpartition("/")[2]


def ending(rows: Mapping[str, Migration], name: str, today: date) -> str | None:
    """What to say of a model that is served under this name and ends within a month, or has ended; else None."""
    known = listed(rows, name)
    row = rows.get(known)
    if row is None or row.retires is None or row.retires - SOON > today:
        return None
    note = f"; {row.note}" if row.note else ""
    return f"{known}{retirement(row, today)}: its successor is {successor(rows, known)}{note}"


def retired(rows: Mapping[str, Migration], name: str, today: date) -> tuple[Migrated, ...]:
    """What may serve instead of a name that its provider has shut down: the successor at the same provider, then
    wherever it is. Nothing for a name that was never old, or is served for some time yet."""
    prefix, slash, last = name.rpartition("/")
    migrated, row = migrate(rows, last, today), rows.get(last)
    if migrated is None or row is None or (row.retires is not None and row.retires > today):
        return ()
    return replace(migrated, name=f"{prefix}{slash}{migrated.name}"), migrated


def retirement(row: Migration, today: date) -> str:
    """` (retires 2026-12-11)`, ` (retired 2026-10-23)`, or nothing when no date is known."""
    if row.retires is None:
        return ""
    return f" (retire{'s' if row.retires > today else 'd'} {row.retires})"
