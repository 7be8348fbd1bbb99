"""Everything that the suite asks, built once: a sandbox, a router for Python and one behind the proxy, and clients."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import openai

from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.parity.cases import CASES
from tests.parity.doors import Body, Said, awaited, over_http, synchronous
from tests.support.litellm_clients import close_litellm_clients
from tests.support.served import served
from tests.support.yaml_text import registry_from

LANES = ("wire", "litellm")
DOORS = ("proxy", "awaited", "synchronous")
# Prices that make each part of a cost visible: 1, 2 and 0.1 USD per million tokens.
DEPLOYMENT = """
  - model_name: {lane}/{model}
    litellm_params: {{model: openai/{model}, api_base: {url}/v1, api_key: sandbox-key}}
    model_info:
      id: {lane}/{model}
      lane: {lane}
      mode: {mode}
      input_cost_per_token: 1.0e-6
      output_cost_per_token: 2.0e-6
      cache_read_input_token_cost: 1.0e-7
      max_input_tokens: 128000
      max_output_tokens: 16384
"""
POLICIES = {
    "store": "ledger: sqlite:ledger.db",
    "budgets": "limits: [{id: day, scope: user, window: day, usd: 1000, when_short: reject}]",
}


class Stage:
    """`ask` sends a body through one door and one lane, and gives back what was said."""

    def __init__(self, sandbox: Sandbox, router: Router, proxied: Router, url: str) -> None:
        self.sandbox, self.router, self.proxied, self.url = sandbox, router, proxied, url
        self.runner = asyncio.Runner()
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)

    def ask(self, door: str, lane: str, body: Body) -> Said:
        body = {**body, "model": f"{lane}/{body['model']}"}
        if door == "synchronous":
            return synchronous(self.router, body)
        if door == "awaited":
            return self.runner.run(awaited(self.router, body))
        return self.runner.run(over_http(self.client, self.proxied.ledger, body))

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.run(self.router.aclose())
        self.runner.run(close_litellm_clients())
        self.runner.close()
        self.router.close()


def configuration(url: str) -> str:
    chat = [(case.model, "chat") for case in CASES]
    models = dict.fromkeys([*chat, ("embed", "embedding"), ("embed+no-usage", "embedding")])
    rows = (DEPLOYMENT.format(lane=lane, model=model, mode=mode, url=url) for model, mode in models for lane in LANES)
    return "model_list:" + "".join(rows)


def _router(folder: Path, url: str) -> Router:
    folder.mkdir()
    return Router(registry_from(folder, configuration(url), POLICIES))


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    with ExitStack() as opened:
        sandbox = opened.enter_context(running_sandbox())
        router, proxied = (_router(folder / name, sandbox.url) for name in ("python", "proxy"))
        url = opened.enter_context(served(proxied))
        stage = Stage(sandbox, router, proxied, url)
        opened.callback(stage.close)
        yield stage
