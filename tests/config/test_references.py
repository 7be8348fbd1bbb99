"""`os.environ/NAME`: what a value of the environment becomes, and that it is never shown."""

from pathlib import Path
from textwrap import dedent

import pytest

from scribe_router.config.load import Loaded, load_config
from scribe_router.registry import Registry

ONE = (
    "model_list:\n  - {model_name: a, litellm_params: {model: openai/gpt-6-luna, api_key: os.environ/OPENAI_API_KEY}}\n"
)


def loaded(folder: Path, environment: dict[str, str], models: str = ONE, **policies: str) -> Loaded:
    (folder / "policies").mkdir()
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    (folder / "litellm_config.yaml").write_text(dedent(models), encoding="utf-8")
    return load_config(folder / "litellm_config.yaml", None, environment)


def registry(folder: Path, environment: dict[str, str], models: str = ONE, **policies: str) -> Registry:
    return loaded(folder, environment, models, **policies).or_raise()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [({}, 600.5), ({"SECONDS": ""}, 600.5), ({"SECONDS": "30"}, 30.0), ({"SECONDS": "1e2"}, 100.0)],
)
def test_a_number(tmp_path: Path, environment: dict[str, str], seconds: float) -> None:
    text = "deadline_seconds: os.environ/SECONDS:600.5\n"
    assert registry(tmp_path, environment, retries=text).retries.deadline_seconds == seconds


@pytest.mark.parametrize(("environment", "amount"), [({}, "50"), ({"USD": "0.1"}, "0.1"), ({"USD": "7"}, "7")])
def test_an_amount_of_money_is_exact(tmp_path: Path, environment: dict[str, str], amount: str) -> None:
    text = "limits:\n  - {id: a, scope: user, window: day, usd: os.environ/USD:50.0}\n"
    assert str(registry(tmp_path, environment, budgets=text).budgets.limits[0].usd) == amount


@pytest.mark.parametrize(
    ("environment", "hosted"), [({}, True), ({"HOSTED": "false"}, False), ({"HOSTED": "TRUE"}, True)]
)
def test_a_flag(tmp_path: Path, environment: dict[str, str], hosted: bool) -> None:
    models = "model_list:\n  - {model_name: a, litellm_params: {model: openai/gpt-6-luna}}\n"
    text = "openai: {needs_key: os.environ/HOSTED:true}\n"
    assert (registry(tmp_path, environment, models, providers=text).deployments["a"].missing is not None) == hosted


@pytest.mark.parametrize(
    "text", ["5", "1e3", "true", "off", "null", "a: b", "a #b", "'a'", "[a]", "- a", "http://a/b:c"]
)
def test_text_stays_as_it_is(tmp_path: Path, text: str) -> None:
    found = registry(tmp_path, {"JOURNAL": text}, store="journal: os.environ/JOURNAL:x\n")
    assert found.store.journal == str(tmp_path / text)


def test_a_default_may_hold_colons(tmp_path: Path) -> None:
    text = "ledger: os.environ/SCRIBE_STORE:sqlite:a/b.sqlite3\n"
    assert registry(tmp_path, {}, store=text).store.url == f"sqlite:{tmp_path}/a/b.sqlite3"


@pytest.mark.parametrize("key", ["12345678901234567890", "1e1234567890123456789", "  0123456789abcdefghij"])
def test_a_key_made_of_digits_is_a_key(tmp_path: Path, key: str) -> None:
    environment = {"KEY": key, "OPENAI_API_KEY": key}
    found = registry(tmp_path, environment, access="master_key: os.environ/KEY\n")
    assert found.access is not None
    assert found.access.master_key.get_secret_value() == key.strip()
    assert found.deployments["a"].api_key == key


