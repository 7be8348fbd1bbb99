"""What of a request is taken out, or refused, where a feature is switched off."""

from typing import Any

import pytest

from scribe_router.errors import InvalidRequest
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.policies.reasoning import CONTROLS, asking

TOOL = {"type": "function", "function": {"name": "f"}}


def policy(**off: str) -> FeaturesPolicy:
    return FeaturesPolicy.model_validate({name: {"enabled": False, "when_off": how} for name, how in off.items()})


def without(features: FeaturesPolicy, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return features.without(body, asking(body), CONTROLS)


@pytest.mark.parametrize(
    ("body", "kept", "said"),
    [
        ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "n": 1}, {"n": 1}, ["tools"]),
        ({"functions": [{}], "function_call": "auto"}, {}, ["functions"]),
        ({"tools": [], "parallel_tool_calls": True}, {}, []),
        ({"reasoning_effort": "high", "thinking_budget": 5}, {}, ["reasoning_effort", "thinking_budget"]),
        ({"reasoning_effort": "auto"}, {}, ["reasoning_effort"]),
        ({"output_config": {"format": {}}}, {}, ["output_config"]),
        ({"thinking": {"type": "disabled"}, "reasoning": None}, {}, []),
        ({"reasoning_effort": "none", "thinking_budget": 0, "enable_thinking": False}, {}, []),
    ],
)
def test_stripped(body: dict[str, Any], kept: dict[str, Any], said: list[str]) -> None:
    found = without(policy(reasoning="strip", tools="strip"), body)
    assert found == (kept, [f"{name} is taken out: it is switched off in policies/features.yaml" for name in said])
    assert without(FeaturesPolicy(), body) == (body, [])
    refusing = policy(reasoning="refuse", tools="refuse")
    if not said:
        assert without(refusing, body) == (kept, [])
        return
    with pytest.raises(InvalidRequest, match=f"{said[0]} is switched off") as caught:
        without(refusing, body)
    assert (caught.value.code, caught.value.param, caught.value.status) == ("feature_off", said[0], 400)


def test_hybrid_reasoning_is_no_matter_of_fields() -> None:
    body = {"reasoning_effort": "high"}
    assert without(policy(hybrid_reasoning="refuse"), body) == (body, [])
