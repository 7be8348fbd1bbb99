"""Whatever the files hold, loading them ends in a registry or in problems, and never shows the environment."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scribe_router.config.load import KNOWLEDGE, POLICIES, load_config
from scribe_router.config.resolved import resolved
from tests.support.examples import examples

SECRET = "hunter2-0123456789abcdef"
WORDS = """
    model_list model_name litellm_params model_info router_settings litellm_settings id region lane mode model api_base
    base_url api_key order weight headers extra_headers extra_body thinking budget_tokens max_tokens organization
    model_group_alias routing_groups fallbacks context_window_fallbacks default_fallbacks group_name models hidden
    routing_strategy model_priorities priority input_cost_per_token output_cost_per_token tiered_pricing range
    supports_vision max_input_tokens base_model openai moonshot hosted_vllm regions keys default_region price_factor
    wire cap_parameter self_hosted limits scope window usd user day when_short deadline_seconds rate_limit retries
    initial_seconds default_model ledger journal master_key on_missing_key to retires note a b * groq
    file environment on_missing
    models_with_tools_on_responses keys_bound needs_key custom_llm_provider input_cost_per_token_above_64k_tokens
""".split()
NAMES = ["", "/", "a/", "x\ny", "eu", "china", "1e999", "2026-01-01", "simple-shuffle", "sqlite:a", "sqlite:"]
PLACES = [
    "file/kept",
    "secret/a",
    "openai/a",
    "moonshot/kimi-k3",
    "https://a",
    "http://[",
    "os.environ/SECRET",
    "os.environ/",
    "os.environ/UNSET:5",
]
TEXTS = st.sampled_from([*WORDS, *NAMES, *PLACES, "os.environ/UNSET"])
SCALARS = st.none() | st.booleans() | st.integers(-2, 10**30) | st.floats() | TEXTS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.sampled_from([0, 1, 2, 1000, 1e-6])
FACTS = {"input_cost_per_token": NUMBERS, "output_cost_per_token": NUMBERS, "max_input_tokens": NUMBERS, "lane": TEXTS}
ENTRY = st.fixed_dictionaries(
    {
        "model_name": st.sampled_from(["a", "b"]),
        "litellm_params": st.fixed_dictionaries(
            {"model": st.sampled_from(["openai/a", "groq/b", "hosted_vllm/c"]) | TEXTS},
            optional={"api_base": TEXTS, "order": NUMBERS, "api_key": TEXTS, "extra_headers": VALUES},
        ),
    },
    optional={"model_info": st.fixed_dictionaries({}, optional=FACTS) | VALUES},
)
MAIN = st.fixed_dictionaries(
    {"model_list": st.lists(ENTRY, min_size=1, max_size=3)},
    optional={
        "router_settings": st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4),
        "litellm_settings": VALUES,
    },
)
ROWS: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("any")
    (path / "policies").mkdir()
    (path / "kept").write_text(SECRET)
    return path


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(main=MAIN, name=st.sampled_from([*KNOWLEDGE, *POLICIES]), rows=ROWS)
@example(
    main={"model_list": [{"model_name": "a", "litellm_params": {"model": "b/c", "order": "x"}}]}, name="store", rows={}
)
def test_any_files_end_in_a_registry_or_in_problems(folder: Path, main: Any, name: str, rows: Any) -> None:
    for path in (folder / "policies").iterdir():
        path.unlink()
    (folder / "policies" / f"{name}.yaml").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "litellm_config.yaml").write_text(json.dumps(main), encoding="utf-8")
    loaded = load_config(folder / "litellm_config.yaml", None, {"SECRET": SECRET})
    assert (loaded.registry is None) == bool(loaded.errors)
    assert SECRET not in "".join(str(problem) for problem in loaded.problems)
    if loaded.registry is not None:
        assert SECRET not in resolved(loaded.source, loaded.registry)
