"""What an operator does to virtual keys: create, list, show, rotate, revoke.

The command line and HTTP both call this. Each change is a line of the audit log. Knows records and their store; a
secret is told once, and never again.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import ValidationError

from scribe_router.audit import Actor, Audit
from scribe_router.errors import InvalidRequest
from scribe_router.names import did_you_mean
from scribe_router.policies.access import Name, may_use
from scribe_router.policies.keys import RANDOM, Spec, VirtualKey, made, rotated, signing_secret
from scribe_router.registry import Registry
from scribe_router.stores.keys import Kept, Keys

GRACE = "24h"
LONGEST_GRACE = 30 * 86400.0
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
TRIES = 5


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with the text that its owner sends, and, where it has to sign, the secret that it signs with. Both are told
    once."""

    key: VirtualKey
    text: str = field(repr=False)
    signing_secret: str = field(repr=False)


class Issuer:
    """Writes keys for one configuration. `randomness` gives so many bytes that nobody can guess.

    Every method but `every` raises `InvalidRequest`, whose `param` names what is wrong, and every one
    `StoreUnavailable`.
    """

    def __init__(
        self,
        registry: Registry,
        store: Keys,
        audit: Audit,
        clock: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        if registry.access is None:
            raise InvalidRequest("virtual keys need policies/access.yaml", code="no_access_policy")
        self._registry, self._access, self._store, self._audit = registry, registry.access, store, audit
        self._clock, self._randomness = clock, randomness

    async def create(self, asked: Mapping[str, Any], by: Actor) -> Issued:
        """A new key. `asked` are the fields of a `Spec`; `expires` may be a time from now, such as 90d, or a day."""
        now = self._clock()
        spec = _spec({**asked, "expires": moment(asked.get("expires"), now)})
        self._check(spec, now)
        text, key = made(spec, self._randomness(RANDOM), self._access.hash_key(), now)
        done = await self._store.write(key.id, key.name, key.model_dump_json(), 0)
        self._note(by, "keys.create", "done" if done else "name_taken", spec.name, key.id)
        if not done:
            raise _wrong("name", f"there is a key {spec.name} already, and a name stays for good; choose another")
        return self._issued(key, text)

    async def every(self) -> AsyncIterator[VirtualKey]:
        """All keys by name."""
        async for kept in self._store.every():
            yield _read(kept)

    async def show(self, name: str) -> VirtualKey:
        """One key by its name or its id."""
        return _read(await self._found(name))

    async def rotate(self, name: str, grace: str | float | None, by: Actor) -> Issued:
        """The key with a new secret. The old one opens for `grace` more, such as 24h, or 0."""
        seconds = _seconds("grace", GRACE if grace is None else grace)
        if seconds > LONGEST_GRACE:
            raise _wrong("grace", "an old secret opens for 30d more at most")
        told = ""

        def change(key: VirtualKey, now: float) -> VirtualKey:
            nonlocal told
            if key.revoked is not None:
                raise _wrong("name", f"{key.name} was revoked; create another key")
            told, newer = rotated(key, self._randomness(RANDOM), self._access.hash_key(), now, seconds)
            return newer

        changed = await self._change(name, "keys.rotate", by, change)
        return self._issued(changed, told)

    async def revoke(self, name: str, by: Actor) -> VirtualKey:
        """The key, which opens nothing any more, on any replica, within a second. Idempotent."""

        def change(key: VirtualKey, now: float) -> VirtualKey:
            return key if key.revoked is not None else key.model_copy(update={"revoked": now})

        return await self._change(name, "keys.revoke", by, change)

    def _issued(self, key: VirtualKey, text: str) -> Issued:
        kept, hash_key = bytes.fromhex(key.secrets[0].digest), self._access.hash_key()
        return Issued(key, text, signing_secret(key.id, kept, hash_key) if key.signed == "required" else "")

    async def disown(self, user: str, instead: str, by: Actor) -> None:
        """Put another name in a user's place in the keys that are its own. Their names stay for good."""

        def change(key: VirtualKey, now: float) -> VirtualKey:
            return key.model_copy(update={"user": instead}) if (key.user or key.name) == user else key

        async for key in self.every():
            if (key.user or key.name) == user:
                await self._change(key.id, "keys.disown", by, change)

    async def _change(
        self, name: str, act: str, by: Actor, change: Callable[[VirtualKey, float], VirtualKey]
    ) -> VirtualKey:
        for _ in range(TRIES):
            kept = await self._found(name)
            before = _read(kept)
            after = change(before, self._clock())
            if after == before or await self._store.write(kept.id, after.name, after.model_dump_json(), kept.version):
                self._note(by, act, "done", after.name, after.id)
                return after
        raise _wrong("name", f"{name} is being changed by somebody else; try again")

    async def _found(self, name: str) -> Kept:
        kept = await self._store.named(name) or (await self._store.find(name))[1]
        if kept is None:
            raise InvalidRequest(f"there is no key {name[:100]}", code="key_not_found", param="name", status=404)
        return kept

    def _check(self, spec: Spec, now: float) -> None:
        """What a shape cannot know: which names there are here, and what time it is."""
        names = (*self._registry.names(), *(each.row.model for each in self._registry.wildcards))
        for pattern in spec.models:
            routed = self._registry.members(self._registry.resolve(pattern.replace("*", "x")))
            if not routed and not may_use((pattern,), *names):
                hint = did_you_mean(pattern, names)
                raise _wrong("models", f"no model, group or alias is called {pattern}{hint}")
        for name in spec.fields or ():
            if name not in get_args(Name):
                raise _wrong("fields", f"there is no field {name}{did_you_mean(name, get_args(Name))}")
        for name in spec.limits:
            if name not in self._registry.named_limits:
                hint = did_you_mean(name, self._registry.named_limits)
                raise _wrong("limits", f"no limit {name} is named: true in budgets.yaml or limits.yaml{hint}")
        if spec.expires is not None and spec.expires <= now:
            raise _wrong("expires", "that is over; name a time that is to come")

    def _note(self, by: Actor, act: str, outcome: str, name: str, identity: str) -> None:
        self._audit.write(self._clock(), by, act, outcome, key=name, key_id=identity)


def moment(value: Any, now: float) -> float | None:
    """When something ends: seconds since the epoch, `90d` from now, or a day such as 2027-01-31, whose begin (UTC) is
    meant."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        return datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return now + _seconds("expires", value)


def _seconds(field: str, value: Any) -> float:
    """A length of time: seconds, or a number with s, m, h or d."""
    text = str(value)
    number, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "s")
    if isinstance(value, bool) or not number.isascii() or not number.isdigit() or len(number) > 9:
        raise _wrong(field, f"a time such as 24h or 90d, not {text[:50]}")
    return int(number) * UNITS[unit]


def _spec(asked: Mapping[str, Any]) -> Spec:
    try:
        return Spec.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "name"
        hint = did_you_mean(field, Spec.model_fields) if first["type"] == "extra_forbidden" else ""
        strange = first["type"] == "extra_forbidden"
        said = "there is no such field" if strange else first["msg"].removeprefix("Value error, ")
        raise _wrong(field[:50], said[:1].lower() + said[1:] + hint) from None


def _read(kept: Kept) -> VirtualKey:
    return VirtualKey.model_validate_json(kept.text)


def _wrong(field: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {text}", code="invalid_value", param=field)
