"""From where somebody may call, over a real socket: the general list, that of a key, and what trusted proxies say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.errors import ConfigError
from scribe_router.router import Router
from tests.support.served import served
from tests.support.yaml_text import registry_from

MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}"}
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: openai/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""


@contextmanager
def proxy(folder: Path, **access: Any) -> Iterator[httpx.Client]:
    text = "".join(f"{name}: {value}\n" for name, value in {"master_key": "os.environ/MASTER", **access}.items())
    store = "ledger: sqlite:ledger.db\naudit: audit.jsonl"
    router = Router(registry_from(folder, CONFIG, {"access": text, "store": store}, {"MASTER": MASTER}))
    with served(router) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def status(client: httpx.Client, path: str = "/v1/models", key: str = MASTER, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(path, headers={"authorization": f"Bearer {key}", **named}).status_code


def test_the_general_list_is_for_everybody(tmp_path: Path) -> None:
    with proxy(tmp_path, addresses="[192.0.2.0/24]") as client:
        for path in ("/v1/models", "/admin/keys", "/openapi.json", "/nothing"):
            answer = client.get(path, headers=OPERATOR)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "address_not_allowed")
            assert client.get(path).status_code == 403
        assert status(client, x_forwarded_for="192.0.2.7") == 403, "nobody trusts whoever says that"
        assert client.get("/health/live").status_code == 200
    with proxy(tmp_path, addresses="[192.0.2.0/24, 127.0.0.1]") as client:
        assert status(client) == status(client, "/admin/keys") == 200
        assert client.get("/v1/models").status_code == 401


PROXIED = {"addresses": "[192.0.2.0/24, '2001:db8::/32']", "trusted_proxies": "[127.0.0.0/8, 198.51.100.1]"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("192.0.2.7", 200),
        ("2001:db8::7", 200),
        ("::ffff:192.0.2.7", 200),
        ("203.0.113.9", 403),
        ("192.0.2.7, 203.0.113.9", 403),
        ("203.0.113.9, 192.0.2.7", 200),
        ("192.0.2.7, 198.51.100.1", 200),
        ("192.0.2.7, nonsense", 403),
        ("", 403),
    ],
)
def test_what_a_trusted_proxy_says(tmp_path: Path, said: str, expected: int) -> None:
    with proxy(tmp_path, **PROXIED) as client:
        assert status(client, x_forwarded_for=said) == status(client, "/admin/keys", x_forwarded_for=said) == expected
        assert status(client, forwarded="for=192.0.2.7") == 403, "this is not the header that they write"


def test_a_key_of_its_own_network(tmp_path: Path) -> None:
    with proxy(tmp_path, trusted_proxies="[127.0.0.1]", forwarded_header="forwarded") as client:
        spec = {"name": "ann", "models": ["*"], "addresses": ["192.0.2.0/24"]}
        key = client.post("/admin/keys", json=spec, headers=OPERATOR).json()["key"]
        assert status(client, key=key, forwarded="for=192.0.2.7;proto=https") == 200
        assert status(client, key=key, forwarded='for="[2001:db8::1]:80"') == 403
        assert status(client, key=key, x_forwarded_for="192.0.2.7") == status(client, key=key) == 403
        assert status(client, forwarded="for=203.0.113.9") == 200
        assert status(client, key="wrong", forwarded="for=203.0.113.9") == 401
    audited = (tmp_path / "audit.jsonl").read_text()
    assert '"address": "2001:db8::1"' in audited
    assert '"address": "203.0.113.9"' in audited


@pytest.mark.parametrize("name", ["addresses", "trusted_proxies"])
def test_what_is_no_network(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ConfigError, match="expected an address or a network"),
        proxy(tmp_path, **{name: "[10.0.0.1/8]"}),
    ):
        pass
