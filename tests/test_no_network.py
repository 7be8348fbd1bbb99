"""Serving opens no connection to the outside: an audit hook sees every attempt. tests/facts asks it of a Python job."""

import os
from pathlib import Path

import httpx
import pytest

from tests.support.outside import ROOT, run, seen, watched
from tests.support.proxy import serving


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return watched(tmp_path)


def test_the_hook_sees_what_it_should(environment: dict[str, str], tmp_path: Path) -> None:
    code = "import urllib.request as u\ntry: u.urlopen('http://192.0.2.1/', timeout=1)\nexcept OSError: pass"
    run(code, environment, tmp_path)
    assert "192.0.2.1" in seen(environment)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_proxy_stays_on_this_machine(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("LITELLM_")]:
        monkeypatch.delenv(name)  # what LiteLLM is told has to come from the proxy itself
    for name in ("litellm_config.yaml", "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    with serving(tmp_path, "--sandbox", environment=environment) as proxy:
        for model in ("echo", "echo-anthropic"):
            body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
            assert httpx.post(f"{proxy.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    assert seen(environment) == ""
