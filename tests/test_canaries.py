"""Secrets planted wherever one may come from, and looked for wherever something is written or told.

The providers here are the worst that can be: each tells what it was sent, key and headers, in every kind of reply.
"""

import itertools
import logging
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.config.load import load_config
from scribe_router.router import Router
from scribe_router.secrets.encrypted import Keys, SecretsFile, new_key
from tests.support.echo_host import Host, echoing
from tests.support.served import served

MARK = "canary"
KINDS = ("400", "401", "403", "404", "413", "422", "429", "500", "200", "event", "text", "cut")
PROVIDERS = (("openai", "wire"), ("openai", "litellm"), ("anthropic", "litellm"))
MASTER = f"{MARK}-of-the-master-0123456789"
FROM = ("ENVIRONMENT", "FILE", "ENCRYPTED")
POLICIES = {
    "secrets": "environment: {FILE: file/kept/file, ENCRYPTED: secret/openai}\n",
    "access": "master_key: os.environ/MASTER\n",
    "store": "ledger: sqlite:run/ledger.db\njournal: run/journal.jsonl\n",
    "cache": "{enabled: true, store: redis, redis: os.environ/CACHE}\n",
    "breaker": "failures: 100\n",
    "retries": "{rate_limit: {retries: 0}, server: {retries: 0}, network: {retries: 0}, timeout: {retries: 0}}\n",
    "budgets": "limits: [{id: day, scope: user, window: day, usd: 50, warn_at: [0.000001]}]\n"
    "webhook: os.environ/WEBHOOK\n",
}


def entry(name: str, provider: str, lane: str, base: str, key: str) -> str:
    model = "gpt-6-luna" if provider == "openai" else "claude-opus-5-5"
    return f"""
  - model_name: {name}
    litellm_params:
      model: {provider}/{model}
      api_base: {base}
      api_key: os.environ/{key}
      extra_headers: {{X-Team-Token: os.environ/HEADER, X-Other-Auth: {MARK}-literal-0123456789}}
    model_info: {{lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""


def entries(host: str, kinds: Sequence[str] = KINDS) -> dict[str, str]:
    """Model to its entry: every kind of reply on every lane, the key from each place in turn; and hosts that nobody
    reaches."""
    found = {}
    for row, (provider, lane) in enumerate(PROVIDERS):
        bases = {kind: f"{host}/{kind}/v1" for kind in kinds}
        bases["nowhere"] = f"http://127.0.0.1:1/v1?key={MARK}-in-query"
        for column, (kind, base) in enumerate(bases.items()):
            name = f"{provider}-{lane}-{kind}"
            found[name] = entry(name, provider, lane, base, FROM[(row + column) % len(FROM)])
    return found


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with echoing() as running:
        yield running


@pytest.fixture
def environment() -> dict[str, str]:
    return {
        "SCRIBE_SECRETS_KEY": new_key(),
        "MASTER": MASTER,
        "ENVIRONMENT": f"{MARK}-of-the-environment",
        "HEADER": f"{MARK}-of-a-header",
        "CACHE": f"redis://:{MARK}-of-redis@127.0.0.1:1/0",
        "WEBHOOK": f"http://127.0.0.1:1/{MARK}-of-a-webhook",
    }


@pytest.fixture
def folder(tmp_path: Path, host: Host, environment: Mapping[str, str]) -> Path:
    (tmp_path / "policies").mkdir()
    for name, text in POLICIES.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(text)
    (tmp_path / "litellm_config.yaml").write_text("model_list:" + "".join(entries(host.url).values()))
    kept = tmp_path / "kept" / "file"
    kept.parent.mkdir()
    kept.write_text(f"{MARK}-of-a-file\n")
    kept.chmod(0o600)
    SecretsFile(tmp_path / ".scribe" / "secrets", Keys.of(environment)).put("openai", f"{MARK}-encrypted", 0)
    return tmp_path


def command(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints, on both of its streams."""
    place = ["--config", str(folder / "litellm_config.yaml")]
    result = CliRunner(env={**os.environ, **environment}).invoke(app, [*arguments, *place])
    raised = result.exception
    return result.output + ("".join(traceback.format_exception(raised)) if raised is not None else "")


def told(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}"


