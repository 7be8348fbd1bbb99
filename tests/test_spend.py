"""Reports agree with the ledger to the last digit, in every form, and say how far the limits are used up."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.money import usd
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.reports.spend import COLUMNS, LIMITS, Report, as_csv, as_json, as_table, standings, summarise
from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from scribe_router.stores.contract import Counter
from tests.support.yaml_text import registry_from

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
EMPTY = {
    "model": "m",
    "deployment": "d",
    "provider": "p",
    "user": "ann",
    "principal": "k",
    "lane": "",
    "opened": NOON,
    "team": "blue",
}
ROWS: list[dict[str, Any]] = [
    {**EMPTY, "state": "settled", "cost": 1, "mark": "computed", "usage": {"input": 3, "output": 4}, "granted": 9},
    {**EMPTY, "state": "settled", "cost": 1_500_000_000, "mark": "bound", "usage": None, "granted": 9, "user": "bob"},
    {**EMPTY, "state": "reserved", "cost": None, "mark": None, "usage": None, "granted": 250_000_000},
    {**EMPTY, "state": "settled", "cost": None, "mark": "unpriced", "usage": None, "granted": 0, "opened": NOON - 86e3},
]  # fmt: skip


async def stored(rows: list[dict[str, Any]]) -> AsyncIterator[Mapping[str, Any]]:
    for row in rows:
        yield {"outcome": None, **row}


async def test_sums_by_user() -> None:
    report = await summarise(stored(ROWS), ("user",))
    assert as_table(report) == dedent("""\
        user   attempts  input  output          usd  in doubt  reserved
        bob           1      0       0          1.5       1.5         0
        ann           3      3       4  0.000000001         0      0.25
        total         4      3       4  1.500000001       1.5      0.25""")


async def test_rows_that_are_older_than_a_column() -> None:
    """Nobody had a team then; that is no name."""
    old = {name: value for name, value in ROWS[0].items() if name != "team"}
    report = await summarise(stored([*ROWS[:2], old, {**ROWS[0], "outcome": None}]), ("team", "outcome"))
    assert sorted(line.values for line in report.lines) == [("", "open"), ("blue", "open")]


async def test_no_columns() -> None:
    report = await summarise(stored(ROWS[:3]), ())
    assert as_csv(report) == "attempts,input,output,usd,in_doubt,reserved\n3,3,4,1.500000001,1.5,0.25"
    assert json.loads(as_json(report))["total"]["usd"] == "1.500000001"


@pytest.mark.parametrize("column", COLUMNS)
async def test_every_column_keeps_the_total(column: str) -> None:
    report = await summarise(stored(ROWS), (column,))
    assert sum(line.cost for line in report.lines) == report.total.cost == 1_500_000_001
    lines = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert [line["usd"] for line in lines] == [usd(line.cost) for line in report.lines]


def test_limits_of_open_windows() -> None:
    rows = [{"id": "day", "scope": "user", "window": "day", "usd": 2}, {"id": "ever", "scope": "all", "usd": 9}]
    counters = [
        Counter("day|user:a|b|2026-11-20", 500_000_000, 250_000_000),
        Counter("day|user:a|b|2026-11-19", 1, 0),
        Counter("ever|all|total", 3, 0),
        Counter("gone|all|total", 3, 0),
    ]
    report = Report(LIMITS, limits=standings(BudgetsPolicy.model_validate({"limits": rows}), counters, NOON))
    assert as_table(report) == dedent("""\
        limit  scope     window              usd  reserved  cap         left  forecast
        day    user:a|b  2026-11-20          0.5      0.25    2         1.25         1
        ever   all       total       0.000000003         0    9  8.999999997""")
    assert as_csv(report) == dedent("""\
        limit,scope,window,usd,reserved,cap,left,forecast
        day,user:a|b,2026-11-20,0.5,0.25,2,1.25,1
        ever,all,total,0.000000003,0,9,8.999999997,""")
    day, ever = json.loads(as_json(report))["limits"]
    assert (day["scope"], day["forecast"], ever["forecast"]) == ("user:a|b", "1", None)


def test_the_command_agrees_with_the_ledger(tmp_path: Path) -> None:
    text = """
        model_list:
          - model_name: m
            litellm_params: {model: openai/usage-1000-200, api_base: BASE, api_key: k}
            model_info: {input_cost_per_token: 0.0000003, output_cost_per_token: 0.0000007}
    """
    policies = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 5}]", "store": "ledger: sqlite:l.sqlite3"}
    runner = CliRunner()
    with running_sandbox() as sandbox:
        registry = registry_from(tmp_path, text.replace("BASE", sandbox.url + "/v1"), policies)
        place = ["--config", str(tmp_path / "litellm_config.yaml")]
        before = runner.invoke(app, ["spend", *place])
        assert (before.exit_code, "there is no ledger" in before.output) == (1, True)
        router = Router(registry)
        for _ in range(3):
            router.completion(model="m", messages=[{"role": "user", "content": "hello"}])
        router.close()
    done = runner.invoke(app, ["spend", "--by", "model,user", "--format", "json", *place])
    assert done.exit_code == 0
    assert json.loads(done.output)["lines"] == [
        {"model": "openai/usage-1000-200", "user": "local", "attempts": 3, "input": 3000, "output": 600,
         "usd": "0.00132", "in_doubt": "0", "reserved": "0"}
    ]  # fmt: skip
    shown = runner.invoke(app, ["spend", *place]).output
    assert "day    user:local" in shown
    assert "0.00132" in shown
    (limit,) = json.loads(runner.invoke(app, ["spend", "--by", "limit", "--format", "json", *place]).output)["limits"]
    assert (limit["usd"], limit["cap"], limit["left"]) == ("0.00132", "5", "4.99868")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "nodel"], "--by: there is no column nodel, did you mean model?"),
        (["--by", "limit,user"], "--by: limit stands alone"),
        (["--by", "limit", "--since", "2026-11-20"], "--since: a limit counts since its window began; leave this out"),
        (["--format", "xml"], "--format: table or csv or json, not xml"),
        (["--since", "yesterday"], "--since: a day such as 2026-11-20, not yesterday"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "litellm_config.yaml").write_text(
        "model_list: [{model_name: m, litellm_params: {model: openai/gpt-6-luna, api_key: k}}]"
    )
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "store.yaml").write_text("ledger: sqlite:litellm_config.yaml")
    done = CliRunner().invoke(app, ["spend", *arguments, "--config", str(tmp_path / "litellm_config.yaml")])
    assert (done.exit_code, done.output.strip().splitlines()[-1]) == (1, said)
