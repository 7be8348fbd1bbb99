"""Limits: which windows an attempt counts against, caps in nano-dollars, when a request may be made smaller."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scribe_router.counters import Charge
from scribe_router.policies.budgets import (
    UNLIMITED,
    BudgetsPolicy,
    Limit,
    Open,
    Scope,
    applying,
    charges,
    clamps,
    counting,
    opened,
    renews,
    room,
)


def limit(identity: str = "day", **more: Any) -> Limit:
    return Limit.model_validate({"id": identity, "scope": "user", "window": "day", "usd": "1", **more})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


ANN: dict[Scope, str] = {"user": "ann", "team": "", "key": "master", "model": "fast", "provider": "openai"}


def test_a_charge_for_each_limit_of_the_user_and_the_day() -> None:
    limits = (limit(usd="0.5"), limit("wide", usd=20))
    start, match = at("2026-11-20T00:00:00"), (("user", "ann"),)
    assert charges(limits, ANN, at("2026-11-20T10:00:00")) == (
        Charge("day", "user:ann", "2026-11-20", 500_000_000, since=start, match=match),
        Charge("wide", "user:ann", "2026-11-20", 20_000_000_000, since=start, match=match),
    )


def test_no_limits_no_charges() -> None:
    assert charges((), ANN, 0.0) == ()


@pytest.mark.parametrize(
    ("scope", "text", "match"),
    [
        ("user", "user:ann", (("user", "ann"),)),
        ("key", "key:master", (("principal", "master"),)),
        ("model", "model:fast", (("model_name", "fast"),)),
        ("provider", "provider:openai", (("provider", "openai"),)),
        ("all", "all", ()),
        (["user", "provider"], "user:ann,provider:openai", (("user", "ann"), ("provider", "openai"))),
    ],
)
def test_scopes(scope: Any, text: str, match: tuple[tuple[str, str], ...]) -> None:
    (charge,) = charges((limit(scope=scope),), ANN, at("2026-11-20T10:00:00"))
    assert (charge.scope, charge.match) == (text, match)


@pytest.mark.parametrize(
    "scope", [[], ["user", "user"], ["user", "all"], ["request", "user"], "teams", ["users"], 5, None]
)
def test_scopes_that_are_none(scope: Any) -> None:
    with pytest.raises(ValidationError):
        limit(scope=scope)


@pytest.mark.parametrize(
    ("window", "zone", "moment", "name", "start", "end"),
    [
        ("hour", "UTC", "2026-11-20T10:59:59", "2026-11-20T10", "2026-11-20T10:00:00", "2026-11-20T11:00:00"),
        ("hour", "Asia/Kolkata", "2026-11-20T10:10:00", "2026-11-20T10", "2026-11-20T10:00:00", "2026-11-20T11:00:00"),
        ("day", "UTC", "2026-11-20T00:00:00", "2026-11-20", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("day", "UTC", "2026-11-20T23:59:59", "2026-11-20", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        ("day", "UTC", "2026-12-31T12:00:00", "2026-12-31", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        ("day", "UTC", "2028-02-28T12:00:00", "2028-02-28", "2028-02-28T00:00:00", "2028-02-29T00:00:00"),
        ("day", "Asia/Tokyo", "2026-11-20T15:00:00", "2026-11-21", "2026-11-20T15:00:00", "2026-11-21T15:00:00"),
        # Clocks go forward, then back: these days have 23 and 25 hours.
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
        ("week", "UTC", "2026-11-20T12:00:00", "2026-W47", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("week", "UTC", "2027-01-01T12:00:00", "2026-W53", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
        ("month", "UTC", "2026-11-30T23:59:59", "2026-11", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("month", "UTC", "2026-12-01T00:00:00", "2026-12", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "America/New_York", "2026-11-01T03:59:00", "2026-10", "2026-10-01T04:00:00", "2026-11-01T04:00:00"),
    ],
)
def test_windows(window: str, zone: str, moment: str, name: str, start: str, end: str) -> None:
    found = opened(limit(window=window, time_zone=zone), at(moment))
    assert found == Open(name, at(start), at(end))


@given(
    window=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    now=st.floats(1_700_000_000, 2_200_000_000),
)
def test_windows_follow_one_another(window: str, zone: str, now: float) -> None:
    this = opened(limit(window=window, time_zone=zone), now)
    assert this.end is not None
    assert this.start <= now < this.end
    following = opened(limit(window=window, time_zone=zone), this.end)
    assert following.start == this.end
    assert following.name > this.name
    assert opened(limit(window=window, time_zone=zone), this.start).name == this.name


def test_a_total_never_renews() -> None:
    policy = BudgetsPolicy(limits=(limit("ever", window="total"), limit("day")))
    assert opened(policy.limits[0], at("2026-11-20T10:00:00")) == Open("total", 0.0, None)
    assert renews(policy, "ever", at("2026-11-20T10:00:00")) == ""
    assert renews(policy, "day", at("2026-11-20T10:00:00")) == "2026-11-21T00:00:00Z"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_time_zone_that_is_none(zone: str) -> None:
    with pytest.raises(ValidationError, match="no such time zone"):
        limit(time_zone=zone)


def test_one_request_is_no_counter_and_has_no_window() -> None:
    limits = (limit("a", scope="request", window="total", usd=5), limit("b"))
    assert [charge.limit for charge in charges(limits, ANN, 0.0)] == ["b"]
    assert room(limits, 2_000_000_000) == (limits[0], 3_000_000_000)
    assert room(limits[1:], 0) is None
    assert room((limit("a", scope="request", window="total", when_short="observe"),), 0) is None
    with pytest.raises(ValidationError, match="has no window"):
        limit(scope="request", window="day")


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
    ("when_short", "allowed"),
    [
        ((), False),
        (("clamp",), True),
        (("reject",), False),
        (("clamp", "reject"), False),
        (("clamp", "clamp"), True),
        ((["clamp", "reject"],), True),
        (("observe",), False),
        (("clamp", "observe"), True),
    ],
)
def test_one_limit_that_rejects_is_enough(when_short: tuple[Any, ...], allowed: bool) -> None:
    assert clamps([limit(f"l{number}", when_short=way) for number, way in enumerate(when_short)]) is allowed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"when_short": []}, "name at least one action, each once"),
        ({"when_short": ["clamp", "clamp"]}, "name at least one action, each once"),
        ({"when_short": ["clamp", "observe"]}, "observe stands alone"),
        ({"when_short": ["downgrade", "clamp"], "downgrade_to": "cheap"}, "clamp comes first"),
        ({"when_short": ["reject", "downgrade"], "downgrade_to": "cheap"}, "nothing can follow reject"),
        ({"when_short": "downgrade"}, "downgrade and downgrade_to belong together"),
        ({"downgrade_to": "cheap"}, "downgrade and downgrade_to belong together"),
        ({"only": {"model": ["fast"]}}, "only names values of model, which is not among its scopes"),
        ({"scope": "all", "only": {"all": ["x"]}}, "only names values of all"),
    ],
)
def test_limits_that_contradict_themselves(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        limit(**more)


@pytest.mark.parametrize(
    ("scope", "only", "holds"),
    [
        ("user", {}, True),
        ("user", {"user": ["ann", "bob"]}, True),
        ("user", {"user": ["bob"]}, False),
        (["user", "model"], {"model": ["fast"]}, True),
        (["user", "model"], {"model": ["slow"]}, False),
        ("team", {}, False),
        ("all", {}, True),
        ("request", {}, True),
    ],
)
def test_what_a_limit_holds_for(scope: Any, only: dict[str, list[str]], holds: bool) -> None:
    policy = BudgetsPolicy(limits=(limit(scope=scope, only=only, window="total"),))
    assert bool(applying(policy, ANN)) is holds


def test_a_named_limit_holds_for_those_who_name_it() -> None:
    policy = BudgetsPolicy(limits=(limit("a", scope="key", named=True), limit("b", scope=["key", "model"])))
    assert [each.id for each in applying(policy, ANN)] == ["b"]
    assert [each.id for each in applying(policy, ANN, ("a", "c"))] == ["a", "b"]
    counted = counting(policy)
    assert [[each.id for each in counted(ANN, 0.0, named)[0]] for named in (("a",), ())] == [["a", "b"], ["b"]]
    with pytest.raises(ValidationError, match="has key among its scopes"):
        limit(scope="all", named=True)


def test_who_is_in_a_team_is_under_its_limit() -> None:
    policy = BudgetsPolicy(limits=(limit(scope=["team", "model"]),))
    (charge,) = charges(applying(policy, {**ANN, "team": "red"}), {**ANN, "team": "red"}, 0.0)
    assert (charge.scope, charge.match) == ("team:red,model:fast", (("team", "red"), ("model_name", "fast")))


def test_what_only_observes_never_refuses() -> None:
    watching, holding = limit("watching", when_short="observe"), limit("holding")
    assert BudgetsPolicy(limits=(watching, holding)).enforced == (holding,)
    assert [charge.cap for charge in charges((watching, holding), ANN, 0.0)] == [UNLIMITED, 1_000_000_000]


def test_amounts_are_decimal_from_the_first() -> None:
    assert limit(usd=Decimal("0.3")).cap == 300_000_000


def test_what_is_remembered_is_what_would_be_worked_out() -> None:
    """Across the end of an hour in a zone that is a quarter of an hour off the others."""
    limits = [{"id": "hour", "scope": "user", "window": "hour", "usd": 1}]
    limits += [{"id": "day", "scope": ["user", "model"], "window": "day", "usd": 1, "time_zone": "Asia/Kathmandu"}]
    limits += [{"id": "other", "scope": "model", "usd": 1, "only": {"model": ["n"]}}]
    policy = BudgetsPolicy.model_validate({"limits": limits})
    counted = counting(policy)
    midnight = datetime(2026, 11, 19, 18, 15, tzinfo=UTC).timestamp()
    seen = set()
    for moment in (midnight - 900, midnight - 0.001, midnight, midnight + 899.9, midnight + 2700):
        for user, model in (("ann", "m"), ("bob", "n"), ("ann", "m")):
            values: dict[Scope, str] = {**ANN, "user": user, "model": model}
            limits_found, found = counted(values, moment, ())
            assert limits_found == applying(policy, values)
            assert found == charges(limits_found, values, moment)
            seen.add(found)
    assert len(seen) == 2 * 3
