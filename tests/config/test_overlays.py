"""A user's file of knowledge lies over the shipped one, key by key; a mistake is shown where it stands."""

from pathlib import Path
from textwrap import dedent

import pytest

from scribe_router.config.load import Loaded, load_config

MODELS = """\
model_list:
  - model_name: far
    litellm_params: {model: openai/gpt-6-luna, api_key: os.environ/OPENAI_EU_API_KEY}
    model_info: {region: eu}
  - model_name: near
    litellm_params: {model: openai/gpt-6-luna, api_key: os.environ/OPENAI_API_KEY}
"""
KEYS = {"OPENAI_API_KEY": "a", "OPENAI_EU_API_KEY": "b"}


def loaded(folder: Path, name: str, text: str, models: str = MODELS) -> Loaded:
    (folder / "policies").mkdir()
    (folder / "policies" / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    (folder / "litellm_config.yaml").write_text(models, encoding="utf-8")
    return load_config(folder / "litellm_config.yaml", None, KEYS)


def problems(folder: Path, name: str, text: str) -> list[str]:
    return [str(each).removeprefix(f"{folder}/") for each in loaded(folder, name, text).problems]


def test_a_changed_region_keeps_the_rest(tmp_path: Path) -> None:
    text = "openai: {regions: {eu: {api_base: https://eu.example.com/v1}}}\n"
    found = loaded(tmp_path, "providers", text).or_raise()
    assert found.deployments["far"].api_base == "https://eu.example.com/v1"
    assert found.deployments["far"].api_key == "b"
    assert found.deployments["near"].api_base == "https://api.openai.com/v1"
    assert found.deployments["near"].lane == "wire"


def test_a_new_provider_can_be_added(tmp_path: Path) -> None:
    text = """\
        groq:
          wire: openai
          lane: wire
          default_region: global
          headers: {X-Team: scribe, X-Token: "os.environ/TOKEN:"}
          regions: {global: {api_base: https://api.groq.com/openai/v1, keys: [GROQ_API_KEY]}}
        """
    models = "model_list:\n  - {model_name: a, litellm_params: {model: groq/llama}}\n"
    found = loaded(tmp_path, "providers", text, models).or_raise().deployments["a"]
    assert (found.api_base, found.lane, found.missing) == (
        "https://api.groq.com/openai/v1",
        "wire",
        "GROQ_API_KEY is not set",
    )
    assert found.headers == {"X-Team": "scribe"}


def test_a_list_replaces_a_list(tmp_path: Path) -> None:
    text = "openai: {regions: {eu: {keys: [MINE]}}}\n"
    models = MODELS.replace(", api_key: os.environ/OPENAI_EU_API_KEY", "")
    assert loaded(tmp_path, "providers", text, models).or_raise().deployments["far"].missing == "MINE is not set"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, "providers", "# to come\n").or_raise().deployments["near"].api_base


def test_one_price_of_a_known_model_keeps_its_other_facts(tmp_path: Path) -> None:
    plain = loaded(tmp_path, "retries", "{}\n").or_raise().deployments["near"]
    (tmp_path / "policies" / "prices.yaml").write_text("gpt-6-luna: {input_cost_per_token: 5.0e-6}\n", encoding="utf-8")
    mine = load_config(tmp_path / "litellm_config.yaml", None, KEYS).or_raise().deployments["near"]
    assert plain.price is not None
    assert mine.price is not None
    assert mine.price.rates(0).input == 5_000_000
    assert mine.price.rates(0).output == plain.price.rates(0).output
    assert (mine.window, mine.supports) == (plain.window, plain.supports)


def test_a_price_of_a_model_with_tiers_replaces_the_tiers(tmp_path: Path) -> None:
    models = "model_list:\n  - {model_name: a, litellm_params: {model: dashscope/qwen3-max, api_key: x}, model_info: "
    models += "{region: singapore}}\n"
    text = "dashscope/qwen3-max: {input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}\n"
    price = loaded(tmp_path, "prices", text, models).or_raise().deployments["a"].price
    assert price is not None
    assert [above for above, _ in price.tiers] == [0]
    assert price.rates(10**6).output == 2_000_000


def test_a_new_migration_is_added_to_the_shipped_ones(tmp_path: Path) -> None:
    found = loaded(tmp_path, "migrations", "ours-1: {to: near}\n").or_raise()
    assert found.migrations["ours-1"].to == "near"
    assert len(found.migrations) > 50


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "providers",
            "mistral: {}\nopenai:\n  default_region: mars\n",
            "policies/providers.yaml:3:3: openai: default_region mars is not one of its regions",
        ),
        (
            "providers",
            "openai:\n  regions:\n    eu: {price_factor: none}\n",
            "policies/providers.yaml:3:24: openai.regions.eu.price_factor: expected a number, found 'none'",
        ),
        (
            "migrations",
            "ours: {to: small, note: [1]}\n",
            "policies/migrations.yaml:1:25: ours.note: expected a name (text), found a list",
        ),
        (
            "prices",
            "openai/gpt-6-luna: {max_input_tokens: many}\n",
            "policies/prices.yaml:1:39: openai/gpt-6-luna.max_input_tokens: expected a whole number, found 'many'",
        ),
        ("providers", "- openai\n", "policies/providers.yaml:1:1: expected a mapping, found a list"),
        ("prices", "a: [\n", "policies/prices.yaml:2:1: not yaml: expected the node content, but found '<stream end>'"),
    ],
)
def test_a_mistake_is_shown_in_the_users_file(tmp_path: Path, name: str, text: str, line: str) -> None:
    assert problems(tmp_path, name, text) == [line]
