"""What a message points to: fetched only where `fetch_urls` says so, and never from an address that only we can reach.

Over a real socket, with a service on this machine that nobody outside could ask: whatever asks it is a hole.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from scribe_router.sandbox.mcp_server import SMALLEST_PNG
from scribe_router.sandbox.server import Sandbox
from scribe_router.upstream.litellm_lane import warm_up
from scribe_router.upstream.quiet import litellm
from tests.support.private_host import Private, private_host
from tests.support.served import served
from tests.support.yaml_text import registry_from
from tests.test_canaries import logged

MASTER = "sk-test-0123456789-abcdefghij"
ROW = """
  - model_name: {0}
    litellm_params: {{model: {1}, api_base: {2}, api_key: k}}
    model_info: {{lane: litellm, input_cost_per_token: 0, output_cost_per_token: 0, supports_vision: true}}"""
FETCHING = ("gemini", "claude")


@dataclass(frozen=True)
class Stage:
    client: httpx.Client
    sandbox: Sandbox
    private: Private

    def ask(self, model: str, part: dict[str, Any]) -> httpx.Response:
        self.private.asked.clear()
        self.sandbox.clear()
        messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]
        return self.client.post("/v1/chat/completions", json={"model": model, "messages": messages})

    def plain(self, model: str) -> int:
        """The status of a request that points to nothing."""
        asked = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        return self.client.post("/v1/chat/completions", json=asked).status_code


@contextmanager
def staged(folder: Path, features: str) -> Iterator[Stage]:
    with running_sandbox() as sandbox, private_host() as private:
        rows = (
            ("gemini", "gemini/echo", f"{sandbox.url}/gemini"),
            ("ollama", "ollama_chat/echo", f"{sandbox.url}/ollama"),
            ("claude", "anthropic/echo", f"{sandbox.url}/anthropic"),
            ("handed", "openai/echo", f"{sandbox.url}/v1"),
        )
        text = "model_list:" + "".join(ROW.format(*row) for row in rows)
        warm_up()
        policies = {"access": "master_key: os.environ/MASTER", "store": "journal: ''", "features": features}
        policies |= {"breaker": "failures: 1", "retries": "{server: {retries: 0}, network: {retries: 0}}"}
        router = Router(registry_from(folder, text, policies, {"MASTER": MASTER}))
        headers = {"authorization": f"Bearer {MASTER}"}
        with served(router) as url, httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            yield Stage(client, sandbox, private)


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("off"), "fetch_urls: false") as stage:
        yield stage


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("on"), "fetch_urls: true") as stage:
        yield stage


def parts(url: str) -> dict[str, dict[str, Any]]:
    """Every way to point to something."""
    return {
        "image": {"type": "image_url", "image_url": {"url": url}},
        "image as text": {"type": "image_url", "image_url": url},
        "image, with its format": {"type": "image_url", "image_url": {"url": url, "format": "image/png"}},
        "file": {"type": "file", "file": {"file_id": url}},
        "file, with its format": {"type": "file", "file": {"file_id": url, "format": "application/pdf"}},
        "file, with its data": {"type": "file", "file": {"file_data": url, "format": "application/pdf"}},
        "audio": {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
        "video": {"type": "video_url", "video_url": {"url": url}},
        "document": {"type": "document", "source": {"type": "url", "url": url}},
        "image, as Anthropic says it": {"type": "image", "source": {"type": "url", "url": url}},
        "image in a document": {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": url}}]},
        },
        "image in what a tool said": {
            "type": "tool_result",
            "tool_use_id": "a",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "image", "source": {"type": "url", "url": url}},
            ],
        },
    }


def allow(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the private service for a public one, as LiteLLM lets an operator do."""
    monkeypatch.setattr(litellm(), "user_url_allowed_hosts", [f"127.0.0.1:{stage.private.port}"])


def left(stage: Stage) -> str:
    """What the provider was sent."""
    return "".join(each.body.decode() for each in stage.sandbox.received)


