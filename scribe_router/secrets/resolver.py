"""What a kind of reference has to do, and the two ways in which it fails. Their messages are shown, so none of them
holds a secret."""

from typing import Protocol

from scribe_router.errors import ScribeError


class Unresolved(ScribeError):
    """A secret cannot be read. The message says why, and what to do."""


class Missing(Unresolved):
    """There is nothing under this name."""


class Resolver(Protocol):
    """Looks up what stands after `SCHEME/`. Raises `Missing` and `Unresolved`."""

    def __call__(self, name: str, /) -> str: ...
