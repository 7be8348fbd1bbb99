"""Fixtures for tests that call a router; such a module says

    pytestmark = pytest.mark.asyncio(loop_scope="session")

One loop for all: LiteLLM keeps its clients by loop, and making one takes longer than most tests. LiteLLM is loud:
its models warn when they are dumped. Each of its warnings that is let through has its reason here; every other
warning stays an error.
"""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.litellm_clients import close_litellm_clients
from tests.support.yaml_text import RouterFrom, registry_from

LEDGER = {"store": "ledger: sqlite:ledger.db"}
LITELLMS_OWN = (
    # Its types have read-only fields, which pydantic cannot keep.
    "ignore:Item.* on TypedDict class:UserWarning",
    # It reads a field of pydantic's from an instance.
    "ignore:Accessing the 'model_:pydantic.warnings.PydanticDeprecatedSince211",
    # Its models hold other classes than they are declared with.
    "ignore:Pydantic serializer warnings:UserWarning",
    # It hands a large body to aiohttp in one piece.
    "ignore:Sending a large body directly with raw bytes:ResourceWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in LITELLMS_OWN:
        config.addinivalue_line("filterwarnings", warning)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def one_sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running
        await close_litellm_clients()


@pytest.fixture
def sandbox(one_sandbox: Sandbox) -> Sandbox:
    """A fake provider in the session's loop, which has forgotten what it received before."""
    one_sandbox.clear()
    return one_sandbox


@pytest_asyncio.fixture(loop_scope="session")
async def router(tmp_path: Path) -> AsyncIterator[RouterFrom]:
    """`router(text, policies, environment)` builds a router of that configuration, which is closed at the end."""
    async with AsyncExitStack() as opened:
        count = itertools.count(1)

        def build(
            text: str, policies: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
        ) -> Router:
            folder = tmp_path / f"router-{next(count)}"
            folder.mkdir()
            built = Router(registry_from(folder, text, {**LEDGER, **(policies or {})}, environment))
            opened.push_async_callback(built.aclose)
            return built

        yield build
