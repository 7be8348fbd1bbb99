"""Identical requests at the same time, through the proxy: one upstream call for each principal, over both lanes."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.support.served import served
from tests.support.yaml_text import registry_from

KEY = "a-master-key-of-these-tests"
CALLERS = 100
POLICIES = {
    "store": "ledger: sqlite:l.db",
    "cache": "enabled: true",
    "access": "{master_key: os.environ/SCRIBE_MASTER_KEY, user_from_request: true}",
}
ROW = """
  - model_name: {lane}
    litellm_params: {{model: openai/slow-500ms, api_base: {url}/v1, api_key: k}}
    model_info: {{lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, str]]:
    with running_sandbox() as sandbox:
        text = "model_list:" + "".join(ROW.format(lane=lane, url=sandbox.url) for lane in ("wire", "litellm"))
        folder: Path = tmp_path_factory.mktemp("proxy")
        registry = registry_from(folder, text, POLICIES, {"SCRIBE_MASTER_KEY": KEY})
        with served(Router(registry)) as url:
            yield sandbox, url


async def at_once(url: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=50, limits=limits) as client:
        return await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))


def said(reply: httpx.Response) -> str:
    """What a client reads; the last comment of a stream is about the request alone."""
    return "".join(line for line in reply.text.splitlines() if not line.startswith(":"))


@pytest.mark.parametrize("users", [("ann",), ("ann", "bob")], ids=["one principal", "two"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("lane", ["wire", "litellm"])
def test_a_hundred_at_once(proxy: tuple[Sandbox, str], lane: str, users: tuple[str, ...], *, stream: bool) -> None:
    sandbox, url = proxy
    sandbox.clear()
    words = f"{lane} {stream} {users}"  # nothing that was stored before
    body = {"model": lane, "messages": [{"role": "user", "content": words}], "stream": stream}
    replies = asyncio.run(at_once(url, [{**body, "user": user} for user in users] * (CALLERS // len(users))))
    assert {reply.status_code for reply in replies} == {200}
    assert len(sandbox.received) == len(users)
    assert len({said(reply) for reply in replies}) == len(users)
    seen = Counter(reply.headers["x-scribe-cache"] for reply in replies)
    assert (len(replies), seen["miss"], seen["shared"] + seen["hit"]) == (CALLERS, len(users), CALLERS - len(users))
