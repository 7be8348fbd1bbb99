"""Builds and starts a Dockerfile without Docker: each stage is a directory, and its absolute paths lie below it.

The stage being built is always at `root`; a finished one is moved away and deleted at the end, so that a step or
program which needs what no COPY brought along fails as it would in the image. The base image is a fresh Python
environment at `usr/local`. What a plain directory cannot show: users (--chown, USER), the base's own packages.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).parents[2]
ABSOLUTE = re.compile(r"(?<![\w/.*])/(?=[a-z])")
# How this machine reaches its package index is no business of the Dockerfile.
FROM_MACHINE = re.compile(
    r"PIP_(?!TARGET|PREFIX|USER)\w+|\w*_(PROXY|proxy)|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|XDG_CONFIG_HOME"
)
IGNORED = ("VOLUME", "EXPOSE", "USER", "LABEL", "STOPSIGNAL", "COMMENT")


@dataclass
class Image:
    """The last stage, ready to start. `settings` holds what says how: USER, ENTRYPOINT, CMD, HEALTHCHECK."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    settings: dict[str, str] = field(default_factory=dict)

    def inside(self, text: str) -> str:
        """The text with its absolute paths below the root."""
        return ABSOLUTE.sub(f"{self.root}/", text)

    @property
    def healthcheck(self) -> list[str]:
        return words(self.settings["HEALTHCHECK"].partition("CMD ")[2])

    @contextmanager
    def started(self, arguments: list[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
        """The entrypoint with these arguments, and nothing of this machine's environment; ended with the block."""
        process = subprocess.Popen(
            [*words(self.settings["ENTRYPOINT"]), *arguments],
            executable=shutil.which(words(self.settings["ENTRYPOINT"])[0], path=self.environment["PATH"]),
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def files(self) -> dict[str, int]:
        """Every file outside the volumes, with when it was written."""
        volumes = tuple(f"{self.root}{name}/" for name in self.settings.get("VOLUME", "").split())
        found = (path for path in self.root.rglob("*") if not f"{path}/".startswith(volumes))
        return {str(path): path.lstat().st_mtime_ns for path in found if not path.is_dir()}


def words(value: str) -> list[str]:
    """The words of an instruction's JSON form, the only one used here."""
    parsed = json.loads(value)
    assert isinstance(parsed, list)
    return [str(each) for each in parsed]


class Build:
    """One run of a Dockerfile's instructions in `folder`. Raises `CalledProcessError` or `FileNotFoundError`."""

    def __init__(self, dockerfile: str, folder: Path) -> None:
        parser = DockerfileParser(fileobj=BytesIO(dockerfile.encode()))
        self._steps = [(step["instruction"], step["value"]) for step in parser.structure]
        self._folder, self._context = folder, folder / "context"
        self._stages: dict[str, Path] = {}
        self._image = Image(folder / "root")
        self._previous = ""
        context(REPOSITORY, self._context)

    def run(self) -> Image:
        """The finished image; the stages that it was made from are gone."""
        for instruction, value in self._steps:
            if instruction in IGNORED or instruction in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
                self._image.settings[instruction] = value
            else:
                getattr(self, f"_{instruction.lower()}")(value)
        for gone in (self._context, *self._stages.values()):
            shutil.rmtree(gone)
        return self._image

    def _from(self, value: str) -> None:
        base, _, name = value.partition(" AS ")
        assert base.startswith("python:3."), base
        root = self._image.root
        if root.exists():
            self._stages[self._previous] = root.rename(self._folder / f"stage-{self._previous}")
        self._previous = name
        path = f"{root}/usr/local/bin:/usr/bin:/bin"
        self._image = Image(root, {"PATH": path, "HOME": f"{root}/root"}, root)
        subprocess.run([sys.executable, "-m", "venv", f"{root}/usr/local"], check=True)

    def _env(self, value: str) -> None:
        for assignment in shlex.split(value):
            name, _, text = assignment.partition("=")
            here = self._image.inside(text)
            self._image.environment[name] = re.sub(
                r"\$\{?(\w+)\}?", lambda found: self._image.environment[found[1]], here
            )

    def _workdir(self, value: str) -> None:
        self._image.folder = Path(self._image.inside(value))
        self._image.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str) -> None:
        *sources, target = [word for word in value.split() if not word.startswith("--")]
        stage = re.search(r"--from=(\S+)", value)
        origin = self._stages[stage[1]] if stage else self._context
        there = self._image.folder / self._image.inside(target)
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, there, symlinks=True, dirs_exist_ok=True)
                continue
            goal = there / found.name if target.endswith("/") else there
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, goal)

    def _run(self, value: str) -> None:
        machine = {name: text for name, text in os.environ.items() if FROM_MACHINE.fullmatch(name)}
        machine.setdefault("XDG_CONFIG_HOME", str(Path.home() / ".config"))
        subprocess.run(
            ["/bin/sh", "-ec", self._image.inside(value)],
            cwd=self._image.folder,
            env={**machine, **self._image.environment},
            check=True,
        )


def context(repository: Path, target: Path) -> None:
    """Copies what `.dockerignore` lets through: the last pattern decides that matches a path or a folder above it."""
    lines = (repository / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    kept = [pattern[1:] for pattern in patterns if pattern.startswith("!")]

    def seen(path: str) -> bool:
        matching = [pattern for pattern in patterns if _matches(pattern.removeprefix("!"), path)]
        return not matching or matching[-1].startswith("!")

    for folder, names, files in os.walk(repository):
        here = Path(folder).relative_to(repository)
        below = {name: (here / name).as_posix() for name in names}
        names[:] = [name for name in names if seen(below[name]) or any(k.startswith(below[name] + "/") for k in kept)]
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            if seen((here / name).as_posix()):
                (target / here).mkdir(parents=True, exist_ok=True)
                shutil.copy2(Path(folder) / name, target / here / name, follow_symlinks=False)


def _matches(pattern: str, path: str) -> bool:
    text = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(f"{text}(/.*)?", path) is not None
