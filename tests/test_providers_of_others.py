"""Providers that LiteLLM does not know: a row for a host in OpenAI's format, a package for any other. As documented."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scribe_router.config.load import load_config
from scribe_router.config.resolved import resolved
from scribe_router.exchange import Call
from scribe_router.receipt import Receipt
from scribe_router.sandbox import Sandbox
from scribe_router.stream import Answer, AnswerStream
from tests.support.packages import installed
from tests.support.raw_server import http, replying
from tests.support.yaml_text import RouterFrom

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding-a-provider.md").read_text(encoding="utf-8")
ROW, CONFIG, QUIRKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(ENTRY_POINT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(PLUGIN,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("lane", ["wire", "litellm"])
async def test_a_row_is_enough_for_openais_format(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    row = ROW.replace("https://llm.acme.example/v1", f"{sandbox.url}/v1")
    one = router(
        CONFIG.replace("model_info: {", f"model_info: {{lane: {lane}, "), {"providers": row}, {"ACME_API_KEY": "s3"}
    )
    for stream in (False, True):
        sandbox.clear()
        answer = await one.serve(
            Call("chat", {"model": "small", "messages": HELLO, "stream": stream, "vendor_field": [1]})
        )
        if isinstance(answer, AnswerStream):
            assert [chunk async for chunk in answer]
        (received,) = sandbox.received
        body = json.loads(received.body)
        assert (received.path, body["model"], body["vendor_field"]) == ("/v1/chat/completions", "small-1", [1])
        assert received.headers["authorization"] == "Bearer s3"
        receipt = Receipt.of(answer.exchange)
        assert (receipt.provider, receipt.model, receipt.lane) == ("acme", "small-1", lane)
        assert receipt.cost is not None
        assert receipt.cost > 0


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("lane", ["wire", "litellm"])
async def test_quirks_of_its_models(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    row = ROW.replace("https://llm.acme.example/v1", f"{sandbox.url}/v1") + QUIRKS.removeprefix("acme:\n")
    text = CONFIG.replace("model_info: {", f"model_info: {{lane: {lane}, ")
    one = router(text, {"providers": row}, {"ACME_API_KEY": "s3"})
    asked = {"model": "small", "messages": HELLO, "seed": 7, "temperature": 2, "tool_choice": "auto", "logit_bias": {}}
    answer = await one.serve(Call("chat", asked))
    assert isinstance(answer, Answer)
    body = json.loads(sandbox.received[0].body)
    assert (body["random_seed"], body["temperature"], body["stream"]) == (7, 1, True)
    assert not body.keys() & {"seed", "tool_choice", "logit_bias"}
    assert len(Receipt.of(answer.exchange).warnings) == 3
    assert answer.body["choices"][0]["message"]["content"] == "hello"


def test_litellms_own_proxy_gets_it_as_openais(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "providers.yaml").write_text(ROW, encoding="utf-8")
    (tmp_path / "litellm_config.yaml").write_text(CONFIG, encoding="utf-8")
    loaded = load_config(tmp_path / "litellm_config.yaml", environment={"ACME_API_KEY": "s3"})
    text = resolved(loaded.source, loaded.or_raise())
    assert "model: openai/small-1\n    api_base: https://llm.acme.example/v1" in text
    assert "s3" not in text


JOB = """
import sys
from scribe_router import Router
from scribe_router.errors import RequestError

router = Router.from_yaml(sys.argv[1])
answer = router.completion(model="talker", messages=[{"role": "user", "content": "hello"}])
print(answer.choices[0].message.content, answer.scribe.provider, answer.scribe.cost_usd)
try:
    router.completion(model="refused", messages=[{"role": "user", "content": "hello"}])
except RequestError as error:
    print(type(error).__name__, error.message)
router.close()
"""
TALKERS = """
model_list:
  - model_name: talker
    litellm_params: {{model: acme/talker, api_base: "{answers}", api_key: k}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}
  - model_name: refused
    litellm_params: {{model: acme/talker, api_base: "{refuses}", api_key: k}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}
"""


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_a_package_brings_another_format(tmp_path: Path) -> None:
    installed(tmp_path / "site", PLUGIN, ENTRY_POINT)
    said = json.dumps({"text": "hi there", "read": 1000, "wrote": 2}).encode()
    async with (
        replying(http("200 OK", said, "Content-Type: application/json")) as answers,
        replying(http("400 Bad Request", b"{}")) as refuses,
    ):
        config = tmp_path / "litellm_config.yaml"
        config.write_text(TALKERS.format(answers=answers.url, refuses=refuses.url), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", JOB, str(config)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ran.stdout.splitlines() == [
        "hi there acme 0.001004",
        "InvalidRequest the provider refused the request (HTTP 400)",
    ], ran.stderr
    assert json.loads(answers.requests[0]) == {"text": "hello"}
