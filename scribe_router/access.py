"""All that decides who gets in, for one configuration: the keys, who looks them up, who writes them, and the audit log.

Without `access.yaml` there are no keys, and no store is opened for them.
"""

import os
from collections.abc import Callable
from pathlib import Path

from scribe_router.audit import Audit
from scribe_router.issuer import Issuer
from scribe_router.keyring import Keyring
from scribe_router.registry import Registry
from scribe_router.stores import open_keys
from scribe_router.stores.nonces import Nonces, open_nonces


class Access:
    """`keyring`, `issuer` and `nonces` are None where nobody needs a key. `patient` says that no request waits."""

    def __init__(self, registry: Registry, clock: Callable[[], float], *, patient: bool = False) -> None:
        self.policy = registry.access
        self.audit = Audit(Path(registry.store.audit) if registry.store.audit else None)
        self.keyring: Keyring | None = None
        self.issuer: Issuer | None = None
        self.nonces: Nonces | None = None
        if registry.access is not None:
            store = open_keys(registry.store.url, registry.store.durability, patient=patient)
            self.nonces = open_nonces(registry.store.url, clock)
            self.keyring = Keyring(registry.access, store, clock)
            self.issuer = Issuer(registry, store, self.audit, clock, os.urandom)

    async def aclose(self) -> None:
        """Let go of the store. Idempotent."""
        if self.keyring is not None:
            await self.keyring.aclose()
        if self.nonces is not None:
            self.nonces.close()
