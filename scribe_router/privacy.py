"""What ledger, journal and keys hold of one user: shown line by line, or taken out.

Each opens the stores for itself, while proxies go on using them. Knows what is kept where, not how a command is typed.
Every function raises `ValueError` for what makes no sense, `StoreUnavailable`, and `OSError` for the journal.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

from scribe_router import journal_erasure
from scribe_router.access import Access
from scribe_router.audit import Actor, Audit
from scribe_router.policies.keys import VirtualKey
from scribe_router.registry import Registry
from scribe_router.stores import existing_ledger

ERASED = "erased-"


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was taken out. `names` are those of keys, which stay for good."""

    instead: str
    rows: int
    lines: int
    names: tuple[str, ...]


async def export(registry: Registry, user: str, out: TextIO) -> int:
    """Write all that is kept of a user as JSON lines, each with its `kind`; how many."""
    count = 0
    async for kind, said in _kept(registry, user):
        out.write(json.dumps({"kind": kind, **said}) + "\n")
        count += 1
    return count


async def _kept(registry: Registry, user: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    async for key in _keys(registry, user):
        yield "key", key.model_dump(mode="json", exclude={"secrets"})
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        async for row in ledger.export():
            if row["user"] == user:
                reported = row.get("reported")
                yield "ledger", row
                if reported:
                    named = {name: row[name] for name in ("exchange", "experiment", "arm")}
                    yield "outcome", named | reported
    for line in _lines(registry, user):
        yield "journal", line


def _lines(registry: Registry, user: str) -> Iterator[dict[str, Any]]:
    return journal_erasure.lines_of(Path(registry.store.journal), user) if registry.store.journal else iter(())


async def erase(registry: Registry, user: str, by: Actor, now: float) -> Erased:
    """Take a user out: of the journal its lines, of the ledger its name. Idempotent, and another try goes on where one
    was cut off. Raises `ValueError` while one of its keys is open: what it asks next would name it again."""
    if not user or user.startswith(ERASED):
        raise ValueError("name a user, as the ledger has it")
    owned = [key async for key in _keys(registry, user)]
    if opening := [key.name for key in owned if key.revoked is None and (key.expires is None or key.expires > now)]:
        raise ValueError(
            f"{', '.join(opening)} is still open; revoke the keys of {user} first: scribe-router keys revoke"
        )
    instead = _instead(registry, user)
    journal = registry.store.journal
    lines = await asyncio.to_thread(journal_erasure.erase, Path(journal), user) if journal else 0
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        rows = await ledger.erase(user, instead)
    await _disown(registry, user, instead, by)
    audit = Audit(Path(registry.store.audit) if registry.store.audit else None)
    audit.write(now, by, "privacy.erase", "done", instead=instead, rows=rows, lines=lines)
    return Erased(instead, rows, lines, tuple(key.name for key in owned))


def _instead(registry: Registry, user: str) -> str:
    """The name that stands in the user's place: with keys the same each time, and nobody without the hash key can tell
    of whom it is; else made up."""
    key = registry.access.hash_key() if registry.access is not None else os.urandom(32)
    digest = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=key, person=b"erased user")
    return f"{ERASED}{digest.hexdigest()}"


async def _keys(registry: Registry, user: str) -> AsyncIterator[VirtualKey]:
    async with _access(registry) as access:
        if access.issuer is not None:
            async for key in access.issuer.every():
                if (key.user or key.name) == user:
                    yield key


async def _disown(registry: Registry, user: str, instead: str, by: Actor) -> None:
    async with _access(registry) as access:
        if access.issuer is not None:
            await access.issuer.disown(user, instead, by)


@asynccontextmanager
async def _access(registry: Registry) -> AsyncIterator[Access]:
    access = Access(registry, time.time, patient=True)
    try:
        yield access
    finally:
        await access.aclose()
