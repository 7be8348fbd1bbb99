"""The LiteLLM boundary fails closed: no name that LiteLLM interprets changes where a request goes, or with which key.

The names are read from the installed LiteLLM anew, so that nothing rests on the generated list; and more of them than
the list has, since a name can be read in more ways than one.
"""

import asyncio
import os
import re
import runpy
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# LiteLLM reads these when it is imported; without them it fetches tables from the network and loads a .env file.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True"
)

import httpx
import litellm
import pytest
import pytest_asyncio

from scribe_router import Router
from scribe_router.deployment import Deployment
from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Api, AttemptFailed, Call, CallOptions
from scribe_router.litellm_names import INTERPRETED
from scribe_router.policies.parameters import API, OURS, PROVIDERS_OWN
from scribe_router.sandbox import Received, Sandbox, running_sandbox
from scribe_router.upstream.litellm_lane import LiteLLMLane
from scribe_router.upstream.shape import Shaped
from tests.support.litellm_clients import close_litellm_clients
from tests.support.served import served
from tests.support.yaml_text import registry_from

MESSAGES = [{"role": "user", "content": "hello big world"}]
KEY = "the-deployments-own-key"
WIRES = {"openai": "/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
SECRETS = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "openai-organization", "openai-project")
# Every way of reading a name from what a caller passes, beyond those that make the generated list.
READS = re.compile(
    r"""(?:kwargs|params|extra_body|request_data|data)(?:\.(?:get|pop)\(\s*|\[)["']([A-Za-z_][A-Za-z_0-9-]*)["']"""
)
pytestmark = [
    # One loop for all: LiteLLM keeps its clients by loop, and closes them only when told to.
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    # LiteLLM's own, and what it says to hostile values.
    pytest.mark.filterwarnings("ignore"),
]


def _read_in_any_way() -> set[str]:
    package = Path(litellm.__file__).parent
    files = [path for path in package.rglob("*.py") if "proxy" not in path.relative_to(package).parts]
    return {name for path in files for name in READS.findall(path.read_text(encoding="utf-8"))}


NAMES = sorted(runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "litellm_names.py"))["interpreted"]())
MORE_NAMES = sorted(_read_in_any_way() | set(NAMES))


@dataclass(frozen=True)
class Two:
    """The provider's sandbox, and one that belongs to whoever sends the request."""

    right: Sandbox
    wrong: Sandbox


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with running_sandbox() as right, running_sandbox(Sandbox(require_key=False)) as wrong:
        yield Two(right, wrong)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lane() -> AsyncIterator[LiteLLMLane]:
    opened = LiteLLMLane()
    yield opened
    opened.close()
    await close_litellm_clients()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Hosts other than this machine that anything wanted to reach."""
    hosts: set[str] = set()
    resolve = socket.getaddrinfo

    def watched(host: Any, *more: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", None):
            hosts.add(str(host))
            raise socket.gaierror("this test reaches nobody")
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    return hosts


def deployment(wire: str, url: str, model: str = "echo") -> Deployment:
    return Deployment(
        id=f"{wire}-{model}",
        model=model,
        provider=wire,
        litellm_model=f"{wire}/{model}",
        upstream_model=model,
        wire=wire,  # type: ignore[arg-type]
        lane="litellm",
        api_base=url + WIRES[wire],
        api_key=KEY,
    )


def seen(request: Received) -> tuple[Any, ...]:
    """Where a request went and with which secrets: host, path without the verb of a stream, query, headers."""
    path = request.path.replace(":streamGenerateContent", ":generateContent")
    query = request.query.removeprefix("alt=sse").removeprefix("&")
    return (request.headers["host"], path, query, *(request.headers.get(name) for name in SECRETS))


class Prober:
    """Sends hostile names through the lane past everything that checks a request, and notes which moved it."""

    def __init__(self, lane: LiteLLMLane, two: Two, wire: str, api: Api = "chat") -> None:
        self.lane, self.two = lane, two
        content = {"messages": MESSAGES, "max_tokens": 5} if api == "chat" else {"input": "hello"}
        served = deployment(wire, two.right.url, "echo" if api == "chat" else "embed")
        self.plain = Shaped(api, served, {"model": served.upstream_model, **content})
        self.expected: tuple[Any, ...] = ()
        self.moved: dict[str, Any] = {}

    async def prepare(self) -> "Prober":
        self.two.right.clear()
        await self.lane.call(self.plain)
        self.expected = seen(self.two.right.received[0])
        assert KEY in str(self.expected)
        return self

    async def probe(self, names: list[str], value: Any) -> None:
        """All names in one request; where it never leaves, one of them stopped it, so they are sent in two."""
        arrived = await self._send({**self.plain.body, **dict.fromkeys(names, value)})
        strays = [each for each in arrived if each != self.expected]
        if len(names) > 1 and (strays or not arrived):
            await self.probe(names[: len(names) // 2], value)
            await self.probe(names[len(names) // 2 :], value)
        elif strays:
            self.moved[names[0]] = strays

    async def probe_in_groups(self, names: list[str], value: Any) -> None:
        for start in range(0, len(names), 50):
            await self.probe(names[start : start + 50], value)

    async def _send(self, body: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Whatever comes of it: a fault is as good as a refusal, as long as nothing leaks."""
        self.two.right.clear()
        self.two.wrong.clear()
        with suppress(AttemptFailed, AttributeError, KeyError, TypeError, ValueError, TimeoutError):
            async with asyncio.timeout(5):
                await self.lane.call(replace(self.plain, body=body))
        return [seen(request) for request in (*self.two.right.received, *self.two.wrong.received)]


