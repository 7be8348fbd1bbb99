"""Where a deployment is called, and with which key: a table of entries, and what becomes of each."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scribe_router.config.load import load_config
from scribe_router.deployment import Deployment

MOVED = {"KIMI_API_BASE": "https://kimi.example.com/v1"}
KEYS = {"OPENAI_API_KEY": "o", "OPENAI_EU_API_KEY": "e", "MOONSHOT_API_KEY": "m", "KIMI_API_KEY": "k"}


@dataclass(frozen=True)
class Row:
    """One entry and what is expected of it: region, address, variable of the key."""

    about: str
    params: str
    region: str | None
    api_base: str | None
    key_name: str | None
    info: str = "{}"
    environment: dict[str, str] = field(default_factory=dict)


ROWS = [
    Row("the default region", "model: openai/a", "global", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    Row(
        "a region that is named",
        "model: openai/a",
        "eu",
        "https://eu.api.openai.com/v1",
        "OPENAI_EU_API_KEY",
        "{region: eu}",
    ),
    Row(
        "a region that the host tells",
        "model: openai/a, api_base: https://eu.api.openai.com/v1",
        "eu",
        "https://eu.api.openai.com/v1",
        "OPENAI_EU_API_KEY",
    ),
    Row(
        "a region that the host tells under its other name",
        "model: openai/a, base_url: https://eu.api.openai.com/v1/",
        "eu",
        "https://eu.api.openai.com/v1",
        "OPENAI_EU_API_KEY",
    ),
    Row(
        "a stranger's host never gets the provider's key",
        "model: openai/a, api_base: https://proxy.example.com/v1",
        None,
        "https://proxy.example.com/v1",
        None,
    ),
    Row(
        "nor does a host that only begins like the provider's",
        "model: openai/a, api_base: https://api.openai.com.example.com/v1",
        None,
        "https://api.openai.com.example.com/v1",
        None,
    ),
    Row(
        "a key that is named goes where the entry says",
        "model: openai/a, api_base: https://proxy.example.com/v1, api_key: os.environ/OPENAI_API_KEY",
        None,
        "https://proxy.example.com/v1",
        "OPENAI_API_KEY",
    ),
    Row(
        "the first variable that is set",
        "model: moonshot/kimi-k3",
        "china",
        "https://api.moonshot.cn/v1",
        "KIMI_API_KEY",
        "{region: china}",
    ),
    Row(
        "a variable moves the region's host",
        "model: moonshot/kimi-k3",
        "china",
        "https://kimi.example.com/v1",
        "KIMI_API_KEY",
        "{region: china}",
        MOVED,
    ),
    Row(
        "the host that it moved from is still the region's",
        "model: moonshot/kimi-k3, api_base: https://api.moonshot.cn/v1",
        "china",
        "https://api.moonshot.cn/v1",
        "KIMI_API_KEY",
        environment=MOVED,
    ),
    Row(
        "and so is the host that it moved to",
        "model: moonshot/kimi-k3, api_base: https://kimi.example.com/v1",
        "china",
        "https://kimi.example.com/v1",
        "KIMI_API_KEY",
        environment=MOVED,
    ),
    Row(
        "a server of one's own",
        "model: hosted_vllm/a, api_base: 'http://[::1]:8000/v1'",
        None,
        "http://[::1]:8000/v1",
        None,
    ),
    Row("a provider without a row", "model: groq/a, api_key: os.environ/OPENAI_API_KEY", None, None, "OPENAI_API_KEY"),
]


def deployment(folder: Path, params: str, info: str = "{}", environment: dict[str, str] | None = None) -> Deployment:
    text = f"model_list:\n  - model_name: it\n    litellm_params: {{{params}}}\n    model_info: {info}\n"
    (folder / "litellm_config.yaml").write_text(text, encoding="utf-8")
    return (
        load_config(folder / "litellm_config.yaml", None, {**KEYS, **(environment or {})}).or_raise().deployments["it"]
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.about)
def test_hosting(row: Row, tmp_path: Path) -> None:
    found = deployment(tmp_path, row.params, row.info, row.environment)
    assert (found.region, found.api_base, found.key_name) == (row.region, row.api_base, row.key_name)
    assert found.missing is None
    assert found.api_key == (KEYS[row.key_name] if row.key_name else None)


@pytest.mark.parametrize(
    "base", ["http://", "https:///v1", "ftp://a/v1", "http://a b/v1", "http://[::1", "http://a:x/v1", "a"]
)
def test_an_address_that_is_none(base: str, tmp_path: Path) -> None:
    text = f"model_list:\n  - model_name: it\n    litellm_params: {{model: openai/a, api_base: '{base}'}}\n"
    (tmp_path / "litellm_config.yaml").write_text(text, encoding="utf-8")
    problems = [problem.message for problem in load_config(tmp_path / "litellm_config.yaml", None, {}).problems]
    assert problems == [f"expected http://host or https://host, found {base!r}"]


class TestPrices:
    """A region's uplift holds however the region was found: a bound below the truth would be no bound."""

    @pytest.mark.parametrize(
        ("params", "info", "input_price"),
        [
            ("", "{}", 100_000),
            ("", "{region: eu}", 110_000),
            (", api_base: https://eu.api.openai.com/v1", "{}", 110_000),
            (", api_base: https://eu.api.openai.com/v1", "{region: eu}", 110_000),
            ("", "{region: jp}", 110_000),
        ],
    )
    def test_uplift(self, params: str, info: str, input_price: int, tmp_path: Path) -> None:
        found = deployment(tmp_path, f"model: openai/gpt-6-luna{params}", info, {"OPENAI_JP_API_KEY": "j"})
        assert found.price is not None
        assert found.price.rates(0).input == input_price

    def test_a_stated_price_is_final(self, tmp_path: Path) -> None:
        info = "{region: eu, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}"
        price = deployment(tmp_path, "model: openai/gpt-6-luna", info).price
        assert price is not None
        assert (price.rates(0).input, price.rates(0).output, price.source) == (1_000_000, 2_000_000, "yaml")

    def test_a_price_may_stand_in_litellm_params(self, tmp_path: Path) -> None:
        params = "model: openai/gpt-6-luna, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
        price = deployment(tmp_path, params).price
        assert price is not None
        assert price.rates(0).output == 2_000_000

    def test_a_tier_of_any_size_may_be_stated(self, tmp_path: Path) -> None:
        info = "{input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
        info += ", input_cost_per_token_above_64k_tokens: 3.0e-6}"
        price = deployment(tmp_path, "model: openai/gpt-6-luna", info).price
        assert price is not None
        assert [above for above, _ in price.tiers] == [0, 64_000]

    def test_the_base_model_is_looked_up(self, tmp_path: Path) -> None:
        found = deployment(
            tmp_path, "model: azure/mine, api_base: https://x.example.com, api_key: k", "{base_model: gpt-6-luna}"
        )
        assert found.price is not None
        assert found.window


