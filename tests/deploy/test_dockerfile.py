"""The Dockerfile's steps, executed in plain directories, and what comes out of them started."""

import contextlib
import http.client
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.plain_image import REPOSITORY, Build, Image, context, words

pytestmark = [pytest.mark.timeout(900)]
TEXT = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
KEY = "a key of this test, long enough"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        yield Build(TEXT, Path(folder).resolve()).run()


def address(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """Where a started image listens, read from its greeting; it answers when this returns."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"at http://([\d.]+):(\d+)", line):
            alive(int(found[2]))
            return found[1], int(found[2])
    pytest.fail("".join(said))


def alive(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            assert ask(port, "/health/live")[0] == 200
            return
        assert time.monotonic() < deadline, "it said hello, and did not listen within 30 seconds"
        time.sleep(0.1)


def ask(port: int, path: str, body: object = None, key: str = KEY) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.slow
def test_the_image_answers(image: Image) -> None:
    arguments = ["serve", "--sandbox", "--host", "127.0.0.1", "--port", "0"]
    before = image.files()
    with image.started(arguments, {"SCRIBE_MASTER_KEY": KEY}) as process:
        _, port = address(process)
        assert ask(port, "/health/live")[0] == 200
        status, text = ask(
            port, "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        )
        assert (status, "hi" in json.loads(text)["choices"][0]["message"]["content"]) == (200, True)
        assert ask(port, "/v1/models", key="another")[0] == 401
        # The LiteLLM lane too: it reads files of its package.
        status, text = ask(
            port, "/v1/chat/completions", {"model": "echo-anthropic", "messages": [{"role": "user", "content": "hi"}]}
        )
        assert status == 200, text
        health = [word.replace("127.0.0.1:4000", f"127.0.0.1:{port}") for word in image.healthcheck]
        assert str(port) in " ".join(health)
        subprocess.run(health, env=image.environment, check=True, timeout=10)
    assert image.files() == before, "written outside the volume, which a read-only container forbids"
    assert (image.root / "var/lib/scribe/ledger.sqlite3").exists()
    assert subprocess.run(health, env=image.environment, stderr=subprocess.DEVNULL, timeout=10).returncode == 1


@pytest.mark.slow
def test_it_will_not_start_without_a_master_key(image: Image) -> None:
    with image.started(words(image.settings["CMD"]), {}) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "SCRIBE_MASTER_KEY" in said


@pytest.mark.slow
def test_the_sandbox_compose_file_starts_it(image: Image) -> None:
    service = yaml.safe_load((REPOSITORY / "deploy/compose.sandbox.yaml").read_text())["services"]["router"]
    key = service["environment"]["SCRIBE_MASTER_KEY"]
    with image.started([*service["command"], "--port", "0"], service["environment"]) as process:
        host, port = address(process)
        assert host == "0.0.0.0"
        assert ask(port, "/v1/models", key=key)[0] == 200


def test_it_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    user = re.search(r"^USER (?!0)(\d+:\d+)$", TEXT, re.MULTILINE)
    assert user is not None
    assert re.search(rf"^COPY .*--chown={user[1]} \S+ /var/lib/scribe$", TEXT, re.MULTILINE), "it could not write there"
    assert not re.search(r"^(ARG|ENV)\b.*(KEY|TOKEN|SECRET|PASSWORD)", TEXT, re.MULTILINE)


def test_what_is_secret_stays_out_of_the_context(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for name in (".env", ".git/config", ".scribe/ledger.sqlite3", "policies/access.yaml", "deploy/.env", "new/file"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("secret")
    for name in (
        "scribe_router/cli.py",
        "scribe_router/__pycache__/cli.pyc",
        "policies/store.yaml",
        "deploy/access.yaml",
    ):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("public")
    (repository / ".dockerignore").write_text((REPOSITORY / ".dockerignore").read_text())
    context(repository, tmp_path / "context")
    seen = {
        path.relative_to(tmp_path / "context").as_posix()
        for path in (tmp_path / "context").rglob("*.*")
        if path.is_file()
    }
    assert seen == {"scribe_router/cli.py", "policies/store.yaml", "deploy/access.yaml"}