def hostile(url: str) -> list[Any]:
    return [
        url,
        "sk-somebody-elses",
        {"api_base": url, "base_url": url, "api_key": "sk-somebody-elses", "url": url, "model": "openai/dear"},
        [{"api_base": url, "model": "openai/dear", "litellm_params": {"model": "openai/dear", "api_base": url}}],
        True,
        0,
    ]


def test_the_names_are_many() -> None:
    assert len(NAMES) > 600
    assert len(MORE_NAMES) > len(NAMES) + 500
    assert {"api_base", "base_url", "extra_headers", "no-log", "client", "organization"} <= set(NAMES)
    assert set(NAMES) == INTERPRETED


VALUES = range(len(hostile("")))
ADDRESSES = 2  # the value that names an address in every way at once
TOGETHER = [
    # LiteLLM stops at so many names for the other two that finding them takes most of a minute.
    pytest.param(wire, value, marks=() if wire == "openai" or value == ADDRESSES else pytest.mark.slow)
    for wire in WIRES
    for value in VALUES
]


@pytest.mark.parametrize(("wire", "value"), TOGETHER)
async def test_no_names_together_move_a_request(
    lane: LiteLLMLane, two: Two, asked: set[str], wire: str, value: int
) -> None:
    """Each name alone is sent by `test_each_name_alone`."""
    prober = await Prober(lane, two, wire).prepare()
    await prober.probe_in_groups(NAMES, hostile(two.wrong.url)[value])
    assert (prober.moved, asked) == ({}, set())


async def test_no_name_moves_an_embedding(lane: LiteLLMLane, two: Two, asked: set[str]) -> None:
    prober = await Prober(lane, two, "openai", "embeddings").prepare()
    for value in hostile(two.wrong.url):
        await prober.probe_in_groups(NAMES, value)
    assert (prober.moved, asked) == ({}, set())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("value", VALUES)
async def test_each_name_alone(lane: LiteLLMLane, two: Two, asked: set[str], wire: str, value: int) -> None:
    prober = await Prober(lane, two, wire).prepare()
    for name in MORE_NAMES:
        await prober.probe([name], hostile(two.wrong.url)[value])
    assert (prober.moved, asked) == ({}, set())


