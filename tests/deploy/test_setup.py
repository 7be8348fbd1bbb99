"""scripts/setup.sh on machines that are not as it would like them."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the script reads, in a folder whose name has a space."""
    clone = tmp_path / "a clone"
    (clone / "scripts").mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts" / "setup.sh", clone / "scripts")
    shutil.copy(REPOSITORY / "pyproject.toml", clone)
    shutil.copytree(REPOSITORY / "requirements", clone / "requirements")
    return clone


def python(folder: Path, change: str) -> str:
    """An interpreter like this one, but for `change`."""
    fake = folder / "a python"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{change}; exec(__import__(\'sys\').argv[1])" "$2"\n')
    fake.chmod(0o755)
    return str(fake)


def setup(clone: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    bare = {"PATH": os.environ["PATH"], "HOME": str(clone), **environment}
    return subprocess.run(
        [clone / "scripts/setup.sh", *arguments], env=bare, capture_output=True, text=True, timeout=170, check=False
    )


@pytest.mark.parametrize("version", ["(3, 10, 13)", "(3, 13, 0)", "(2, 7, 18)"])
def test_a_python_that_does_not_fit(clone: Path, version: str) -> None:
    named = python(clone.parent, f"import sys; sys.version_info = {version}")
    said = setup(clone, ".venv", "runtime", PYTHON=named)
    short = ".".join(version.strip("()").split(", "))
    assert said.returncode == 1
    assert said.stderr == (
        f"python 3.11 or 3.12 is needed ({named}: {short}); "
        "install one, or name it: make setup PYTHON=/path/to/python3.12\n"
    )
    assert not (clone / ".venv").exists()


def test_no_python_at_all(clone: Path) -> None:
    said = setup(clone, ".venv", "runtime", PYTHON="python-not-there")
    assert said.returncode == 1
    assert said.stderr.startswith("python 3.11 or 3.12 is needed (python-not-there: none); install one")


def test_debian_without_its_venv_package(clone: Path) -> None:
    named = python(clone.parent, "import sys; sys.modules['ensurepip'] = None")
    said = setup(clone, ".venv", "runtime", PYTHON=named)
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert said.returncode == 1
    assert said.stderr == (
        f"{named} has no venv module (Debian and Ubuntu: apt-get install python{minor}-venv); "
        "install it, or name another: make setup PYTHON=/path/to/python3.12\n"
    )


def wheel(folder: Path, name: str, version: str, wants: str = "") -> str:
    """A package of nothing, and what a lock says of it."""
    info, file = f"{name}-{version}.dist-info", folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\n"
        archive.writestr(f"{info}/METADATA", metadata + (f"Requires-Dist: {wants}\n" if wants else ""))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_release_after_the_lock_changes_nothing(clone: Path) -> None:
    """An older pip looks for the newest release of what a package wants with an extra, and finds it without a hash."""
    lock = wheel(clone, "scribe_wanted", "1.0") + wheel(clone, "scribe_wants", "1.0", "scribe_wanted[more]>=1.0")
    wheel(clone, "scribe_wanted", "1.1")
    for each in (clone / "requirements").glob("*.lock"):
        each.write_text(lock)
    said = setup(clone, ".venv", "runtime", PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(clone.as_uri()))
    assert "scribe" not in said.stderr, said.stderr  # what it lacks here is the build backend
    installed = {each.name for each in (clone / ".venv/lib").glob("python3*/site-packages/scribe_*")}
    assert installed == {"scribe_wanted-1.0.dist-info", "scribe_wants-1.0.dist-info"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_installs_once_and_again_when_a_lock_changes(clone: Path) -> None:
    """With locks of nothing but the build backend, and a package of one module."""
    for lock in (clone / "requirements").glob("*.lock"):
        if lock.stem != "build":
            lock.write_text("")
    (clone / "scribe_router").mkdir()
    (clone / "scribe_router/__init__.py").write_text("")
    for name in ("README.md", "LICENSE"):
        (clone / name).write_text("")
    machine = {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("CERT_FILE")
    }
    machine |= {"XDG_CONFIG_HOME": str(Path.home() / ".config"), "PYTHON": sys.executable}

    first = setup(clone, ".venv", "build", **machine)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("making .venv with ")
    assert "installing into .venv: build" in first.stdout
    assert setup(clone, ".venv", "build", **machine).stdout == ""
    more = setup(clone, ".venv", "build", "runtime", **machine)
    assert more.stdout.startswith("installing into .venv: build runtime"), more
    assert setup(clone, ".venv", "build", **machine).stdout == ""
    (clone / "requirements/runtime.lock").write_text("# another\n")
    assert setup(clone, ".venv", "build", **machine).stdout.startswith("installing into .venv: build")
    # What runtime.lock had said before is no longer known to be there.
    assert setup(clone, ".venv", "runtime", **machine).stdout.startswith("installing into .venv: runtime")
    moved = clone.rename(clone.parent / "moved")
    assert setup(moved, ".venv", "build", **machine).stdout.startswith("making .venv with ")
