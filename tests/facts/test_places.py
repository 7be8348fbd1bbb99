"""Facts about where a request goes when nobody said so, and what else LiteLLM asks for outside."""

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from scribe_router.config.load import load_config
from tests.facts.conftest import Fact
from tests.support.outside import ROOT, wants

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
    pytest.mark.slow,  # LiteLLM is imported by three processes, and looks for hosts
]
PLAIN = """
import litellm
litellm.suppress_debug_info, litellm.telemetry = True, False
at_import = set(wanted)  # a thread goes on asking for them
def hosts(model):
    before = len(wanted)
    try:
        litellm.completion(
            model=model, messages=[{"role": "user", "content": "hi"}], api_key="k", num_retries=0, max_retries=0
        )
    except Exception as error:
        return sorted(set(wanted[before:]) - at_import) or repr(error)
print(json.dumps({"import": sorted(at_import), **{model: hosts(model) for model in MODELS}}), flush=True)
os._exit(0)  # that thread would hold it up
"""
OURS = """
from scribe_router import Router
router = Router.from_yaml(CONFIG, sandbox=True)
for model in ("echo", "echo-anthropic", "echo-gemini", "gpt-6-luna"):
    answer = router.completion(model=model, messages=[{"role": "user", "content": "hello there"}])
    assert answer.choices[0].message.content == "hello there", answer
    parts = router.completion(model=model, messages=[{"role": "user", "content": "hello there"}], stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "hello there"
router.embedding(model="embed", input=["a", "b"])
router.close()
print(json.dumps({"import": wanted}))
"""
NOWHERE = ("hosted_vllm/mine", "dashscope/qwen-plus", "moonshot/kimi-k3")


@lru_cache(maxsize=1)
def plain() -> dict[str, Any]:
    """The hosts that LiteLLM asks for, by what it does. One process: the import takes seconds."""
    with TemporaryDirectory() as folder:
        found: dict[str, Any] = wants(f"MODELS = {NOWHERE!r}\n{PLAIN}", Path(folder))
    return found


def checked(folder: Path, model: str, region: str | None = None) -> list[str]:
    """The lines of `check` for a deployment that says nothing but its model, and maybe its region."""
    info = {"model_info": {"region": region}} if region else {}
    config = folder / "litellm_config.yaml"
    entry = {"model_name": "m", "litellm_params": {"model": model}, **info}
    config.write_text(yaml.safe_dump({"model_list": [entry]}, sort_keys=False), encoding="utf-8")
    found = load_config(config)
    assert (found.registry is None) == (region is None), "without its region it is refused"
    return [str(problem).removeprefix(f"{folder}/") for problem in found.problems]


async def test_a_server_of_ones_own_has_an_address(fact: Fact, tmp_path: Path) -> None:
    """vLLM without `api_base`: the host that is called, or the line of `check` that refuses it."""
    fact.shows(plain()[NOWHERE[0]] if fact.plain else checked(tmp_path, NOWHERE[0]))


async def test_dashscope_has_a_region(fact: Fact, tmp_path: Path) -> None:
    """Dashscope without `api_base`: the host that is called, or `check` without a region, and with one but no price."""
    ours = [*checked(tmp_path, NOWHERE[1]), *checked(tmp_path, NOWHERE[1], "beijing")]
    fact.shows(plain()[NOWHERE[1]] if fact.plain else ours)


async def test_kimi_has_a_platform(fact: Fact, tmp_path: Path) -> None:
    """Moonshot without `api_base`: the host that is called, or the line of `check` that wants a region."""
    fact.shows(plain()[NOWHERE[2]] if fact.plain else checked(tmp_path, NOWHERE[2]))


async def test_nobody_else_is_asked(fact: Fact, tmp_path: Path) -> None:
    """The import, and for this router calls on both lanes, with nothing set in the environment: hosts asked for."""
    if fact.plain:
        fact.shows(plain()["import"])
        return
    for name in ("litellm_config.yaml", "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = f"CONFIG = {json.dumps(str(tmp_path / 'litellm_config.yaml'))}\n{OURS}"
    fact.shows(wants(code, tmp_path)["import"])
