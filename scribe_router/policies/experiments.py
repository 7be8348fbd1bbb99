"""Which arm of an experiment serves a request: `policies/experiments.yaml`. Absent, there is none.

A unit (a user, or what the request names) is in the arm whose hash, divided by its share, comes first. The same names
and shares give the same arm in every process, and no arm's hash depends on the others: a share that grows takes units
from the other arms and moves none between them, one that shrinks gives units away and keeps the rest. That is as few
as can be. So does an arm that is added or taken out.
"""

import hashlib
import json
from collections.abc import Iterable
from math import log
from typing import Annotated

from pydantic import Field, field_validator

from scribe_router.exchange import Exposure
from scribe_router.policies.schema import Shape

EXPERIMENT = "experiment"  # what orders the candidates of a name under one, as `explain` says it
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Arm(Shape):
    """`model` is the model, group or alias that serves it; the name that the experiment is on stands for what it is
    without one. Shares are weights: of 3 and 1 the first has three units in four."""

    model: str
    share: float = Field(default=1.0, gt=0, le=1_000_000)


class Experiment(Shape):
    """`on` is the model, group or alias whose requests are divided among the `arms`; reports compare with the first.
    Another `salt` divides the units anew."""

    on: str
    arms: dict[Name, Arm]
    salt: str = ""

    @field_validator("arms")
    @classmethod
    def _several(cls, arms: dict[Name, Arm]) -> dict[Name, Arm]:
        if len(arms) < 2:
            raise ValueError("an experiment compares two arms or more")
        return arms

    def arm(self, name: str, unit: str) -> str:
        """The arm of a unit in the experiment of this name."""
        begun = hashlib.blake2b(json.dumps([name, self.salt, unit]).encode(), digest_size=8)
        return min(self.arms, key=lambda arm: -log(_drawn(begun, arm)) / self.arms[arm].share)


class ExperimentsPolicy(Shape):
    """Experiments by name. The name is part of what divides the units, so two experiments divide them independently; an
    arm that is renamed is another arm. A unit is what a request names in `metadata.experiment_unit`, else its user,
    else its key."""

    experiments: dict[Name, Experiment] = Field(default_factory=dict)

    def exposure(self, names: Iterable[str], unit: str) -> Exposure | None:
        """The arm of a unit in the experiment on the first of these names that has one."""
        if not self.experiments:
            return None
        on = {each.on: (name, each) for name, each in self.experiments.items()}
        found = next((on[name] for name in names if name in on), None)
        if found is None:
            return None
        name, experiment = found
        arm = experiment.arm(name, unit)
        row, total = experiment.arms[arm], sum(each.share for each in experiment.arms.values())
        return Exposure(name, arm, row.model, row.share / total, unit)


def _drawn(begun: "hashlib.blake2b", arm: str) -> float:
    """A number above 0 and at most 1 that the unit and the arm alone decide; without a pattern."""
    digest = begun.copy()
    digest.update(arm.encode())
    return (int.from_bytes(digest.digest()) + 0.5) / 2.0**64
