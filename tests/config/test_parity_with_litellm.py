"""LiteLLM's own Router and our planner read one file: they agree on what every name means.

The shipped configuration is resolved with dummy keys, given to `litellm.Router`, and the two are compared name by name.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scribe_router.config.load import load_config
from scribe_router.config.resolved import resolved
from scribe_router.exchange import Category
from scribe_router.litellm_names import DEPLOYMENT
from scribe_router.registry import Registry

ROOT = Path(__file__).parent.parent.parent
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",
}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    bare = load_config(ROOT / "litellm_config.yaml", None, {}).or_raise()
    return {each.key_name: f"dummy-{each.key_name}" for each in bare.deployments.values() if each.key_name}


@pytest.fixture(scope="module")
def ours(keys: dict[str, str]) -> Registry:
    return load_config(ROOT / "litellm_config.yaml", None, keys).or_raise()


@pytest.fixture(scope="module")
def theirs(keys: dict[str, str]) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, **keys}.items():
            patch.setitem(os.environ, name, value)
        loaded = load_config(ROOT / "litellm_config.yaml", None, keys)
        text = yaml.safe_load(resolved(loaded.source, loaded.or_raise()))
        from litellm.router import Router

        router: Any = Router(model_list=text["model_list"], **text["router_settings"])
        yield router
        router.discard()


def test_models_have_the_same_deployments(ours: Registry, theirs: Any) -> None:
    found: dict[str, list[str]] = {}
    for deployment in theirs.model_list:
        found.setdefault(deployment["model_name"], []).append(deployment["model_info"]["id"])
    assert found == {name: list(ids) for name, ids in ours.models.items()}


def test_deployments_are_in_the_same_place(ours: Registry, theirs: Any) -> None:
    for identity, deployment in ours.deployments.items():
        params = theirs.get_deployment(model_id=identity).litellm_params
        assert params.model == deployment.litellm_model
        assert params.api_base == deployment.api_base
        assert params.api_key == deployment.api_key
        assert (params.get("order") or 0) == deployment.order


def test_aliases_have_the_same_target(ours: Registry, theirs: Any) -> None:
    assert theirs.model_group_alias == dict(ours.aliases)


def test_groups_have_the_same_models_in_the_same_order(ours: Registry, theirs: Any) -> None:
    found = {}
    for group in theirs.routing_groups.values():
        tiers = sorted(set(group.model_priorities.values()))
        found[group.group_name] = tuple(
            tuple(model for model in group.models if group.model_priorities[model] == tier) for tier in tiers
        )
    assert found == {name: group.tiers for name, group in ours.groups.items()}


@pytest.mark.parametrize(
    ("category", "attribute"),
    [
        (None, "fallbacks"),
        (Category.CONTEXT_LENGTH, "context_window_fallbacks"),
        (Category.CONTENT_POLICY, "content_policy_fallbacks"),
    ],
)
def test_fallbacks_are_the_same(ours: Registry, theirs: Any, category: Category | None, attribute: str) -> None:
    found = {name: tuple(targets) for table in getattr(theirs, attribute) for name, targets in table.items()}
    starred = found.pop("*", None)
    assert found == dict(ours.fallbacks[category])
    assert starred == (ours.last_resort if category is None else None)


def test_litellm_serves_every_name_that_we_list(ours: Registry, theirs: Any) -> None:
    assert set(ours.names()) <= set(theirs.get_model_names())


def test_every_name_leads_to_the_same_deployments(ours: Registry, theirs: Any) -> None:
    for name in ours.names():
        wanted = {each for tier in ours.members(ours.resolve(name)) for model in tier for each in ours.models[model]}
        assert {each["model_info"]["id"] for each in theirs.get_model_list(model_name=name)} == wanted, name


@pytest.mark.parametrize(
    "name",
    "num_ctx keep_alive num_gpu think mirostat vertex_project vertex_ai_location vertex_credentials safety_settings "
    "aws_region_name top_k api_version watsonx_region_name".split(),
)
def test_what_one_provider_takes_is_a_parameter_of_a_deployment(name: str) -> None:
    assert name in DEPLOYMENT


@pytest.mark.parametrize("name", ["region", "mode", "temprature", "api_bas", "base_model", "max_input_tokens"])
def test_what_no_provider_takes_is_not(name: str) -> None:
    assert name not in DEPLOYMENT
