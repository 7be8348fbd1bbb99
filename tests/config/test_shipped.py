"""The configuration that comes with the package: it loads, wherever it is copied to, and holds no secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.config.documents import load
from scribe_router.config.knowledge import SHIPPED, price_map
from scribe_router.config.load import KNOWLEDGE, Loaded, load_config
from scribe_router.config.resolved import CALLBACK, resolved

ROOT = Path(__file__).parent.parent.parent
SECRET = "sk-hunter2-0123456789abcdef"


def variables() -> list[str]:
    """Every key variable of every region, and every variable of the shipped model list."""
    rows = load(SHIPPED / "policies" / "providers.yaml").data.values()
    named = {key for row in rows for region in (row.get("regions") or {}).values() for key in region.get("keys", ())}
    listed = load(SHIPPED / "litellm_config.yaml").data["model_list"]
    used = {str(entry["litellm_params"].get("api_key", "")).removeprefix("os.environ/") for entry in listed}
    return sorted(filter(None, named | used))


def keyed() -> dict[str, str]:
    return {name: f"{SECRET}-{name}" for name in variables()}


def lines(loaded: Loaded) -> list[str]:
    return [str(problem) for problem in loaded.problems]


@pytest.mark.parametrize("environment", [{}, keyed()], ids=["without keys", "with every key"])
def test_it_loads_without_a_problem(environment: dict[str, str]) -> None:
    loaded = load_config(ROOT / "litellm_config.yaml", None, environment)
    assert lines(loaded) == []
    assert loaded.registry is not None
    missing = [each.id for each in loaded.registry.deployments.values() if each.missing]
    assert bool(missing) == (not environment)
    assert len(loaded.registry.warnings) == (0 if environment else 1)


def test_every_deployment_has_a_price_a_window_and_known_facts() -> None:
    found = load_config(ROOT / "litellm_config.yaml", None, {}).or_raise()
    assert [each.id for each in found.deployments.values() if each.price is None] == []
    assert [each.id for each in found.deployments.values() if each.window is None] == []
    assert [each.id for each in found.deployments.values() if not each.facts_known] == []
    # Of gpt-oss-local nobody knows what it is good at: it is your machine's.
    without = [each.id for each in found.deployments.values() if each.mode == "chat" and not each.abilities]
    assert without == ["gpt-oss-local"]


def test_the_price_map_is_the_one_that_was_checked() -> None:
    assert price_map().checked


def test_init_writes_what_loads_without_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    target = tmp_path / "mine"
    assert CliRunner().invoke(app, ["init", str(target)]).exit_code == 0
    assert lines(load_config(target / "litellm_config.yaml", None, {})) == []
    written = {path.stem for path in (target / "policies").iterdir()}
    assert not written & set(KNOWLEDGE), "knowledge stays in the package, so that it is updated with it"
    result = CliRunner().invoke(app, ["check", "--config", str(target / "litellm_config.yaml")])
    assert [line for line in result.stderr.splitlines() if "(retire" not in line] == []  # that depends on the day
    assert result.exit_code == 0
    assert "ok: " in result.stdout


def test_init_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "litellm_config.yaml").write_text("model_list: []\n", encoding="utf-8")
    assert "kept" in CliRunner().invoke(app, ["init", str(tmp_path)]).stdout
    assert (tmp_path / "litellm_config.yaml").read_text(encoding="utf-8") == "model_list: []\n"


@pytest.fixture(scope="module")
def text() -> str:
    """`check --resolved`, with every key set."""
    loaded = load_config(ROOT / "litellm_config.yaml", None, keyed())
    return resolved(loaded.source, loaded.or_raise())


class TestResolved:
    def test_it_holds_no_secret(self, text: str) -> None:
        assert "hunter2" not in text
        assert "os.environ/OPENAI_API_KEY" in text

    def test_it_does_not_depend_on_which_keys_are_set(self, text: str) -> None:
        bare = load_config(ROOT / "litellm_config.yaml", None, {})
        assert resolved(bare.source, bare.or_raise()) == text

    def test_litellms_loader_reads_what_ours_reads(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "litellm_config.yaml"
        path.write_text(text, encoding="utf-8")
        ours = load(path, shared=True)
        assert [str(problem) for problem in ours.problems] == []
        assert yaml.safe_load(text) == ours.data

    def test_it_is_a_configuration_of_ours_that_means_the_same(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "litellm_config.yaml"
        path.write_text(text, encoding="utf-8")
        again = load_config(path, ROOT / "policies", keyed())
        assert lines(again) == []
        before = load_config(ROOT / "litellm_config.yaml", None, keyed()).or_raise()
        after = again.or_raise()
        for name, deployment in before.deployments.items():
            other = after.deployments[name]
            assert (other.api_base, other.key_name, other.region) == (
                deployment.api_base,
                deployment.key_name,
                deployment.region,
            )
            assert deployment.price is not None
            assert other.price is not None
            assert other.price.tiers == deployment.price.tiers, name

    def test_every_deployment_says_where_it_is_and_what_it_costs(self, text: str) -> None:
        for entry in yaml.safe_load(text)["model_list"]:
            assert entry["litellm_params"]["api_base"].startswith("http")
            assert "input_cost_per_token" in entry["model_info"]
            assert entry["model_info"]["id"]

    def test_our_callback_is_in_it(self, text: str) -> None:
        assert yaml.safe_load(text)["litellm_settings"]["callbacks"] == [CALLBACK]


def test_the_files_read_the_same_with_litellms_loader() -> None:
    path = ROOT / "litellm_config.yaml"
    assert load(path, shared=True).problems == []
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == load(path).data


def test_no_secret_in_the_registry_as_text() -> None:
    environment: dict[str, Any] = {**keyed(), "SCRIBE_MASTER_KEY": f"{SECRET}-master"}
    loaded = load_config(ROOT / "litellm_config.yaml", None, environment)
    assert "hunter2" not in repr(loaded.registry)
    assert "hunter2" not in repr(loaded.source)