class TestLanes:
    """What the wire lane would not send keeps a deployment on LiteLLM's lane."""

    @pytest.mark.parametrize(
        ("params", "lane"),
        [
            ("", "wire"),
            (", temperature: 0.5, extra_body: {top_k: 5}, order: 2", "wire"),
            (", input_cost_per_token: 0, output_cost_per_token: 0", "wire"),
            (", top_k: 5", "litellm"),
            (", num_ctx: 8192", "litellm"),
        ],
    )
    def test_lane(self, params: str, lane: str, tmp_path: Path) -> None:
        assert deployment(tmp_path, f"model: openai/gpt-6-luna{params}").lane == lane

    def test_a_lane_that_is_named_wins(self, tmp_path: Path) -> None:
        assert deployment(tmp_path, "model: openai/gpt-6-luna, top_k: 5", "{lane: wire}").lane == "wire"

    def test_headers_of_both_names(self, tmp_path: Path) -> None:
        params = "model: openai/a, headers: {A: a, B: b}, extra_headers: {B: c}, organization: org-1"
        assert dict(deployment(tmp_path, params).headers) == {"A": "a", "B": "c", "OpenAI-Organization": "org-1"}

    def test_weight_zero_is_zero(self, tmp_path: Path) -> None:
        assert deployment(tmp_path, "model: openai/a, weight: 0").weight == 0
        assert deployment(tmp_path, "model: openai/a").weight == 1
