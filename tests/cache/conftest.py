"""A router with a cache."""

import pytest

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.cache.asking import ON, Build, rows
from tests.support.yaml_text import RouterFrom


@pytest.fixture
def cached(router: RouterFrom, sandbox: Sandbox) -> Build:
    """`cached(policy)` is a router with this `cache.yaml`."""

    def build(policy: str = ON, **policies: str) -> Router:
        return router(rows(sandbox.url), {"cache": policy, **policies})

    return build
