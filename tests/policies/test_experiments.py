"""Arms: how units are divided, that they stay, and how few move when shares change."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from math import sqrt
from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.exchange import Exposure
from scribe_router.policies.experiments import ExperimentsPolicy

UNITS = [f"unit-{number}" for number in range(100_000)]
FEW = UNITS[:10_000]
THREE = {"a": 5, "b": 3, "c": 2}
GOLDEN = "caaaababcaccaabbcacabbbbabacaacbabaaacba"


def policy(shares: Mapping[str, float], name: str = "e", **more: Any) -> ExperimentsPolicy:
    arms = {arm: {"model": arm, "share": share} for arm, share in shares.items()}
    return ExperimentsPolicy.model_validate({"experiments": {name: {"on": "m", "arms": arms, **more}}})


def arms(shares: Mapping[str, float], units: list[str], name: str = "e", **more: Any) -> list[str]:
    experiment = policy(shares, name, **more).experiments[name]
    return [experiment.arm(name, unit) for unit in units]


@pytest.mark.parametrize("units", [FEW, pytest.param(UNITS, marks=pytest.mark.slow)], ids=["10,000", "100,000"])
@pytest.mark.parametrize("shares", [THREE, {"a": 1, "b": 1}, {"a": 0.99, "b": 0.01}, {f"arm{n}": 1 for n in range(6)}])
def test_shares_are_within_tolerance(shares: dict[str, float], units: list[str]) -> None:
    """Four standard errors of a fair draw, for each arm."""
    seen, total = Counter(arms(shares, units)), sum(shares.values())
    for arm, share in shares.items():
        part = share / total
        assert abs(seen[arm] / len(units) - part) < 4 * sqrt(part * (1 - part) / len(units))


PROCESS = """
import json, sys
from scribe_router.policies.experiments import ExperimentsPolicy
experiment = ExperimentsPolicy.model_validate(json.loads(sys.argv[1])).experiments["e"]
print(json.dumps([experiment.arm("e", f"unit-{number}") for number in range(2000)]))
"""


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_a_unit_stays_in_every_process(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", PROCESS, policy(THREE).model_dump_json()]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50)
    assert json.loads(ran.stdout) == arms(THREE, UNITS[:2000])


def test_a_unit_stays_from_one_version_to_the_next() -> None:
    """Another draw here would move people who are in an experiment."""
    assert "".join(arms(THREE, UNITS[:40])) == GOLDEN


@pytest.mark.parametrize(
    ("after", "gains", "moved"),
    [
        ({"a": 5, "b": 3, "c": 4}, {"c"}, 4 / 12 - 2 / 10),
        ({"a": 1, "b": 3, "c": 2}, {"b", "c"}, 5 / 10 - 1 / 6),
        ({**THREE, "d": 1}, {"d"}, 1 / 11),
        ({"a": 5, "b": 3}, {"a", "b"}, 2 / 10),
        ({"c": 2, "b": 3, "a": 5}, set(), 0.0),
        ({"a": 50, "b": 30, "c": 20}, set(), 0.0),
    ],
    ids=["grows", "shrinks", "is added", "is taken out", "stand in another order", "are written in another unit"],
)
def test_no_more_units_move_than_have_to(after: dict[str, float], gains: set[str], moved: float) -> None:
    """Between arms whose own share did not change nothing moves."""
    pairs = [(old, new) for old, new in zip(arms(THREE, FEW), arms(after, FEW), strict=True) if old != new]
    assert {new for _, new in pairs} == gains
    assert abs(len(pairs) / len(FEW) - moved) < 0.02
    for old, new in pairs:
        assert THREE.get(old) != after.get(old) or THREE.get(new) != after.get(new)


@pytest.mark.parametrize("other", [{"name": "f"}, {"salt": "again"}])
def test_another_experiment_divides_the_units_independently(other: dict[str, str]) -> None:
    pairs = Counter(zip(arms({"a": 1, "b": 1}, FEW), arms({"a": 1, "b": 1}, FEW, **other), strict=True))
    assert len(pairs) == 4
    assert all(abs(count / len(FEW) - 0.25) < 0.02 for count in pairs.values())


def test_the_first_name_that_has_one_counts() -> None:
    rows = {name: {"on": name, "arms": {"a": {"model": "x"}, "b": {"model": "y"}}} for name in ("alias", "target")}
    both = ExperimentsPolicy.model_validate({"experiments": rows})
    assert [both.exposure(names, "u").experiment for names in (("alias", "target"), ("other", "target"))] == [  # type: ignore[union-attr]
        "alias",
        "target",
    ]
    assert both.exposure(("other",), "u") is None
    assert ExperimentsPolicy().exposure(("alias",), "u") is None


def test_an_exposure_says_its_part_of_all_units() -> None:
    found = policy(THREE).exposure(["m"], "unit-0")
    assert found is not None
    assert found == Exposure("e", found.arm, found.arm, THREE[found.arm] / 10, "unit-0")
    assert found.label == f"e={found.arm}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": 1, "b": 0},
        {"a": 1, "b": -1},
        {"a": 1, "b": float("nan")},
        {"a": 1, "b": float("inf")},
        {"a": 1},
        {"a b": 1, "b": 1},
        {"a=": 1, "b": 1},
    ],
)
def test_what_divides_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        policy(wrong)
