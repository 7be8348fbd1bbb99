"""Whether a Redis still holds what it held: each shard has an epoch, and who has seen one refuses any other.

`new:ID` is a ledger being born, `born:ID` a ledger, `lost:ID` one that somebody has seen hold more than it does,
`rebuilding:ID` one whose counters are being written, `rebuilt:ID` one whose counters were written from its rows by an
operator's `rebuild`, after which all may go on. A process that has never seen an epoch cannot tell an emptied Redis
from a new one, unless somebody else told; of a cluster it can, unless all of it was emptied.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_link import FORGOT, Fault, Forgot, Link, NotSent

SWAP = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end return 1"


def agree(link: Link, shards: Sequence[str], seen: Sequence[str] | None) -> tuple[str, ...]:
    """The epoch of each shard; a new ledger is born where there is none. Raises `NotSent`, `Forgot` to be condemned."""
    found = _read(link, shards)
    if any(epoch is not None and epoch.startswith("lost:") for epoch in found):
        raise NotSent(FORGOT, lasting=True)
    if any(epoch is not None and epoch.startswith("rebuilding:") for epoch in found):
        raise NotSent("its counters are being rebuilt; if that was cut off, rebuild again")
    if seen is None and all(epoch is None or epoch.startswith("new:") for epoch in found):
        found = _bear(link, shards)
    known = _whole(found)
    if known is None and seen is None:
        known = _whole(_read(link, shards))  # others may have been in the middle of its birth
    if known is None or (seen is not None and any(_lost(*pair) for pair in zip(seen, known, strict=True))):
        raise NotSent(FORGOT, lasting=True) if seen is None else Forgot(FORGOT, lasting=True)
    return known


def condemn(link: Link, shards: Sequence[str], seen: Sequence[str]) -> None:
    """Tell everyone, those who come later too, that acknowledged writes are missing; unless it was rebuilt since.

    Raises `Fault`.
    """
    lost = f"lost:{uuid.uuid4().hex}"
    for shard, before, found in zip(shards, seen, _read(link, shards), strict=True):
        if found is None:
            _ask(link, [_on(shard, "SET", lost, "NX")])
        elif found == before or not found.startswith(("rebuilt:", "rebuilding:", "lost:")):
            _swap(link, [shard], [found], [lost])


def replace(link: Link, shards: Sequence[str], state: str, before: Sequence[str] | None = None) -> tuple[str, ...]:
    """A new epoch on every shard, where `before` still stands if given. Raises `Fault`."""
    after = f"{state}:{uuid.uuid4().hex}"
    if before is None:
        _ask(link, [_on(shard, "SET", after) for shard in shards])
    else:
        _swap(link, shards, before, [after] * len(shards))
    found = _whole(_read(link, shards))
    if found is None or set(found) != {after}:
        raise NotSent("somebody else rebuilds it; see that only one does")
    return found


def _bear(link: Link, shards: Sequence[str]) -> list[str | None]:
    """Two steps, so that a shard without an epoch beside one that is born is known to have been emptied."""
    new = f"new:{uuid.uuid4().hex}"
    _ask(link, [_on(shard, "SET", new, "NX") for shard in shards])
    found = [epoch or "" for epoch in _read(link, shards)]
    _swap(link, shards, found, [epoch.replace("new:", "born:", 1) for epoch in found])
    return _read(link, shards)


def _whole(epochs: Sequence[str | None]) -> tuple[str, ...] | None:
    known = tuple(epoch for epoch in epochs if epoch is not None)
    return known if len(known) == len(epochs) else None


def _lost(seen: str, found: str) -> bool:
    return seen.partition(":")[2] != found.partition(":")[2] and not found.startswith("rebuilt:")


def _read(link: Link, shards: Sequence[str]) -> list[str | None]:
    return _ask(link, [_on(shard, "GET") for shard in shards])


def _swap(link: Link, shards: Sequence[str], before: Sequence[str], after: Sequence[str]) -> None:
    keys = [f"{shard}epoch" for shard in shards]
    swaps = zip(keys, before, after, strict=True)
    _ask(link, [Call(key, ("EVAL", SWAP, 1, key, old, new)) for key, old, new in swaps])


def _on(shard: str, command: str, *rest: str) -> Call:
    return Call(f"{shard}epoch", (command, f"{shard}epoch", *rest))


def _ask(link: Link, calls: list[Call]) -> list[Any]:
    answers = link.run(calls)
    for answer in answers:
        if isinstance(answer, Fault):
            raise answer
    return answers
