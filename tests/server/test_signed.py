"""Signed requests over HTTP: two proxies that share a store, the signing client, and everything that does not fit."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from scribe_router.policies.signing import NONCE, SIGNATURE, TIMESTAMP, Signable, signed
from scribe_router.sandbox import running_sandbox
from scribe_router.signing import SignedAuth
from tests.stores.redis_servers import one_server
from tests.support.proxy import serving

MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}"}
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: hosted_vllm/echo, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "Grüße"}]}


@dataclass
class Replicas:
    """Two proxies of one store, and what a key of theirs that has to sign was told."""

    urls: tuple[str, str]
    key: str
    secret: str
    bearer: str

    @property
    def auth(self) -> SignedAuth:
        return SignedAuth(self.key, self.secret)

    def by_hand(self, body: bytes, when: float | None = None, nonce: str = "n" * 20) -> dict[str, str]:
        sent = Signable("POST", CHAT.encode(), b"", body)
        told = signed(self.secret.encode(), self.key, int(when or time.time()), nonce, sent)
        return {**told, "content-type": "application/json"}

    def send(self, replica: int, body: bytes, headers: dict[str, str], path: str = CHAT) -> httpx.Response:
        return httpx.post(self.urls[replica] + path, content=body, headers=headers, timeout=30)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def replicas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("signed")
    (folder / "policies").mkdir()
    (folder / "policies" / "access.yaml").write_text("master_key: os.environ/SCRIBE_MASTER_KEY")
    with ExitStack() as stack:
        # Not serve's own, whose models make each proxy import LiteLLM.
        base = f"{stack.enter_context(running_sandbox()).url}/v1"
        (folder / "litellm_config.yaml").write_text(CONFIG.replace("BASE", base))
        store = "sqlite:state/ledger.db" if request.param == "sqlite" else stack.enter_context(one_server()).url
        (folder / "policies" / "store.yaml").write_text(f"ledger: {store}\ndurability: accepted-loss")
        environment = {"SCRIBE_MASTER_KEY": MASTER}
        one, other = (stack.enter_context(serving(folder, environment=environment)).url for _ in range(2))
        spec = {"name": "ann", "models": ["*"], "signed": "required"}
        made = httpx.post(f"{one}/admin/keys", json=spec, headers=OPERATOR, timeout=30).json()
        yield Replicas((one, other), made["id"], made["signing_secret"], made["key"])


def test_httpx_and_openai(replicas: Replicas) -> None:
    from openai import OpenAI

    for url in replicas.urls:
        with httpx.Client(base_url=url, auth=replicas.auth, timeout=30) as client:
            assert client.get("/v1/models/echo").status_code == 200
            assert client.post(CHAT, json=HELLO).status_code == 200
            assert client.get("/admin/keys").status_code == 403
        http = httpx.Client(auth=replicas.auth, timeout=30)
        with OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http) as openai:
            plain = openai.chat.completions.create(model="echo", messages=HELLO["messages"])
            stream: Any = openai.chat.completions.create(model="echo", messages=HELLO["messages"], stream=True)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            assert said == plain.choices[0].message.content != ""


def test_the_key_itself_opens_nothing(replicas: Replicas) -> None:
    answer = httpx.get(f"{replicas.urls[0]}/v1/models", headers={"authorization": f"Bearer {replicas.bearer}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "signature_required")
    unknown = httpx.get(f"{replicas.urls[0]}/v1/models", auth=SignedAuth("0" * 18, replicas.secret))
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (401, "the key is wrong")


@pytest.mark.parametrize("replica", [0, 1])
def test_a_replay_is_refused_here_and_on_another_replica(replicas: Replicas, replica: int) -> None:
    body = json.dumps(HELLO).encode()
    headers = replicas.by_hand(body, nonce=f"replayed-{replica}-{time.time_ns()}")
    assert replicas.send(0, body, headers).status_code == 200
    again = replicas.send(replica, body, headers)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "invalid_signature")
    assert again.json()["error"]["message"].startswith("a request with this nonce was here before")


def test_of_many_copies_at_once_one_is_served(replicas: Replicas) -> None:
    body = json.dumps(HELLO).encode()
    headers = replicas.by_hand(body, nonce=f"at-once-{time.time_ns()}")

    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(timeout=60) as client:
            asked = [client.post(url + CHAT, content=body, headers=headers) for url in replicas.urls * 10]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert sorted(asyncio.run(all_at_once())) == [200] + [401] * 19


def test_what_was_changed_on_the_way(replicas: Replicas) -> None:
    body, number = json.dumps(HELLO).encode(), time.time_ns()
    for headers, sent, path in (
        (replicas.by_hand(body), body + b" ", CHAT),
        (replicas.by_hand(body), body, CHAT + "?a=1"),
        (replicas.by_hand(body), body, "/chat/completions"),
        (replicas.by_hand(body, time.time() - 400), body, CHAT),
        (replicas.by_hand(body, time.time() + 400), body, CHAT),
        ({**replicas.by_hand(body), NONCE: "m" * 20}, body, CHAT),
        ({**replicas.by_hand(body), SIGNATURE: "v1:x:y"}, body, CHAT),
    ):
        answer = replicas.send(1, sent, headers, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature")
    without = {name: each for name, each in replicas.by_hand(body).items() if name != TIMESTAMP}
    assert "x-scribe-timestamp is missing" in replicas.send(0, body, without).text
    assert replicas.send(0, body, replicas.by_hand(body, nonce=f"none-was-used-up-{number}")).status_code == 200


def test_rotation_and_revocation_end_a_signing_secret(replicas: Replicas) -> None:
    def post(path: str, sent: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{replicas.urls[0]}/admin/keys{path}", json=sent, headers=OPERATOR, timeout=30)
        answer.raise_for_status()
        return dict(answer.json())

    def status(told: dict[str, Any]) -> int:
        auth = SignedAuth(told["id"], told["signing_secret"])
        return httpx.get(f"{replicas.urls[0]}/v1/models", auth=auth, timeout=30).status_code

    name = f"bob-{time.time_ns()}"
    first = post("", {"name": name, "models": ["*"], "signed": "required"})
    second = post(f"/{name}/rotate", {"grace": "1h"})
    assert (status(first), status(second)) == (200, 200)
    third = post(f"/{name}/rotate", {"grace": 0})
    assert (status(first), status(second), status(third)) == (401, 401, 200)
    post(f"/{name}/revoke", {})
    assert status(third) == 401
    plain = post("", {"name": f"{name}-plain", "models": ["*"]})
    assert "signing_secret" not in plain


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_that_are_not_right(replicas: Replicas) -> None:
    """Forged, stale, truncated, with parts in another order; none is let in, and no nonce is used up by one."""
    body, draw = json.dumps(HELLO).encode(), random.Random(7)

    def broken(number: int) -> tuple[bytes, dict[str, str]]:
        headers = replicas.by_hand(body, nonce=f"nonce-{number:016d}")
        start, _, digits = headers[SIGNATURE].rpartition(":")
        at = draw.randrange(64)
        forged = digits[:at] + draw.choice([each for each in "0123456789abcdef" if each != digits[at]])
        match number % 5:
            case 0:
                headers[SIGNATURE] = f"{start}:{forged}{digits[at + 1 :]}"
            case 1:
                headers = replicas.by_hand(body, time.time() + draw.choice((-1, 1)) * draw.randrange(310, 10**6))
            case 2:
                headers[SIGNATURE] = f"{start}:{digits[:at]}"
            case 3:
                headers[SIGNATURE] = f"{start}:{digits[at:] + digits[:at] if at else digits[::-1]}"
            case _:
                return body[: draw.randrange(len(body))], headers
        return body, headers

    with httpx.Client(timeout=60) as client:
        for number in range(10_000):
            sent, headers = broken(number)
            answer = client.post(replicas.urls[number % 2] + CHAT, content=sent, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_signature"), number
    assert replicas.send(0, body, replicas.by_hand(body, nonce="nonce-0000000000000004")).status_code == 200
