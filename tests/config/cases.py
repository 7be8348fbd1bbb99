"""Golden files of `tests/cases/config`: one mistake a file, and the whole lines that `check` answers.

    # What somebody did, in a sentence.
    # env: NAME=value                                   what is set in the environment (nothing else is)
    # expect: litellm_config.yaml:9:5: place: message   every line of output, in order
    model_list: ...                                     litellm_config.yaml; lines count from the top of the file
    # file: policies/budgets.yaml                       the next file; its lines count from here

A case without a `model_list` of its own has the one of `model_list.yaml`.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "cases" / "config"
MAIN = "litellm_config.yaml"
BASE = FOLDER / "model_list.yaml"


@dataclass(frozen=True)
class Case:
    """One golden file."""

    name: str
    files: dict[str, str]
    environment: dict[str, str]
    expected: list[str]

    def write(self, folder: Path) -> None:
        """The files of the case, as a user would have them."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


def read(path: Path) -> Case:
    """The case in one file."""
    files, name = {MAIN: ""}, MAIN
    head: dict[str, list[str]] = {"env": [], "expect": []}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        kind, _, rest = line.removeprefix("# ").partition(": ")
        if line.startswith("# file: "):
            name = rest.strip()
            files[name] = ""
            continue
        if line.startswith("# ") and kind in head:
            head[kind].append(rest.removesuffix("\n"))
        files[name] += line
    if all(not line or line.startswith("#") for line in files[MAIN].splitlines()):
        files[MAIN] = BASE.read_text(encoding="utf-8")
    environment = dict(each.split("=", 1) for each in head["env"])
    return Case(path.stem, files, environment, head["expect"])


def cases() -> list[Case]:
    """Every golden file but the base."""
    return [read(path) for path in sorted(FOLDER.glob("*.yaml")) if path != BASE]
