"""The tests of access can fail: each of these ways round it, planted in a copy of the package, turns one red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = "tests/server/test_access.py"
PLANTED = {
    "a route without a principal": (
        "server/guard.py", 'OPEN = ("/health/live",', 'OPEN = ("/v1/models", "/health/live",',
        f"{TABLE}::test_routes[GET /v1/models-nobody-401]",
    ),
    "an administrator's route for everybody": (
        "server/admin.py", "        if not administers(principal):", "        if False:",
        f"{TABLE}::test_routes[GET /admin/spend-free-403]",
    ),
    "a field that is not checked": (
        "policies/access.py", "mcp_tools models optimize_for provider", "mcp_tools models provider",
        f"{TABLE}::test_fields[optimize_for-chat]",
    ),
    "a model that is not checked": (
        "requested.py", "    if may_use(request.models, found, registry.resolve(found)):", "    if True:",
        f"{TABLE}::test_models[narrow-echo-403]",
    ),
    "a master key compared letter by letter": (
        "policies/access.py", "hmac.compare_digest(bearer.encode(), expected)", "bearer.encode() == expected",
        "tests/policies/test_access.py::test_the_time_of_a_comparison_tells_nothing",
    ),
    "a secret compared letter by letter": (
        "policies/keys.py", "hmac.compare_digest(kept, shown)", "kept == shown",
        "tests/policies/test_keys.py::test_the_time_of_a_comparison_tells_nothing",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of its own, in which anything may be planted."""
    folder = tmp_path_factory.mktemp("copy")
    leave = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("scribe_router", "tests", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in ("pyproject.toml", "litellm_config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def outcome(folder: Path, test: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("about", PLANTED)
def test_a_way_round_is_seen(copied: Path, about: str) -> None:
    name, sound, planted, test = PLANTED[about]
    path = copied / "scribe_router" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(sound) == 1, "the code has changed; plant it anew"
    before = outcome(copied, test)
    assert before.returncode == 0, before.stdout
    path.write_text(text.replace(sound, planted), encoding="utf-8")
    try:
        after = outcome(copied, test)
    finally:
        path.write_text(text, encoding="utf-8")
    assert after.returncode == 1, after.stdout
    assert "1 failed" in after.stdout, after.stdout
