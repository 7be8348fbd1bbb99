"""Circuits: a table of what follows what, and every sequence against a model that derives all from what happened."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.policies.breaker import CLOSED, COUNTS, BreakerPolicy, Circuit, admitted, ended, tells
from tests.support.examples import examples

POLICY = BreakerPolicy(failures=3, open_seconds=60, longest_seconds=200, successes=2)


def failure(category: str = "server", *, after: float | None = None, blameless: bool = False) -> AttemptFailed:
    return AttemptFailed(Category(category), Reached.REPLIED, "it failed", retry_after=after, blameless=blameless)


def told(script: str) -> str:
    """The states along a script: `x` is a failure, `.` a success, `-` an end that tells nothing, of an attempt that
    begins and ends at once; a number is seconds that pass; with `!` it is an early one.
    An attempt that may not begin is shown as `#`."""
    circuit, now, shown = CLOSED, 1000.0, []
    for step in script.split():
        if step.isdigit():
            now += int(step)
        else:
            begun = admitted(circuit, now, early=step.startswith("!"))
            if begun is None:
                shown.append("#")
                continue
            what = {"x": failure(), ".": None, "-": failure("bad_request")}[step.lstrip("!")]
            circuit = ended(begun, POLICY, what, now, generation=begun.generation, probe=begun.probing)
        shown.append({"closed": "c", "open": "o", "half_open": "h"}[circuit.state(now)])
    return " ".join(shown)


SCRIPTS = [
    # failures in a row open it, and nothing else does
    ("x x x", "c c o"),
    ("x x . x x . x x x", "c c c c c c c c o"),
    ("x x - x", "c c c o"),
    ("- - - -", "c c c c"),
    # open: nothing begins before the pause is over
    ("x x x x . 59 .", "c c o # # o #"),
    ("x x x 60 . .", "c c o h h c"),
    # half-open: successes close it, one failure opens it, what tells nothing leaves it
    ("x x x 60 . x .", "c c o h h o #"),
    ("x x x 60 - . - .", "c c o h h h h c"),
    ("x x x 60 . . x x x", "c c o h h c c c o"),
    # the pause doubles up to the longest, and is short again once it was closed
    ("x x x 60 x 119 1 x 199 1", "c c o h o o h o o h"),
    ("x x x 60 x 120 . . x x x 60", "c c o h o h h c c c o h"),
    # an early probe: half-open at once where it succeeds; the next pause is no longer where it fails
    ("x x x !. .", "c c o h c"),
    ("x x x 30 !x 59 1", "c c o o o o h"),
]


@pytest.mark.parametrize(("script", "states"), SCRIPTS, ids=[row[0] for row in SCRIPTS])
def test_script(script: str, states: str) -> None:
    assert told(script) == states


@pytest.mark.parametrize("category", list(Category))
def test_what_tells_of_a_deployment(category: Category) -> None:
    against = {"server", "network", "timeout", "stream", "authentication", "not_found"}
    assert tells(failure(category.value)) is (False if category.value in against else None)
    assert tells(failure(category.value, blameless=True)) is None


def test_a_403_tells_of_the_request_as_often_as_of_the_key() -> None:
    refused = AttemptFailed(Category.AUTHENTICATION, Reached.REPLIED, "it failed", status=403)
    assert tells(refused) is None


def opened(now: float = 1000.0) -> Circuit:
    circuit = CLOSED
    for _ in range(POLICY.failures):
        circuit = ended(circuit, POLICY, failure(), now, generation=circuit.generation, probe=False)
    return circuit


def test_what_began_before_it_opened_says_nothing_any_more() -> None:
    circuit = opened()
    for late in (failure(), None):
        assert ended(circuit, POLICY, late, 1030, generation=CLOSED.generation, probe=False) == circuit
    probing = admitted(circuit, 1060)
    assert probing is not None
    assert ended(probing, POLICY, None, 1061, generation=CLOSED.generation, probe=False) == probing


def test_what_a_probe_began_may_still_open_it_later() -> None:
    """A streaming probe succeeds with its first content, and may break after the circuit has closed."""
    circuit = opened()
    for now in (1060.0, 1061.0):
        probing = admitted(circuit, now)
        assert probing is not None
        circuit = ended(probing, POLICY, None, now, generation=probing.generation, probe=True)
    assert circuit.state(1061) == "closed"
    circuit = ended(circuit, POLICY, failure("stream"), 1070, generation=circuit.generation, probe=False)
    assert circuit.failures == 1


def test_retry_after_is_a_rest_and_no_failure() -> None:
    circuit = ended(CLOSED, POLICY, failure("rate_limit", after=30), 1000, generation=0, probe=False)
    assert (circuit.state(1000), circuit.resting(1000), circuit.failures) == ("closed", 30, 0)
    shorter = ended(circuit, POLICY, failure("rate_limit", after=1), 1001, generation=0, probe=False)
    assert shorter.resting(1001) == 29, "a later word never shortens it"
    assert circuit.resting(1030) == 0
    absurd = ended(CLOSED, POLICY, failure("rate_limit", after=3600), 1000, generation=0, probe=False)
    assert absurd.resting(1000) == POLICY.longest_seconds


def test_an_overloaded_server_rests_and_counts() -> None:
    circuit = ended(CLOSED, POLICY, failure("server", after=30), 1000, generation=0, probe=False)
    assert (circuit.resting(1000), circuit.failures) == (30, 1)


def test_a_reason_has_the_numbers() -> None:
    circuit = opened()
    assert circuit.reason(1019) == "3 failures in a row (the last: server), a probe may go in 41 s"
    probing = admitted(circuit, 1060)
    assert probing is not None
    assert probing.reason(1060) == "3 failures in a row (the last: server), a probe is under way"


# -- every sequence, against a model that is slow and plain


@dataclass
class Model:
    """Keeps what began and ended, and derives everything from it anew."""

    policy: BreakerPolicy
    row: int = 0  # failures in a row while closed
    openings: list[float] = field(default_factory=list)  # pauses since it was last closed: when each is over
    streak: int = 0
    probe: int | None = None
    epoch: int = 0
    began: dict[int, tuple[int, bool]] = field(default_factory=dict)

    def begin(self, number: int, now: float, *, early: bool) -> bool:
        if self.openings:
            if self.probe is not None or (now < self.openings[-1] and not early):
                return False
            self.probe = number
        self.began[number] = (self.epoch, bool(self.openings))
        return True

    def end(self, number: int, good: bool | None, now: float) -> None:
        epoch, probe = self.began.pop(number)
        if epoch != self.epoch:
            return
        if probe:
            self.probe = None
        if good is None:
            return
        if good and not self.openings:
            self.row = 0
        elif good and probe:
            self.streak += 1
            self.openings[-1] = min(self.openings[-1], now)
            if self.streak == self.policy.successes:
                self.openings, self.row, self.streak = [], 0, 0
        elif not good:
            self.row += 1
            if self.openings or self.row == self.policy.failures:
                self._open(now)

    def _open(self, now: float) -> None:
        early = bool(self.openings) and now < self.openings[-1]
        length = max(1, len(self.openings)) if early else len(self.openings) + 1
        seconds = self.policy.open_seconds
        for _ in range(length - 1):
            seconds = min(seconds * 2, max(self.policy.longest_seconds, self.policy.open_seconds))
        self.openings = [*self.openings[: length - 1], now + seconds]
        self.epoch, self.streak, self.probe = self.epoch + 1, 0, None


policies = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 4),
    open_seconds=st.sampled_from([1.0, 60.0]),
    longest_seconds=st.sampled_from([1.0, 100.0, 300.0]),
    successes=st.integers(1, 3),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.booleans()),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 5), st.sampled_from([True, False, False, None]))),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 1.0, 30.0, 60.0, 300.0])),
    ),
    max_size=60,
)


@given(policies, steps)
@settings(max_examples=examples(400), deadline=None)
def test_every_sequence(policy: BreakerPolicy, script: list[tuple[str, object]]) -> None:
    model, circuit, now = Model(policy), CLOSED, 1000.0
    running: dict[int, tuple[int, bool]] = {}
    for number, (what, argument) in enumerate(script):
        if what == "pass":
            assert isinstance(argument, float)
            now += argument
        elif what == "begin":
            begun = admitted(circuit, now, early=argument is True)
            assert (begun is not None) == model.begin(number, now, early=argument is True)
            if begun is not None:
                running[number] = begun.generation, begun.probing
                circuit = begun
        elif running:
            assert isinstance(argument, tuple)
            ending = list(running)[argument[0] % len(running)]
            generation, probe = running.pop(ending)
            end = {True: None, False: failure(), None: failure("bad_request")}[argument[1]]
            circuit = ended(circuit, policy, end, now, generation=generation, probe=probe)
            model.end(ending, argument[1], now)
        assert (circuit.opened is not None) == bool(model.openings)
        assert circuit.probing == (model.probe is not None)
        assert circuit.blocked(now) == bool(model.openings and (model.probe is not None or now < model.openings[-1]))


@given(policies, st.sampled_from(sorted(COUNTS)))
@settings(max_examples=20, deadline=None)
def test_it_always_comes_back(policy: BreakerPolicy, category: Category) -> None:
    """However it failed, a deployment that answers again is closed after its pause and the probes that it takes."""
    circuit, now = CLOSED, 1000.0
    for _ in range(1100):
        now += 1_000.0
        begun = admitted(circuit, now)
        assert begun is not None
        end = failure(category.value)
        circuit = ended(begun, policy, end, now, generation=begun.generation, probe=begun.probing)
    now = circuit.until
    assert now - policy.longest_seconds - policy.open_seconds <= 1000.0 + 1100 * 1000.0
    for _ in range(policy.successes):
        begun = admitted(circuit, now)
        assert begun is not None
        circuit = ended(begun, policy, None, now, generation=begun.generation, probe=begun.probing)
    assert circuit.state(now) == "closed"
