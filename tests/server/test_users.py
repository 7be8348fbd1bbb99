"""Whom the money of a request is charged to: the key's owner, or whom the request names where the key may say so."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from scribe_router.sandbox import running_sandbox
from tests.support.proxy import serving

KEY = "sk-test-0123456789-abcdefghij"
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
"""
NAMES = ["ann", "", None, 5, "x" * 257]


@pytest.mark.parametrize(
    ("named", "users", "statuses"),
    [
        pytest.param(False, ["master"] * 5, [200] * 5, marks=pytest.mark.slow),
        (True, ["ann", "master", "master", "master"], [200, 200, 200, 200, 400]),
    ],
)
def test_who_is_charged(tmp_path: Path, named: bool, users: list[str], statuses: list[int]) -> None:
    with running_sandbox() as sandbox:
        (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", sandbox.url + "/v1"))
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:ledger.db")
        access = f"master_key: os.environ/SCRIBE_MASTER_KEY\nuser_from_request: {str(named).lower()}"
        (tmp_path / "policies" / "access.yaml").write_text(access)
        body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"authorization": f"Bearer {KEY}"}
        environment = {"SCRIBE_MASTER_KEY": KEY}
        with (
            serving(tmp_path, environment=environment) as proxy,
            httpx.Client(base_url=proxy.url, headers=headers, timeout=20) as client,
        ):
            answers = [client.post("/v1/chat/completions", json={**body, "user": name}) for name in NAMES]
        assert [answer.status_code for answer in answers] == statuses
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        assert [row[0] for row in ledger.execute("SELECT user FROM attempts ORDER BY rowid")] == users