EVERY = ["gemini", *(pytest.param(name, marks=pytest.mark.slow) for name in ("claude", "ollama", "handed"))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", EVERY)
def test_without_the_switch_nothing_is_fetched(off: Stage, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(off, monkeypatch)  # so that nothing but the switch stands before it
    here = f"127.0.0.1:{off.private.port}/a.png"
    odd = ("http:/\t/", "http:\n//", "HTTP://", "ht\ntp://", " http://", "http:\\\\", "http:", "a http://", "https://")
    for url in (f"{start}{here}" for start in ("http://", *odd)):
        for name, part in parts(url).items():
            answer = off.ask(model, part)
            assert off.private.asked == [], (name, url)
            assert answer.status_code != 500, (name, url)


@pytest.mark.parametrize("model", FETCHING)
def test_with_the_switch_a_picture_is_fetched(on: Stage, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(on, monkeypatch)
    for path in (f"/{model}.png", "/to/" + quote(f"{on.private.url}/{model}-further.png", safe="")):
        answer = on.ask(model, parts(f"{on.private.url}{path}")["image"])
        assert answer.status_code == 200, answer.text
        assert on.private.asked[0] == path
        assert SMALLEST_PNG in left(on)


# Other names for 127.0.0.1 and ::1, and what else is no public address; a resolver or a parser may take any.
HOSTS = """
127.0.0.1 localhost LOCALHOST localhost. 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0.0.0.0 0
[::1] [0:0:0:0:0:0:0:1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [::1%25lo]
[64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [fec0::1] [fe80::1] [fd00::1] [ff02::1]
user@127.0.0.1 example.com@127.0.0.1 example.com:80@127.0.0.1 127%2e0%2e0%2e1 127.0.0.1%00.example.com
①②⑦.⓪.⓪.① 127。0。0。1 10.0.0.1 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1 192.0.0.192 168.63.129.16
224.0.0.1 255.255.255.255 198.18.0.1
""".split()


def spelled(port: int) -> Iterator[str]:
    """Ways to point to the private service, and to what is no web page at all."""
    yield from (f"http://{host}:{port}/a.png" for host in HOSTS)
    here = f"127.0.0.1:{port}/a.png"
    yield from (f"http:///{here}", f"http:\\\\{here}", f"http://{here}#@example.com/", f"http://example.com\\@{here}")
    yield from (f"HTTP://{here}", f"http:{here}", f" http://{here}", f"\thttp://{here}", f"ht\ntp://{here}")
    yield from (f"http://\r\n{here}", f"http:/\t/{here}", f"https://{here}", f"ftp://{here}", f"gopher://{here}")
    yield from (f"//{here}", "file:///etc/passwd")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", EVERY)
def test_private_addresses_are_not_asked_however_they_are_spelled(on: Stage, model: str) -> None:
    for url in spelled(on.private.port):
        for name in ("image", "file, with its data"):
            answer = on.ask(model, parts(url)[name])
            assert on.private.asked == [], (name, url)
            assert answer.status_code != 500, (name, url)
            assert "root:" not in left(on)
    assert on.plain(model) == 200, "what a client points to is no failure of the provider"


@pytest.mark.parametrize("host", HOSTS)
def test_private_addresses_are_refused_before_anything_is_asked(on: Stage, host: str) -> None:
    """The check is LiteLLM's, with what we add to it."""
    from litellm.litellm_core_utils.url_utils import SSRFError, validate_url

    with pytest.raises(SSRFError):
        validate_url(f"http://{host}:{on.private.port}/a.png")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", FETCHING)
def test_nobody_is_sent_on_to_a_private_address(on: Stage, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(on, monkeypatch)
    with private_host() as other:
        for url in (*spelled(other.port), "/to/" + quote(other.url, safe="")):  # the last is a step further
            if "\r" in url or "\n" in url:
                continue  # no header can hold it
            path = "/to/" + quote(url, safe="")
            answer = on.ask(model, parts(f"{on.private.url}{path}")["image"])
            assert on.private.asked[:1] == [path]
            assert other.asked == [], url
            assert answer.status_code != 500, url


@pytest.mark.parametrize("status", [204, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("model", FETCHING)
def test_what_a_link_s_host_says_is_not_what_the_provider_says(
    on: Stage, model: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(on, monkeypatch)
    answer = on.ask(model, parts(f"{on.private.url}/status/{status}")["image"])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", "messages"), answer.text
    assert on.private.asked
    assert on.plain(model) == 200


def test_no_log_quotes_a_link(on: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for model in (*FETCHING, "ollama"):
        on.ask(model, parts("http://127.0.0.1:9/xylophone.png")["image"])
    assert "xylophone" not in logged(caplog.records)
