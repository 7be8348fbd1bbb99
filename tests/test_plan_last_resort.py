"""LiteLLM's own words for the last resort, read from its own file."""

from pathlib import Path

import yaml

from scribe_router.config.load import load_config
from scribe_router.facts import Facts
from scribe_router.plan import Snapshot, plan
from tests.policies.registries import TODAY


def test_the_star_and_the_default_fallbacks_of_litellm_are_the_last_resort(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": "http://here", "api_key": "k"}}
        for name in names
    ]
    settings = {"fallbacks": [{"a": ["b"]}, {"*": ["c"]}], "default_fallbacks": ["d"]}
    config = tmp_path / "litellm_config.yaml"
    config.write_text(yaml.safe_dump({"model_list": models, "router_settings": settings}))
    found = plan(Facts("chat", "a"), load_config(config).or_raise(), Snapshot(TODAY, 0))
    assert [each.deployment for each in found.candidates] == ["a", "b", "c", "d"]
