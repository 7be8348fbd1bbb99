"""A sandbox in the test's own loop, one in a thread, and the official clients against them."""

import os
from collections.abc import AsyncIterator, Iterator

# LiteLLM reads these when it is imported; without them it fetches tables from the network and loads a .env file.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True"
)

import anthropic
import httpx
import openai
import pytest

from scribe_router.sandbox import Sandbox, running_sandbox

KEY = "any-key"
# `verify=False` below: reading the certificates takes longer than most of these tests.


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
def threaded() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A bare client with a key in every provider's header."""
    headers = {"Authorization": f"Bearer {KEY}", "x-api-key": KEY, "x-goog-api-key": KEY}
    async with httpx.AsyncClient(base_url=sandbox.url, headers=headers, timeout=10, verify=False) as client:
        yield client


@pytest.fixture
async def openai_client(sandbox: Sandbox) -> AsyncIterator[openai.AsyncOpenAI]:
    bare = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(base_url=sandbox.url + "/v1", api_key=KEY, max_retries=0, http_client=bare) as client:
        yield client


@pytest.fixture
async def anthropic_client(sandbox: Sandbox) -> AsyncIterator[anthropic.AsyncAnthropic]:
    bare = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with anthropic.AsyncAnthropic(
        base_url=sandbox.url + "/anthropic", api_key=KEY, max_retries=0, http_client=bare
    ) as client:
        yield client
