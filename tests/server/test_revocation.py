"""A key that was revoked is refused on three processes within a second, whoever revoked it."""

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.proxy import serving

MASTER = "sk-test-0123456789-abcdefghij"
OPERATOR = {"authorization": f"Bearer {MASTER}"}
CONFIG = """
model_list:
  - model_name: echo
    litellm_params: {model: hosted_vllm/echo, api_base: "http://127.0.0.1:9/v1", api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
"""
WITHIN = 1.0
TRIES = 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_revoked_within_a_second_everywhere(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text(CONFIG)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "access.yaml").write_text("master_key: os.environ/SCRIBE_MASTER_KEY")
    with ExitStack() as stack:
        environment = {"SCRIBE_MASTER_KEY": MASTER}
        urls = [stack.enter_context(serving(tmp_path, environment=environment)).url for _ in range(3)]
        client = stack.enter_context(httpx.Client(timeout=30))

        def status(url: str, key: str) -> int:
            return client.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

        for number in range(TRIES):
            spec = {"name": f"ann-{number}", "models": ["*"]}
            key = client.post(f"{urls[0]}/admin/keys", json=spec, headers=OPERATOR).json()["key"]
            while [status(url, key) for url in urls] != [200, 200, 200]:
                continue
            done = client.post(f"{urls[number % 3]}/admin/keys/ann-{number}/revoke", json={}, headers=OPERATOR)
            assert done.status_code == 200
            assert status(urls[number % 3], key) == 401, "where it was revoked it is at once"
            time.sleep(WITHIN)
            assert [status(url, key) for url in urls] == [401, 401, 401]
