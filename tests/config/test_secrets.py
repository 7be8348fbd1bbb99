"""`policies/secrets.yaml`: where the values of variables come from, in every place that reads a variable."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scribe_router.config.load import Loaded, load_config
from scribe_router.config.resolved import resolved
from scribe_router.secrets.encrypted import Keys, SecretsFile, new_key
from tests.support.listing_host import hosting
from tests.support.packages import installed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(ENTRY_POINT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(VAULT,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
KEY = new_key()
MODELS = """
model_list:
  - {model_name: a, litellm_params: {model: openai/gpt-6-luna, api_key: os.environ/OPENAI_API_KEY}}
  - {model_name: b, litellm_params: {model: anthropic/claude-opus-5-5}}
  - model_name: c
    litellm_params: {model: openai/gpt-6-luna, api_key: x, extra_headers: {X-Token: os.environ/TOKEN}}
"""


def loaded(folder: Path, environment: dict[str, str] | None = None, models: str = MODELS, **policies: str) -> Loaded:
    (folder / "policies").mkdir(exist_ok=True)
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "litellm_config.yaml").write_text(models, encoding="utf-8")
    return load_config(folder / "litellm_config.yaml", None, environment or {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With `openai` in the encrypted file and a secret in a file of its own."""
    SecretsFile(tmp_path / ".scribe" / "secrets", Keys.of({"SCRIBE_SECRETS_KEY": KEY})).put("openai", "hunter2-a", 0)
    (tmp_path / "anthropic").write_text("hunter2-b\n")
    (tmp_path / "anthropic").chmod(0o600)
    return tmp_path


def test_every_variable_finds_its_value(folder: Path) -> None:
    text = EXAMPLE.replace("/run/secrets/", f"{folder}/") + "  TOKEN: os.environ/TEAM_TOKEN:hunter2-c\n"
    found = loaded(folder, {"SCRIBE_SECRETS_KEY": KEY, "TEAM_MISTRAL_KEY": "hunter2-d"}, secrets=text)
    registry = found.or_raise()
    assert found.problems == ()
    a, b, c = (registry.deployments[name] for name in "abc")
    assert (a.api_key, a.key_name, b.api_key, b.key_name) == (
        "hunter2-a", "OPENAI_API_KEY", "hunter2-b", "ANTHROPIC_API_KEY",
    )  # fmt: skip
    assert c.headers["X-Token"] == "hunter2-c"
    assert "hunter2" not in repr(registry) + resolved(found.source, registry)
    assert "api_key: os.environ/ANTHROPIC_API_KEY" in resolved(found.source, registry)


def test_other_policies_may_name_secrets_themselves(folder: Path) -> None:
    """Also without a secrets.yaml."""
    (folder / "master").write_text("0123456789-0123456789\n")
    (folder / "master").chmod(0o600)
    access = "master_key: file/master\non_missing_key: leave_out\n"
    registry = loaded(folder, {"SCRIBE_SECRETS_KEY": KEY}, access=access, budgets="webhook: secret/openai\n")
    assert [str(problem) for problem in registry.problems] == [
        f"{folder}/policies/budgets.yaml:1:10: webhook: not a URL; write one such as https://hooks.example.com/alerts"
    ]
    registry = loaded(folder, {"SCRIBE_SECRETS_KEY": KEY}, access=access, budgets="{}")
    found = registry.or_raise().access
    assert found is not None
    assert found.master_key.get_secret_value() == "0123456789-0123456789"


def test_the_key_of_the_file_may_be_wrong(folder: Path) -> None:
    found = loaded(folder, {"SCRIBE_SECRETS_KEY": new_key()}, secrets="environment: {OPENAI_API_KEY: secret/openai}")
    (error,) = found.errors
    assert re.search(r"secrets.yaml:1:31: environment.OPENAI_API_KEY: .* written with the key \w{12}, and", str(error))


def test_left_out_on_purpose(folder: Path) -> None:
    secrets = "{on_missing: leave_out, environment: {OPENAI_API_KEY: secret/nobody, TOKEN: file/nothing}}"
    found = loaded(folder, {"SCRIBE_SECRETS_KEY": KEY}, secrets=secrets).or_raise()
    assert found.deployments["a"].missing == "OPENAI_API_KEY is not set"
    assert found.deployments["c"].missing == "TOKEN is not set"


def test_a_secret_changes_the_version_no_less_than_a_variable(folder: Path) -> None:
    secrets = "environment: {OPENAI_API_KEY: file/anthropic}"
    first = loaded(folder, secrets=secrets).or_raise().version
    (folder / "anthropic").write_text("hunter2-new")
    assert loaded(folder, secrets=secrets).or_raise().version != first


def check(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "scribe_router", "check"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_vault_as_documented(folder: Path) -> None:
    installed(folder / "site", VAULT, ENTRY_POINT)
    secrets = "environment: {OPENAI_API_KEY: vault/kv/openai, TOKEN: vault/kv/odd}\n"
    models = MODELS.replace("  - {model_name: b, litellm_params: {model: anthropic/claude-opus-5-5}}\n", "")
    loaded(folder, models=models, secrets=secrets)
    pages = {"/v1/kv/openai": b'{"data": {"value": "hunter2"}}', "/v1/kv/odd": b'{"data": {"valeu": "hunter2"}}'}
    with hosting(pages) as host:
        environment = {"VAULT_ADDR": host.url, "VAULT_TOKEN": "hunter2"}
        wrong = check(folder, environment)
        loaded(folder, models=models, secrets=secrets.replace("odd", "openai"))
        right = check(folder, environment)
    assert wrong.stderr.splitlines() == [
        "policies/secrets.yaml:1:55: environment.TOKEN: kv/odd has no field value in the vault",
        "1 error",
    ]
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.startswith("ok: 2 deployments"), "nothing is left out"
    away = check(folder, environment)
    assert "environment.OPENAI_API_KEY: vault/ failed with URLError" in away.stderr
    assert "hunter2" not in wrong.stderr + right.stdout + away.stderr


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("raise OSError('no licence')", "vault", "vault = acme_llm:read cannot be loaded: OSError: no licence"),
        ("def read(name): return name", "file", "file is the name of something else already"),
        ("def read(name): return name", "openai", "openai is the name of something else already"),
        ("def read(name): return 5", "vault", "environment.TOKEN: vault/ gave int, not text"),
    ],
)
def test_a_package_that_is_broken(folder: Path, module: str, name: str, said: str) -> None:
    installed(folder / "site", module, ENTRY_POINT.replace("vault =", f"{name} ="))
    loaded(folder, secrets="environment: {TOKEN: vault/x}\n")
    done = check(folder, {})
    assert done.returncode == 1
    assert said in done.stderr
