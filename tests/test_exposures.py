"""A report on an experiment from rows of the ledger: what counts as what, and how it is told."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from math import inf, isclose
from textwrap import dedent
from typing import Any

from scribe_router.reports.comparison import as_csv, as_json, as_table
from scribe_router.reports.exposures import Comparison, compare

CENT = 10_000_000  # nano-dollars


def row(exchange: str, arm: str, unit: str, **more: Any) -> dict[str, Any]:
    ordinary = {
        "exchange": exchange,
        "experiment": "e",
        "arm": arm,
        "unit": unit,
        "opened": 100.0,
        "closed": 102.0,
        "state": "settled",
        "cost": CENT,
        "mark": "computed",
        "outcome": "answered",
        "deployment": "d",
        "reported": None,
    }
    return {**ordinary, **more}


NEWER = ("experiment", "arm", "unit", "reported")
ROWS = [
    row("x1", "b", "u1", reported={"success": True, "score": 5.0}),
    row("x2", "b", "u1", closed=104.0, reported={"success": False, "score": None}),
    # One request of two attempts: it fell back, and was answered five seconds after it came.
    row("x3", "b", "u2", outcome="server", cost=0, mark="zero"),
    row("x3", "b", "u2", opened=103.0, closed=105.0, deployment="elsewhere", cost=3 * CENT),
    row("x4", "a", "u3", outcome="timeout", cost=2 * CENT, mark="doubt"),
    row("x5", "a", "u4", closed=101.0, cost=None, mark="unpriced"),
    row("x6", "a", "u5", closed=101.5, mark="abort", outcome="stream"),  # the client left
    row("x7", "a", "u6", outcome="not_sent", cost=0, mark="zero"),
    row("x8", "a", "u7", state="reserved", closed=None, cost=None, mark=None, outcome=None),
    row("x9", "gone", "u8"),
    row("x10", "a", "u9", experiment="another"),
    {name: value for name, value in row("x11", "", "").items() if name not in NEWER},  # of an older program
]


async def stored(rows: list[dict[str, Any]]) -> AsyncIterator[Mapping[str, Any]]:
    for each in rows:
        yield each


async def compared() -> Comparison:
    return await compare(stored(ROWS), "e", ("a", "b"))


async def test_what_counts_as_what() -> None:
    found = await compared()
    assert found.open == 1
    a, b, gone = found.arms
    assert [(each.name, each.units, each.exposures, each.fell_back) for each in found.arms] == [
        ("a", 3, 3, 0),
        ("b", 2, 3, 1),
        ("gone", 1, 1, 0),
    ]
    assert (a.cost, b.cost, gone.cost) == (3 * CENT, 5 * CENT, CENT)
    values = {name: (each.value, each.count) for name, each in a.estimates.items()}
    assert values["error rate"] == (0.5, 2), "who hangs up is no error of the arm"
    assert values["cost usd"] == (0.015, 2), "what has no price has no part in the mean"
    assert values["latency mean s"] == (1.0, 1), "only of answers that came to their end"
    assert "success rate" not in values
    of_b = {name: each.value for name, each in b.estimates.items()}
    assert isclose(of_b["cost usd"], 5 / 300)
    assert isclose(of_b["latency mean s"], (2 + 4 + 5) / 3)
    assert (of_b["error rate"], of_b["latency p50 s"], of_b["latency p95 s"]) == (0.0, 4.0, 5.0)
    assert (of_b["success rate"], of_b["score"]) == (0.5, 5.0)


async def test_differences_are_from_the_first_arm() -> None:
    a, b, gone = (await compared()).arms
    assert a.differences == {}
    assert b.differences.keys() == a.estimates.keys(), "what only one arm has is compared with nothing"
    assert b.differences["error rate"].value == -0.5
    assert (gone.differences["cost usd"].low, gone.differences["cost usd"].high) == (-inf, inf)


async def test_the_forms_agree() -> None:
    found = await compared()
    told, lines = json.loads(as_json(found)), list(csv.DictReader(io.StringIO(as_csv(found))))
    assert (told["experiment"], told["not_ended"]) == ("e", 1)
    for arm in told["arms"]:
        own = [line for line in lines if line["arm"] == arm["arm"]]
        assert [line["measure"] for line in own] == list(arm["measures"])
        for line in own:
            measure = arm["measures"][line["measure"]]
            assert (line["units"], line["usd"], int(line["n"])) == (str(arm["units"]), arm["usd"], measure["n"])
            for name in ("value", "low", "high"):
                number = measure[name]
                assert line[name] == ("" if number is None else f"{number:.4g}")
    alone = told["arms"][2]["measures"]["cost_usd"]
    assert (alone["n"], alone["value"], alone["low"], alone["high"]) == (1, 0.01, None, None)
    assert (alone["difference"]["low"], alone["difference"]["high"]) == (None, None)


async def test_the_table() -> None:
    rows = [row(f"x{n}", "ab"[n % 2], f"u{n}", closed=101.0 + n % 2, outcome="answered") for n in range(8)]
    assert as_table(await compare(stored(rows), "e", ("a", "b"))) == dedent("""\
        e

        arm  units  exposures  fell back   usd
        a        4          4          0  0.04
        b        4          4          0  0.04

        95 % intervals; differences are from a
                        arm  n  value   low    high  difference  difference low  difference high
        error rate      a    4      0     0  0.7169
        error rate      b    4      0     0  0.7169           0         -0.7169           0.7169
        cost usd        a    4   0.01  0.01    0.01
        cost usd        b    4   0.01  0.01    0.01           0               0                0
        latency mean s  a    4      1     1       1
        latency mean s  b    4      2     2       2           1               1                1
        latency p50 s   a    4      1
        latency p50 s   b    4      2                         1
        latency p95 s   a    4      1
        latency p95 s   b    4      2                         1""")


async def test_of_nothing_there_is_no_table() -> None:
    told = as_table(await compare(stored([]), "e", ("a", "b")))
    assert told.endswith("nothing has been measured yet")
    assert as_csv(await compare(stored([]), "e", ("a", "b"))).count("\n") == 2
