"""Attempts and pauses as failures come in: a table of ways through plans, and what holds for every way."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from itertools import cycle, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.facts import Facts
from scribe_router.plan import Candidate, Plan, Snapshot
from scribe_router.policies.retries import RULES, Backoff, RetriesPolicy
from scribe_router.walk import Step, Walk
from tests.support.examples import examples

NEVER = RetriesPolicy()
PATIENT = RetriesPolicy(
    rate_limit=Backoff(retries=2, initial_seconds=5),
    server=Backoff(retries=2, initial_seconds=1),
    network=Backoff(retries=1, initial_seconds=0.5),
    timeout=Backoff(retries=1, initial_seconds=0.1),
)
MIDDLE = 0.5  # the draw that leaves a pause as it is


def candidate(name: str) -> Candidate:
    """`a`, `a:100` with its window, `+a` for a fallback, `!a` where every circuit is open."""
    identity, _, window = name.lstrip("+!").partition(":")
    tokens = int(window) if window else None
    return Candidate(identity, identity, "wire", "", tokens, name.startswith("+"), early=name.startswith("!"))


def way(candidates: str, context: str = "", content: str = "") -> Plan:
    chains = [tuple(candidate(name) for name in names.split()) for names in (candidates, context, content)]
    return Plan(Facts("chat", "m"), Snapshot(date(2026, 11, 20), 0), "m", "m", chains[0], chains[1], chains[2])


def failure(text: str) -> AttemptFailed:
    """`server`, or `rate_limit@7` with the provider's Retry-After in seconds."""
    category, _, after = text.partition("@")
    return AttemptFailed(Category(category), Reached.REPLIED, "it failed", retry_after=float(after) if after else None)


def walked(plan: Plan, policy: RetriesPolicy, failures: str) -> str:
    """The attempts as text, each with the pause before it, and `end` where the walk gives up."""
    walk = Walk(plan, policy)
    step: Step | None = walk.start()
    shown = []
    for text in failures.split():
        assert step is not None, f"given up before {text}"
        shown.append(_shown(step))
        step = walk.failed(step.candidate, failure(text), MIDDLE)
    return " ".join([*shown, "end" if step is None else _shown(step)])


def _shown(step: Step) -> str:
    return f"{step.wait:g}s:{step.candidate.deployment}" if step.wait else step.candidate.deployment


@dataclass(frozen=True)
class Way:
    """One row: what failed in order, and the attempts that follow from it."""

    name: str
    plan: Plan
    failures: str
    attempts: str
    policy: RetriesPolicy = field(default=PATIENT)


WAYS = [
    # -- what each category leads to
    *(
        Way(f"{category} walks on", way("a b"), category, "a b")
        for category in ("rate_limit", "server", "network", "timeout", "stream", "authentication", "not_found")
    ),
    Way("a bad request ends it", way("a b", "c", "d"), "bad_request", "a end"),
    Way("a fault of ours ends it", way("a b", "c", "d"), "internal", "a end"),
    Way("it ends after what was waited for too", way("a b"), "server bad_request", "a b end"),
    # -- waiting
    Way("all candidates before any pause", way("a b +c"), "server server server", "a b c 1s:a"),
    Way("without retries it ends", way("a b"), "server timeout", "a b end", NEVER),
    Way("a wrong key is not tried again", way("a"), "authentication", "a end"),
    Way("an unknown model is not tried again", way("a"), "not_found", "a end"),
    Way("pauses double", way("a"), "server server server", "a 1s:a 2s:a end"),
    Way("a rate limit waits longer", way("a"), "rate_limit rate_limit rate_limit", "a 5s:a 10s:a end"),
    Way("the network is tried once", way("a"), "network network", "a 0.5s:a end"),
    Way("a broken stream counts as network", way("a"), "stream network", "a 0.5s:a end"),
    Way("a timeout is tried once", way("a"), "timeout timeout", "a 0.1s:a end"),
    Way("each category has its own count", way("a"), "timeout server timeout", "a 0.1s:a 1s:a end"),
    Way("each deployment has its own count", way("a b"), "server server server server", "a b 1s:a b 2s:a"),
    Way("the shortest pause comes first", way("a b"), "rate_limit timeout server", "a b 0.1s:b 1s:b"),
    Way("and counts for the others", way("a b"), "server timeout timeout", "a b 0.1s:b 0.9s:a"),
    Way("an open circuit is probed once", way("!a !b"), "server timeout", "a b end"),
    # -- Retry-After
    Way("Retry-After is honoured", way("a"), "rate_limit@30", "a 30s:a"),
    Way("it never shortens a pause", way("a"), "rate_limit@1", "a 5s:a"),
    Way("it holds for an overloaded server too", way("a"), "server@7", "a 7s:a"),
    Way("it does not hold up other candidates", way("a b"), "rate_limit@30", "a b"),
    Way("nor give a retry that is not allowed", way("a"), "rate_limit@1", "a end", NEVER),
    Way("the first to be free is tried first", way("a b"), "rate_limit@30 rate_limit@20", "a b 20s:b"),
    # -- too long
    Way("a context failure goes to wider ones", way("a:100 b:100 c:200"), "context_length", "a c"),
    Way("then to its chain", way("a:100 b:200", "d e"), "context_length context_length context_length", "a b d e"),
    Way("and ends there", way("a:100 b:100", "d"), "context_length context_length", "a d end"),
    Way("without wider ones and chain it ends", way("a:100 b:100 +c:200"), "context_length", "a end"),
    Way("not to general fallbacks", way("a:100 +b:200", "c"), "context_length", "a c"),
    Way("unless a fallback was too small", way("a:200 +b:100 +c:200"), "server context_length", "a b c"),
    Way("what is wider is still waited for", way("a:200 +b:100"), "rate_limit context_length", "a b 5s:a"),
    Way("what is not is forgotten", way("a:100 b:100"), "rate_limit context_length", "a b end"),
    Way("unknown windows are not wider", way("a b:100"), "context_length", "a end"),
    Way("nor is the unknown", way("a:100 b"), "context_length", "a end"),
    Way("the chain holds for unknown windows", way("a", "b"), "context_length", "a b"),
    Way("wider and in the chain is tried once", way("a:100 b:200", "b c"), "context_length server", "a b c"),
    Way("tried and in the chain is not tried again", way("a:100 b:200", "a c"), "context_length server", "a b c"),
    Way("a chain's member is waited for", way("a:100", "b:9 c"), "context_length server context_length", "a b c 1s:b"),
    # -- refused content
    Way("refused content goes to its chain", way("a b", "", "c d"), "content_policy content_policy", "a c d"),
    Way("and nowhere else", way("a:1 b:2 +e", "f", "c"), "content_policy content_policy", "a c end"),
    Way("without a chain it ends", way("a b", "c"), "content_policy", "a end"),
    Way("nor is anything waited for", way("a b", "", "c"), "rate_limit content_policy content_policy", "a b c end"),
    Way("chains may share deployments", way("a", "c", "c"), "content_policy server", "a c 1s:c"),
    Way("too long after refused", way("a:1", "d", "c:1"), "content_policy context_length", "a c d"),
]  # fmt: skip


