"""A report on an experiment as text: a table for a person, CSV for a spreadsheet, JSON for a program. Prints only."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from scribe_router.money import usd
from scribe_router.reports.exposures import MEASURES, ArmReport, Comparison
from scribe_router.reports.intervals import Estimate
from scribe_router.reports.spend import aligned

_COUNTS = ("units", "exposures", "fell back", "usd")
_MEASURED = ("n", "value", "low", "high", "difference", "difference low", "difference high")


def as_table(found: Comparison) -> str:
    """The report for a person."""
    first = found.arms[0].name if found.arms else ""
    counts = aligned([("arm", *_COUNTS), *((each.name, *_counts(each)) for each in found.arms)], left=1)
    rows = [(name, arm.name, *_cells(arm, name)) for name in MEASURES for arm in found.arms if name in arm.estimates]
    measures = aligned([("", "arm", *_MEASURED), *rows], left=2) if rows else "nothing has been measured yet"
    said = f"95 % intervals; differences are from {first}"
    waiting = f"; {found.open} not ended" if found.open else ""
    return f"{found.experiment}{waiting}\n\n{counts}\n\n{said}\n{measures}"


def as_csv(found: Comparison) -> str:
    """The report for a spreadsheet: a line for each arm and measure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(name.replace(" ", "_") for name in ("arm", *_COUNTS, "measure", *_MEASURED))
    for arm in found.arms:
        names = [name for name in MEASURES if name in arm.estimates] or [""]
        for name in names:
            cells = _cells(arm, name) if name else ("",) * len(_MEASURED)
            writer.writerow((arm.name, *_counts(arm), name.replace(" ", "_"), *cells))
    return text.getvalue().rstrip("\n")


def as_json(found: Comparison) -> str:
    """The report for a program; what is not known is null, money in all a decimal string."""

    def bounds(each: Estimate) -> dict[str, Any]:
        found = {"value": each.value, "low": each.low, "high": each.high}
        return {name: number if isfinite(number) else None for name, number in found.items()}

    def measured(arm: ArmReport, name: str) -> dict[str, Any]:
        apart = arm.differences.get(name)
        own = arm.estimates[name]
        return {"n": own.count, **bounds(own), "difference": None if apart is None else bounds(apart)}

    arms = [
        {
            "arm": arm.name,
            "units": arm.units,
            "exposures": arm.exposures,
            "fell_back": arm.fell_back,
            "usd": usd(arm.cost),
            "measures": {name.replace(" ", "_"): measured(arm, name) for name in MEASURES if name in arm.estimates},
        }
        for arm in found.arms
    ]
    return json.dumps({"experiment": found.experiment, "not_ended": found.open, "arms": arms}, indent=2)


FORMS: Mapping[str, Callable[[Comparison], str]] = {"table": as_table, "csv": as_csv, "json": as_json}


def _counts(arm: ArmReport) -> tuple[str, ...]:
    return str(arm.units), str(arm.exposures), str(arm.fell_back), usd(arm.cost)


def _cells(arm: ArmReport, name: str) -> tuple[str, ...]:
    return (str(arm.estimates[name].count), *_bounds(arm.estimates[name]), *_bounds(arm.differences.get(name)))


def _bounds(each: Estimate | None) -> Iterator[str]:
    """Value, low and high; empty where there is none, or none is known."""
    for name in ("value", "low", "high"):
        number = None if each is None else getattr(each, name)
        yield "" if number is None or not isfinite(number) else f"{number:.4g}"