def parts(url: str) -> dict[str, dict[str, Any]]:
    return {
        "image": {"type": "image_url", "image_url": {"url": f"{url}/image.png"}},
        "image, with its format": {"type": "image_url", "image_url": {"url": f"{url}/i", "format": "image/png"}},
        "file": {"type": "file", "file": {"file_id": f"{url}/file.pdf"}},
        "file, with its data": {"type": "file", "file": {"file_data": f"{url}/file.pdf", "format": "application/pdf"}},
        "audio": {"type": "input_audio", "input_audio": {"data": f"{url}/audio.wav", "format": "wav"}},
        "video": {"type": "video_url", "video_url": {"url": f"{url}/video.mp4"}},
        "document": {"type": "document", "source": {"type": "url", "url": f"{url}/file.pdf"}},
    }


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("part", parts(""))
async def test_no_content_is_fetched_from_this_machine(
    lane: LiteLLMLane, two: Two, asked: set[str], wire: str, part: str
) -> None:
    """LiteLLM fetches public content for Anthropic and Gemini; else a client could read what only we can reach."""
    prober = await Prober(lane, two, wire).prepare()
    content = [{"type": "text", "text": "hello"}, parts(two.wrong.url)[part]]
    await prober.probe(["messages"], [{"role": "user", "content": content}])
    assert (prober.moved, asked) == ({}, set())


CONFIG = """
    model_list:
      - model_name: echo
        litellm_params: {{model: openai/echo, api_base: {url}/v1, api_key: the-deployments-own-key}}
        model_info: {{id: echo}}
      - model_name: embed
        litellm_params: {{model: openai/embed, api_base: {url}/v1, api_key: the-deployments-own-key}}
        model_info: {{id: embed, mode: embedding}}
    """
BODIES: dict[Api, dict[str, Any]] = {
    "chat": {"model": "echo", "messages": MESSAGES},
    "embeddings": {"model": "embed", "input": "hello"},
}
PATHS: dict[Api, str] = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}
apis = pytest.mark.parametrize("api", BODIES)


@pytest.fixture
def router(two: Two, tmp_path: Path) -> Router:
    two.right.clear()
    return Router(registry_from(tmp_path, CONFIG.format(url=two.right.url)))


def operators(api: Api) -> list[str]:
    """The names that are neither the API's own nor in the lists of what providers know."""
    names = [name for name in NAMES if name not in API[api] | OURS | PROVIDERS_OWN[api]]
    assert len(names) > 550
    return names


@apis
@pytest.mark.parametrize("lane_of_choice", ["wire", "litellm"])
async def test_the_operators_names_are_refused(router: Router, two: Two, api: Api, lane_of_choice: Any) -> None:
    async with router:
        for name in operators(api):
            for value in (two.wrong.url, None):
                call = Call(api, {**BODIES[api], name: value}, CallOptions(lane=lane_of_choice))
                with pytest.raises(InvalidRequest, match=f"^{re.escape(name)} ") as caught:
                    await router.serve(call)
                assert (caught.value.status, caught.value.param) == (400, name)
    assert two.right.received == []


@pytest.mark.parametrize("api", ["chat", pytest.param("embeddings", marks=pytest.mark.slow)])
async def test_the_operators_names_are_a_400_over_http(router: Router, two: Two, api: Api) -> None:
    sent = [{**BODIES[api], name: two.wrong.url} for name in operators(api)]
    answers = await post_all(router, api, sent)
    expected = [(400, name, "invalid_request_error") for name in operators(api)]
    assert [(status, error["param"], error["type"]) for status, error in answers] == expected
    assert two.right.received == []


@pytest.mark.parametrize("model", ["echo", "embed"])
async def test_no_value_of_a_parameter_is_a_fault_of_ours(router: Router, two: Two, model: str) -> None:
    api: Api = "chat" if model == "echo" else "embeddings"
    names = sorted((API[api] | OURS | PROVIDERS_OWN[api]) - {"model"})
    sent = [{**BODIES[api], name: value} for name in names for value in hostile(two.wrong.url)]
    answers = await post_all(router, api, sent)
    faults = [(body, error) for body, (_, error) in zip(sent, answers, strict=True) if error["type"] == "server_error"]
    assert (faults, two.wrong.received) == ([], [])


async def post_all(router: Router, api: Api, bodies: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """(status, error) of each answer over HTTP; an answer's error has the type none."""
    at_once = asyncio.Semaphore(20)  # httpx itself looks through all that wait for a connection, for each of them
    with served(router) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def post(body: dict[str, Any]) -> httpx.Response:
                async with at_once:
                    return await client.post(PATHS[api], json=body)

            answers = await asyncio.gather(*map(post, bodies))
    return [(each.status_code, (_json(each) or {}).get("error") or {"type": "none"}) for each in answers]


def _json(answer: httpx.Response) -> Any:
    return answer.json() if answer.headers["content-type"].startswith("application/json") else None