class TestModels:
    def test_parameters_get_their_type(self, tmp_path: Path) -> None:
        models = """\
            model_list:
              - model_name: a
                litellm_params:
                  model: os.environ/MODEL
                  api_key: os.environ/KEY
                  temperature: os.environ/TEMPERATURE
                  order: os.environ/ORDER
                  extra_headers: {X-Number: os.environ/ORDER}
                  num_ctx: os.environ/CTX
            """
        environment = {"MODEL": "openai/gpt-6-luna", "KEY": "7", "TEMPERATURE": "0.5", "ORDER": "2", "CTX": "4096"}
        found = registry(tmp_path, environment, models).deployments["a"]
        assert (found.upstream_model, found.api_key, found.key_name) == ("gpt-6-luna", "7", "KEY")
        assert (found.params["temperature"], found.order) == (0.5, 2)
        assert found.headers["X-Number"] == "2"
        assert found.litellm_params == {"num_ctx": 4096}
        assert found.lane == "litellm", "the wire lane would not send num_ctx"

    @pytest.mark.parametrize(
        ("params", "missing"),
        [
            ("model: openai/a, api_base: os.environ/BASE, api_key: x", "BASE is not set"),
            ("model: openai/a, base_url: os.environ/BASE, api_key: x", "BASE is not set"),
            ("model: hosted_vllm/a, api_base: os.environ/BASE", "BASE is not set"),
            ("model: openai/a, api_key: os.environ/KEY", "KEY is not set"),
            ("model: openai/a, api_key: x, extra_headers: {A: os.environ/TOKEN}", "TOKEN is not set"),
            ("model: bedrock/a, aws_secret_access_key: os.environ/AWS", "AWS is not set"),
        ],
    )
    def test_without_its_variables_a_deployment_is_left_out(self, tmp_path: Path, params: str, missing: str) -> None:
        models = f"model_list:\n  - model_name: a\n    litellm_params: {{{params}}}\n"
        assert registry(tmp_path, {"BASE": ""}, models).deployments["a"].missing == missing

    def test_an_address_of_the_environment_is_the_address(self, tmp_path: Path) -> None:
        models = "model_list:\n  - {model_name: a, litellm_params: {model: hosted_vllm/q, api_base: os.environ/BASE}}\n"
        found = registry(tmp_path, {"BASE": "http://10.0.0.1:8000/v1/"}, models).deployments["a"]
        assert (found.api_base, found.missing) == ("http://10.0.0.1:8000/v1", None)


class TestNothingIsShown:
    @pytest.mark.parametrize(
        ("place", "policies"),
        [
            ("master_key", {"access": "master_key: os.environ/SECRET\n"}),
            ("deadline", {"retries": "deadline_seconds: os.environ/SECRET\n"}),
            ("one of", {"access": "master_key: os.environ/LONG\non_missing_key: os.environ/SECRET\n"}),
            ("money", {"budgets": "limits:\n  - {id: a, scope: user, window: day, usd: os.environ/SECRET}\n"}),
            ("pattern", {"store": "ledger: os.environ/SECRET\n"}),
        ],
    )
    def test_of_a_policy(self, tmp_path: Path, place: str, policies: dict[str, str]) -> None:
        found = loaded(tmp_path, {"SECRET": "hunter2", "LONG": "0123456789" * 3}, **policies)
        assert found.errors, place
        assert "SECRET" in str(found.problems[0]) or "master_key" in str(found.problems[0]) or place == "pattern"
        shown = [str(problem) for problem in found.problems]
        assert not [line for line in shown if "hunter2" in line]

    @pytest.mark.parametrize(
        "params", ["order: os.environ/SECRET", "api_base: os.environ/SECRET", "model: os.environ/SECRET"]
    )
    def test_of_a_deployment(self, tmp_path: Path, params: str) -> None:
        model = "" if params.startswith("model") else "model: openai/a, "
        models = f"model_list:\n  - {{model_name: a, litellm_params: {{{model}{params}}}}}\n"
        found = loaded(tmp_path, {"SECRET": "hunter2"}, models)
        assert found.errors
        assert not [str(problem) for problem in found.problems if "hunter2" in str(problem)]

    def test_of_the_registry(self, tmp_path: Path) -> None:
        models = """\
            model_list:
              - model_name: a
                litellm_params:
                  model: openai/gpt-6-luna
                  api_key: os.environ/SECRET
                  extra_headers: {X-Token: os.environ/SECRET}
                  aws_secret_access_key: os.environ/SECRET
            """
        text = "master_key: os.environ/SECRET\n"
        found = registry(tmp_path, {"SECRET": "hunter2" * 5}, models, access=text)
        assert found.deployments["a"].api_key == "hunter2" * 5
        assert "hunter2" not in repr(found)
