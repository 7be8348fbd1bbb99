"""The locks hold what pyproject.toml asks for, every version with its hashes, and name no place to fetch it from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
LOCKS = sorted((REPOSITORY / "requirements").glob("*.lock"))
PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*(?:\[[a-z,-]+\])?)==([^ ;]+)", re.MULTILINE)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]


def pins(name: str) -> dict[str, Version]:
    text = (REPOSITORY / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return {canonicalize_name(package.partition("[")[0]): Version(version) for package, version in PINNED.findall(text)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_every_version_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*-(?!-hash=sha256:)", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)[1:]
    assert entries
    assert [entry for entry in entries if not PINNED.match(entry) or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", PROJECT["project"]["dependencies"]),
        ("build", GROUPS["build"]),
        ("dev", [*PROJECT["project"]["dependencies"], *GROUPS["build"], *GROUPS["dev"], *GROUPS["lint"]]),
        ("proxy", ["litellm[proxy]==1.106.0", *GROUPS["build"], *PROJECT["project"]["dependencies"][1:]]),
    ],
)
def test_what_is_asked_for_is_locked(lock: str, wanted: list[str]) -> None:
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        found = locked.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in {lock}.lock: make lock"
        assert requirement.specifier.contains(found), f"{lock}.lock has {found}, not {requirement}: make lock"


@pytest.mark.parametrize("part", ["runtime", "build"])
def test_one_version_everywhere(part: str) -> None:
    whole = pins("dev")
    assert {name: version for name, version in pins(part).items() if whole.get(name) != version} == {}


def test_the_measured_litellm_is_the_one_that_runs() -> None:
    assert pins("runtime")["litellm"] == Version("1.106.2")
