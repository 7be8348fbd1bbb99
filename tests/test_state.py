"""What a process knows of its deployments: one probe among threads, nothing that sticks, and figures that forget."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from scribe_router.errors import CircuitOpen, UpstreamRateLimited
from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.policies.breaker import BreakerPolicy
from scribe_router.policies.strategies import Load
from scribe_router.state import MOST_MADE, Entry, State
from tests.policies.registries import deployment

POLICY = BreakerPolicy(failures=2, open_seconds=60, successes=1)


def failed(category: Category = Category.SERVER, *, after: float | None = None) -> AttemptFailed:
    return AttemptFailed(category, Reached.REPLIED, "it failed", retry_after=after)


def opened(state: State) -> None:
    for _ in range(POLICY.failures):
        state.end(state.begin("a", 1000), failed(), 1000)


def seen(state: State, now: float) -> dict[str, Any]:
    [found] = state.health([deployment("a")], now)
    return found


def test_one_probe_among_threads() -> None:
    state = State(POLICY)
    opened(state)
    gate, begun, refused = threading.Barrier(16), list[Entry](), list[CircuitOpen]()

    def try_it() -> None:
        gate.wait()
        for _ in range(50):
            try:
                begun.append(state.begin("a", 1060))
            except CircuitOpen as error:
                refused.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(begun), len(refused)) == (1, 799)
    assert begun[0].probe


ENDS: dict[str, Callable[[State, Entry], None]] = {
    "abandoned": lambda state, entry: state.end(
        entry, AttemptFailed(Category.STREAM, Reached.ABORTED, "we left", blameless=True), 1061
    ),
    "never sent": lambda state, entry: state.end(entry, failed(Category.INTERNAL), 1061),
    "a bad request": lambda state, entry: state.end(entry, failed(Category.BAD_REQUEST), 1061),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_probe_that_tells_nothing_lets_the_next_one_go(name: str) -> None:
    state = State(POLICY)
    opened(state)
    ENDS[name](state, state.begin("a", 1060))
    assert state.begin("a", 1061).probe
    assert seen(state, 1061)["circuit"] == "half_open"


def test_a_streaming_probe_is_over_with_its_first_content() -> None:
    state = State(POLICY)
    opened(state)
    entry = state.begin("a", 1060)
    state.answered(entry, 1063)
    assert seen(state, 1063)["circuit"] == "closed"
    state.end(entry, failed(Category.STREAM), 1070)
    found = seen(state, 1070)
    assert (found["failures_in_a_row"], found["last_failure"], found["in_flight"]) == (1, "stream", 0)


def test_a_rest_is_refused_as_a_rate_limit_until_then() -> None:
    state = State(POLICY)
    state.end(state.begin("a", 1000), failed(Category.RATE_LIMIT, after=12), 1000)
    with pytest.raises(UpstreamRateLimited) as told:
        state.begin("a", 1002)
    assert told.value.retry_after == 10
    assert seen(state, 1002)["free_in_seconds"] == 10
    state.end(state.begin("a", 1012), None, 1013)


def test_without_a_policy_nothing_is_left_alone() -> None:
    state = State(None)
    for _ in range(20):
        state.end(state.begin("a", 1000), failed(after=60), 1000)
    assert not state.circuits
    assert (seen(state, 1000)["circuit"], seen(state, 1000)["last_failure"]) == ("closed", "server")


def test_figures() -> None:
    state = State(POLICY)
    assert seen(state, 1000) == {
        "deployment": "a", "model": "a", "provider": "openai", "missing": None, "circuit": "closed",
        "failures_in_a_row": 0, "free_in_seconds": 0.0, "in_flight": 0, "last_failure": None,
        "latency_seconds": None, "tokens_per_second": None,
    }  # fmt: skip
    one, two = state.begin("a", 1000), state.begin("a", 1000)
    assert seen(state, 1000)["in_flight"] == 2
    state.end(one, None, 1002)
    assert seen(state, 1002)["latency_seconds"] == 2.0
    state.answered(two, 1007)
    state.end(two, None, 1027, output=400)
    found = seen(state, 1027)
    assert (found["latency_seconds"], found["in_flight"]) == (3.0, 0), "a stream's latency is to its first content"
    assert found["tokens_per_second"] == 20.0
    assert state.load(1027)["a"] == Load(0, 3.0, 20.0)
    assert state.load(1027).get("b") is None
    assert state.load(1700)["a"] == Load(), "it is forgotten, so that it is measured anew"
    state.end(state.begin("a", 1700), None, 1701)
    assert state.load(1701)["a"] == Load(0, 1.0, None)


def test_a_streaming_probe_counts_once_and_ends_no_other() -> None:
    state = State(BreakerPolicy(failures=2, open_seconds=60, successes=3))
    opened(state)
    entry = state.begin("a", 1060)
    state.answered(entry, 1061)
    other = state.begin("a", 1062)
    state.end(entry, None, 1063)
    found = state.circuits["a"]
    assert (other.probe, found.probing, found.successes) == (True, True, 1)


def test_names_that_clients_think_of_are_forgotten() -> None:
    state = State(BreakerPolicy(failures=1), frozenset({"a"}))
    state.end(state.begin("a", 1000), failed(), 1000)
    under_way = state.begin("made-first", 1000)
    for number in range(2 * MOST_MADE):
        state.end(state.begin(f"made-{number}", 1000), failed(Category.NOT_FOUND), 1000)
    kept = {"a", "made-first", f"made-{2 * MOST_MADE - 1}"}
    assert kept <= state.load(1000).keys()
    assert len(state.load(1000)) == MOST_MADE + 1
    assert len(state.circuits) == MOST_MADE, "all but that of what is under way"
    assert "a" in state.circuits, "what is configured stays"
    state.end(under_way, None, 1001)
