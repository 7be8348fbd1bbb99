"""Limits: which windows an attempt counts against, caps in nano-dollars, when a request may be made smaller."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.exchange import Charge
from scribe_router.policies.budgets import BudgetsPolicy, Limit, charges, renews


def limit(identity: str = "day", **more: Any) -> Limit:
    return Limit.model_validate({"id": identity, "scope": "user", "window": "day", "usd": "1", **more})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_charge_for_each_limit_of_the_user_and_the_day() -> None:
    policy = BudgetsPolicy(limits=(limit(usd="0.5"), limit("wide", usd=20)))
    assert charges(policy, user="ann", now=at("2026-11-20T10:00:00")) == (
        Charge("day", "user:ann", "2026-11-20", 500_000_000),
        Charge("wide", "user:ann", "2026-11-20", 20_000_000_000),
    )


def test_no_limits_no_charges() -> None:
    assert charges(BudgetsPolicy(), user="ann", now=0.0) == ()


@pytest.mark.parametrize(
    ("moment", "day", "end"),
    [
        ("2026-11-20T00:00:00", "2026-11-20", "2026-11-21T00:00:00Z"),
        ("2026-11-20T23:59:59.999", "2026-11-20", "2026-11-21T00:00:00Z"),
        ("2026-11-21T00:00:00", "2026-11-21", "2026-11-22T00:00:00Z"),
        ("2026-12-31T12:00:00", "2026-12-31", "2027-01-01T00:00:00Z"),
        ("2028-02-28T12:00:00", "2028-02-28", "2028-02-29T00:00:00Z"),
    ],
)
def test_days_are_utc(moment: str, day: str, end: str) -> None:
    policy = BudgetsPolicy(limits=(limit(),))
    assert [charge.window for charge in charges(policy, user="ann", now=at(moment))] == [day]
    assert renews(at(moment)) == end


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("50.0", 50_000_000_000),
        ("0.1", 100_000_000),
        ("0.000000001", 1),
        (0, 0),
        (3, 3_000_000_000),
        ("1000000000", 10**18),
        ("123456789.123456789", 123_456_789_123_456_789),
    ],
)
def test_caps_are_exact(usd: Any, nano: int) -> None:
    assert limit(usd=usd).cap == nano


@pytest.mark.parametrize("usd", ["-1", "0.0000000001", "1000000001", "NaN", "Infinity", True, "much"])
def test_an_amount_that_no_counter_holds(usd: Any) -> None:
    with pytest.raises(ValidationError):
        limit(usd=usd)


def test_two_limits_of_one_id() -> None:
    with pytest.raises(ValidationError, match="two limits have the id day"):
        BudgetsPolicy(limits=(limit(), limit()))


@pytest.mark.parametrize("identity", ["", "Day", "a|b", "-a", "a b"])
def test_an_id_is_a_plain_name(identity: str) -> None:
    with pytest.raises(ValidationError):
        limit(identity)


@pytest.mark.parametrize(
    ("when_short", "clamps"),
    [((), False), (("clamp",), True), (("reject",), False), (("clamp", "reject"), False), (("clamp", "clamp"), True)],
)
def test_one_limit_that_rejects_is_enough(when_short: tuple[str, ...], clamps: bool) -> None:
    limits = tuple(limit(f"l{number}", when_short=way) for number, way in enumerate(when_short))
    assert BudgetsPolicy(limits=limits).clamps is clamps


def test_amounts_are_decimal_from_the_first() -> None:
    assert limit(usd=Decimal("0.3")).cap == 300_000_000
