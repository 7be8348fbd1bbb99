"""Forecasts and alerts as tables, and what holds for every forecast."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from scribe_router.policies.alerts import Alert, Standing, due, forecast

AMOUNTS = some.integers(0, 10**18)
SHARES = some.floats(0.1, 1.0)
START = 1_795_132_800.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("settled", "gone", "expected"),
    [
        (1_000, 0.5, 2_000),
        (1_000, 0.1, 10_000),
        (1_000, 0.0999, None),
        (1_000, 0.0, None),
        (1_000, 1.0, 1_000),
        (0, 0.5, 0),
        (10**18 + 1, 1.0, 10**18 + 1),
    ],
)
def test_the_pace_so_far_goes_on(settled: int, gone: float, expected: int | None) -> None:
    assert forecast(settled, START, START + DAY, START + gone * DAY) == expected


def test_a_total_has_no_end_to_forecast() -> None:
    assert forecast(5, 0.0, None, START) is None


@given(AMOUNTS, SHARES)
def test_a_forecast_is_never_below_what_is_spent(settled: int, gone: float) -> None:
    found = forecast(settled, START, START + DAY, START + gone * DAY)
    assert found is None or found >= settled


@given(AMOUNTS, AMOUNTS, SHARES)
def test_more_spent_forecasts_more(one: int, other: int, gone: float) -> None:
    now = START + gone * DAY
    less, more = (forecast(settled, START, START + DAY, now) for settled in sorted((one, other)))
    assert less is None or (more is not None and less <= more)


@given(AMOUNTS, SHARES, SHARES)
def test_the_same_money_later_forecasts_less(settled: int, one: float, other: float) -> None:
    early, late = (forecast(settled, START, START + DAY, START + gone * DAY) for gone in sorted((one, other)))
    assert early is None or (late is not None and late <= early)


@given(some.integers(1, 10**12), some.integers(1, 9))
def test_an_even_pace_is_forecast_exactly(each: int, tenths: int) -> None:
    assert forecast(each * tenths, START, START + DAY, START + DAY * tenths / 10) == each * 10


HALF, MOST = Decimal("0.5"), Decimal("0.8")


@pytest.mark.parametrize(
    ("settled", "ahead", "expected"),
    [
        (0, None, []),
        (49, None, []),
        (50, None, ["warning:0.5"]),
        (80, 100, ["warning:0.5", "warning:0.8"]),
        (20, 101, ["forecast"]),
        (100, 101, ["warning:0.5", "warning:0.8", "forecast"]),
        (101, 200, ["exceeded"]),
    ],
)
def test_what_is_told(settled: int, ahead: int | None, expected: list[str]) -> None:
    standing = Standing("day", "user:ann", "2026-11-20", 100, settled, 40, ahead)
    assert [alert.key for alert in due(standing, (HALF, MOST))] == [
        f"{kind}|day|user:ann|2026-11-20" for kind in expected
    ]


def test_a_limit_of_nothing_warns_of_nothing() -> None:
    assert due(Standing("none", "all", "total", 0, 0, 0), (MOST,)) == []


def test_the_payload() -> None:
    standing = Standing("day", "user:ann", "2026-11-20", 10**9, 8 * 10**8, 1, 16 * 10**8)
    payload = Alert("warning", standing, MOST).payload(START + 1.5)
    assert payload == {
        "id": payload["id"],
        "event": "warning",
        "time": "2026-11-20T00:00:01Z",
        "limit": "day",
        "scope": "user:ann",
        "window": "2026-11-20",
        "cap_usd": "1",
        "spent_usd": "0.8",
        "reserved_usd": "0.000000001",
        "forecast_usd": "1.6",
        "warn_at": "0.8",
    }
    assert payload["id"] == Alert("warning", standing, MOST).payload(START + 9)["id"]
    assert payload["id"] != Alert("warning", standing, HALF).payload(START)["id"]