def written(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file that the router wrote."""
    for path in (folder / "run").rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes().decode("latin-1")


def logged(records: list[logging.LogRecord]) -> str:
    """Everything that a handler of any kind could write of these records, exceptions and arguments included."""
    form = logging.Formatter("%(name)s %(message)s %(pathname)s")
    return "\n".join(f"{form.format(each)} {each.args} {each.__dict__.get('extra')}" for each in records)


def assert_clean(texts: Mapping[str, str]) -> None:
    """No text holds a canary; the failure says what stands around the first of each."""
    found = {name: text.index(MARK) for name, text in texts.items() if MARK in text}
    shown = [f"{name}: {texts[name][max(0, at - 200) : at + 40]!r}" for name, at in found.items()]
    assert not found, "\n".join(shown)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kinds", [("400", "401"), pytest.param(KINDS, marks=pytest.mark.slow)], ids=["few", "all"])
def test_serving(
    folder: Path,
    environment: dict[str, str],
    host: Host,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    kinds: Sequence[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: dict[str, str] = {}
    loaded = load_config(folder / "litellm_config.yaml", None, environment)
    router = Router(loaded.or_raise())
    texts["repr"] = f"{router!r} {router.registry!r} {loaded.problems!r}"
    headers = {"authorization": f"Bearer {MASTER}"}
    with served(router) as url, httpx.Client(base_url=url, timeout=50, headers=headers) as client:
        for name, stream in itertools.product(entries(host.url, kinds), (False, True)):
            ask = {"model": name, "messages": [{"role": "user", "content": "hello"}], "stream": stream}
            answer = client.post("/v1/chat/completions", json=ask)
            assert answer.status_code != 200 or stream, name
            texts[f"{name} {stream}"] = told(answer)
        for path in ("/admin/spend", "/admin/spend?by=user,key", "/admin/deployments", "/admin/limits"):
            texts[path] = told(client.get(path))
        for path in ("/v1/models", "/health/ready", "/health/live", "/nowhere"):
            texts[path] = told(client.get(path))
        texts["a wrong key"] = told(httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {MARK}-wrong"}))
    texts |= dict(written(folder))
    assert {"ledger.db", "journal.jsonl"} <= texts.keys()
    texts["logs"] = logged(caplog.records)
    assert "the cache (redis://127.0.0.1:1) is away" in texts["logs"]
    for planted in ("-of-the-environment", "-of-a-file", "-encrypted", "-of-a-header", "-literal-0123456789"):
        assert f"{MARK}{planted}" in "".join(host.seen), "it did not even leave"
    assert "DEBUG" in {record.levelname for record in caplog.records}
    texts["output"] = "".join(capfd.readouterr())
    assert_clean(texts)


COMMANDS = (
    ["check"],
    ["check", "--resolved"],
    ["explain", "openai-wire-400", "--effort", "high"],
    ["models"],
    ["models", "list"],
    ["models", "list", "--json"],
    ["spend"],
    ["spend", "--by", "limit"],
    ["prices", "check"],
    ["ledger", "check"],
    ["secrets", "list"],
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands(folder: Path, environment: dict[str, str], arguments: list[str]) -> None:
    assert_clean({"output": command(folder, environment, *arguments)})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("api_base: ", f"http://user:{MARK}@127.0.0.1:1/v1"),
        ("api_base: ", "os.environ/BROKEN"),
        ("lane: ", "os.environ/BROKEN"),
        ("model: ", "os.environ/BROKEN"),
        ("input_cost_per_token: ", "os.environ/BROKEN"),
    ],
)
def test_mistakes(folder: Path, environment: dict[str, str], place: str, value: str) -> None:
    """A secret in the wrong place is told by its name."""
    environment["BROKEN"] = f"ftp://user:{MARK}@127.0.0.1/{MARK}"
    path = folder / "litellm_config.yaml"
    text = path.read_text()
    path.write_text("\n".join(f"{line.partition(place)[0]}{place}{value}" if place in line and "{" not in line else line
                              for line in text.splitlines()))  # fmt: skip
    for arguments in (["check"], ["check", "--resolved"], ["models"]):
        assert_clean({"output": command(folder, environment, *arguments)})


AT_FIRST = ("access", "secrets")  # of the policies; the commands take seconds for each
OTHERS = [pytest.param(policy, marks=pytest.mark.slow) for policy in sorted(POLICIES) if policy not in AT_FIRST]


@pytest.mark.parametrize("policy", [*AT_FIRST, *OTHERS])
def test_mistakes_of_policies(folder: Path, environment: dict[str, str], policy: str) -> None:
    """Each value of a policy is a secret once, by reference: what does not fit is told without it."""
    environment["BROKEN"] = f"{MARK} {{}}"
    path = folder / "policies" / f"{policy}.yaml"
    fields: dict[str, Any] = {
        "access": ["on_missing_key", "user_from_request", "master_key"],
        "budgets": ["limits", "webhook", "minimum_useful_output"],
        "cache": ["enabled", "store", "redis", "ttl_seconds", "max_bytes", "share"],
        "store": ["ledger", "durability", "fail"],
        "secrets": ["file", "on_missing", "environment"],
        "retries": ["deadline_seconds", "rate_limit"],
        "breaker": ["failures", "all_open"],
    }
    for field in fields[policy]:
        for value in ("os.environ/BROKEN", "secret/openai", "file/kept/file"):
            path.write_text(f"{field}: {value}\n")
            assert_clean({field: command(folder, environment, "check")})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_ledger_that_is_away(
    folder: Path, environment: dict[str, str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    (folder / "policies" / "store.yaml").write_text("ledger: os.environ/CACHE\n")
    router = Router(load_config(folder / "litellm_config.yaml", None, environment).or_raise())
    texts = {"repr": repr(router.registry)}
    with served(router) as url:
        headers = {"authorization": f"Bearer {MASTER}"}
        ask = {"model": "openai-wire-400", "messages": [{"role": "user", "content": "hello"}]}
        for path in ("/health/ready", "/admin/spend", "/admin/limits"):
            texts[path] = told(httpx.get(url + path, headers=headers, timeout=50))
        texts["call"] = told(httpx.post(f"{url}/v1/chat/completions", json=ask, headers=headers, timeout=50))
    texts["logs"] = logged(caplog.records)
    texts["output"] = "".join(capfd.readouterr())
    assert_clean(texts)
    assert "503" in texts["call"]
    for arguments in (["spend"], ["ledger", "check"]):
        assert_clean({"output": command(folder, environment, *arguments)})
