"""Limits that a key names, over a real socket: they hold for it, for nobody else, and never silently not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from tests.support.served import served
from tests.support.yaml_text import registry_from

OPERATOR = {"authorization": "Bearer sk-test-0123456789-abcdefghij"}
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: hosted_vllm/echo, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
"""
RATE = "limits: [{id: trial-rate, scope: key, named: true, requests_per_minute: 1}]"
MONEY = """
limits:
  - {id: trial-money, scope: key, named: true, usd: 0.0015, when_short: reject}
  - {id: all, scope: all, usd: 9}
"""


@contextmanager
def proxy(folder: Path, **policies: str) -> Iterator[httpx.Client]:
    named = {"access": "master_key: os.environ/MASTER", "store": "ledger: sqlite:ledger.db", **policies}
    with running_sandbox() as sandbox:
        text = CONFIG.replace("BASE", sandbox.url)
        router = Router(registry_from(folder, text, named, {"MASTER": "sk-test-0123456789-abcdefghij"}))
        with served(router) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield client


def key(client: httpx.Client, name: str, *limits: str) -> httpx.Response:
    spec = {"name": name, "models": ["*"], "limits": limits}
    return client.post("/admin/keys", json=spec, headers=OPERATOR)


def status(client: httpx.Client, key: str) -> tuple[int, str]:
    ask = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2000}
    answer = client.post("/v1/chat/completions", json=ask, headers={"authorization": f"Bearer {key}"})
    return answer.status_code, answer.json().get("error", {}).get("code", "")


@pytest.mark.timeout(180)
def test_they_hold_for_keys_that_name_them(tmp_path: Path) -> None:
    with proxy(tmp_path, limits=RATE, budgets=MONEY) as client:
        free, slow, poor = (
            key(client, *each).json()["key"] for each in (("a",), ("b", "trial-rate"), ("c", "trial-money"))
        )
        assert [status(client, free)[0] for _ in range(3)] == [200, 200, 200]
        assert [status(client, slow) for _ in range(2)] == [(200, ""), (429, "rate_limit_exceeded")]
        assert status(client, poor) == (429, "budget_exceeded")
        unknown = key(client, "d", "trial-mony").json()["error"]
        assert unknown["param"] == "limits"
        assert unknown["message"].endswith("did you mean trial-money?")
        assert key(client, "e", "all").status_code == 400, "it holds for everybody"
    (tmp_path / "policies" / "budgets.yaml").unlink()
    with proxy(tmp_path, limits=RATE) as client:
        assert status(client, poor) == (403, "limit_missing")
        assert status(client, free)[0] == 200