@pytest.mark.parametrize("row", WAYS, ids=lambda row: row.name)
def test_way(row: Way) -> None:
    assert walked(row.plan, row.policy, row.failures) == row.attempts


def test_jitter_spreads_a_pause_both_ways() -> None:
    paused = []
    for draw in (0.0, MIDDLE, 0.999999):
        walk = Walk(way("a"), PATIENT)
        step = walk.failed(walk.start().candidate, failure("rate_limit"), draw)
        assert step is not None
        paused.append(round(step.wait, 3))
    assert paused == [3.75, 5.0, 6.25]


# -- what holds for every way

IDS = ["a", "b", "c", "d", "e"]
names = st.lists(st.builds(lambda identity, rest: rest[0] + identity + rest[1], st.sampled_from(IDS),
                           st.tuples(st.sampled_from(["", "+"]), st.sampled_from(["", ":100", ":200"]))),
                 max_size=5, unique_by=lambda name: name.lstrip("+")[0])  # fmt: skip
plans = st.builds(
    lambda first, more, context, content: way(
        " ".join([first, *(name for name in more if name.lstrip("+")[0] != first)]),
        " ".join(context),
        " ".join(content),
    ),
    st.sampled_from(IDS), names, names, names,
)  # fmt: skip
backoffs = st.builds(Backoff, retries=st.integers(0, 3), initial_seconds=st.sampled_from([0.1, 1.0, 5.0]))
policies = st.builds(
    RetriesPolicy, rate_limit=backoffs, server=backoffs, network=backoffs, timeout=backoffs,
    jitter=st.sampled_from([0.0, 0.25, 1.0]),
)  # fmt: skip
failures = st.builds(
    lambda category, after: AttemptFailed(category, Reached.REPLIED, "it failed", retry_after=after),
    st.sampled_from(Category),
    st.sampled_from([None, 0.5, 30.0]),
)
# Failures that keep a walk going come more often than those that end it.
going = st.one_of(
    st.builds(lambda category: AttemptFailed(category, Reached.LOST, "it failed"), st.sampled_from(list(RULES))),
    failures,
)


@given(plans, policies, st.lists(st.tuples(going, st.sampled_from([0.0, 0.3, 0.99])), min_size=1, max_size=8))
@settings(max_examples=examples(150), deadline=None)
def test_every_way(plan: Plan, policy: RetriesPolicy, script: list[tuple[AttemptFailed, float]]) -> None:
    walk = Walk(plan, policy)
    step: Step | None = walk.start()
    attempts: list[str] = []
    now = 0.0
    free: dict[str, float] = {}
    for failed, draw in islice(cycle(script), 200):
        if step is None:
            break
        now += step.wait
        assert now >= free.get(step.candidate.deployment, 0.0) - 1e-6, "tried before its pause was over"
        attempts.append(step.candidate.deployment)
        free[step.candidate.deployment] = now + _least(policy, failed)
        step = walk.failed(step.candidate, failed, draw)
    assert step is None, "it has to end"
    _no_more_than_allowed(attempts, plan, policy)


def _least(policy: RetriesPolicy, failed: AttemptFailed) -> float:
    """The shortest pause that may follow a failure before the same deployment is tried again."""
    if failed.category not in RULES:
        return float("inf")
    initial = policy.backoff(RULES[failed.category]).initial_seconds
    return max(initial * (1 - policy.jitter), failed.retry_after or 0.0)


def _no_more_than_allowed(attempts: list[str], plan: Plan, policy: RetriesPolicy) -> None:
    reachable = {each.deployment for each in (*plan.candidates, *plan.context_window, *plan.content_policy)}
    assert set(attempts) <= reachable
    allowed = 1 + sum(policy.backoff(rule).retries for rule in set(RULES.values()))
    assert all(times <= allowed for times in Counter(attempts).values())


@given(plans, policies, st.lists(st.sampled_from(list(RULES)), min_size=5, max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_every_candidate_is_tried_before_anything_is_waited_for(
    plan: Plan, policy: RetriesPolicy, categories: list[Category]
) -> None:
    walk = Walk(plan, policy)
    step: Step | None = walk.start()
    for expected, category in zip(plan.candidates, categories, strict=False):
        assert step == Step(expected)
        step = walk.failed(expected, AttemptFailed(category, Reached.LOST, "it failed"), MIDDLE)
    assert step is None or step.wait > 0
