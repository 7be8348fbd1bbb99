"""An experiment from a request to its report: the arm, what a client is told, what is recorded, and its outcome."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scribe_router import Router
from scribe_router.config.load import load_config
from scribe_router.errors import InvalidRequest, OutcomeNotFound, PermissionDenied
from scribe_router.exchange import Call, CallOptions
from scribe_router.principals import EVERYTHING, Principal
from scribe_router.receipt import Receipt
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - model_name: plain
    litellm_params: {model: openai/usage-1000-200, api_base: BASE, api_key: k}
    model_info: {id: plain-1, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
  - model_name: other
    litellm_params: {model: openai/echo, api_base: BASE, api_key: k}
    model_info: {id: other-1, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
  - model_name: broken
    litellm_params: {model: openai/error-400, api_base: BASE, api_key: k}
    model_info: {id: broken-1, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
  - model_name: down
    litellm_params: {model: openai/error-500, api_base: BASE, api_key: k}
    model_info: {id: down-1, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
"""
TRIAL = "experiments: {trial: {on: plain, arms: {today: {model: plain}, new: {model: other}}}}"
FALLING = "experiments: {falling: {on: plain, arms: {a: {model: down}, b: {model: down}}}}"
MESSAGES = [{"role": "user", "content": "hello"}]
TODAY, NEW = "ann", "cid"  # users in either arm


def body(unit: str, **more: Any) -> dict[str, Any]:
    return {"model": "plain", "messages": MESSAGES, "metadata": {"experiment_unit": unit}, **more}


@pytest.fixture
def build(router: RouterFrom, sandbox: Sandbox) -> Any:
    def built(experiments: str = TRIAL, **policies: str) -> Router:
        text = CONFIG.replace("BASE", sandbox.url + "/v1")
        return router(text, {"experiments": experiments, "retries": "server: {retries: 0}", **policies})

    return built


async def ask(router: Router, asked: dict[str, Any]) -> Receipt:
    answer = await router.serve(Call("chat", asked))
    if isinstance(answer, AnswerStream):
        assert [chunk async for chunk in answer]
    return Receipt.of(answer.exchange)


async def rows(router: Router, exchange: str) -> list[dict[str, Any]]:
    return await router.ledger.rows(exchange=exchange)


async def test_the_unit_decides_and_everybody_is_told(build: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    router = build(store=f"ledger: sqlite:l.sqlite3\njournal: {tmp_path}/j.jsonl")
    for unit, arm, deployment in ((TODAY, "today", "plain-1"), (NEW, "new", "other-1")):
        for more in ({}, {"stream": True}):
            told = await ask(router, body(unit, **more))
            assert (told.experiment, told.deployment) == (f"trial={arm}", deployment)
            [row] = await rows(router, told.request_id)
            assert (row["experiment"], row["arm"], row["reported"]) == ("trial", arm, None)
            line = json.loads((tmp_path / "j.jsonl").read_text().splitlines()[-1])
            exposure = {
                "experiment": "trial",
                "arm": arm,
                "model": "plain" if arm == "today" else "other",
                "share": 0.5,
            }
            assert line["experiment"] == {**exposure, "unit": row["unit"]}
            assert line["plan"]["facts"]["unit"] == row["unit"] != unit
            assert f"arm {arm} (50.0% of units) of trial for the unit {row['unit']}" in router.explain(**body(unit))
    assert b"experiment" not in b"".join(each.body for each in sandbox.received)
    assert unit not in (tmp_path / "j.jsonl").read_text()


async def test_the_unit_is_the_metadatas_else_the_users_else_the_keys(build: Any) -> None:
    router: Router = build()

    def unit(principal: Principal, *, charged: str | None = None, **more: Any) -> str:
        call = Call("chat", {"model": "plain", "messages": MESSAGES, **more}, CallOptions(user=charged))
        exposure = router.plan(call, principal=principal).exposure
        assert exposure is not None
        return exposure.unit

    key = Principal("key-1", "", grant=EVERYTHING)
    named = unit(key, metadata={"experiment_unit": "x"}, user="y")
    assert named == unit(Principal("key-2", "eve", grant=EVERYTHING), metadata={"experiment_unit": "x"})
    assert unit(key, charged="x") == unit(key, user="x") == unit(Principal("key-2", "x", grant=EVERYTHING)) == named
    assert unit(key) == unit(Principal("k", "key-1", grant=EVERYTHING)) != named
    assert unit(key, metadata={"experiment_unit": ""}) == unit(key, metadata={"experiment_unit": 7}) == unit(key)


async def test_another_name_is_under_no_experiment(build: Any) -> None:
    router = build()
    told = await ask(router, {"model": "other", "messages": MESSAGES})
    assert told.experiment is None
    [row] = await rows(router, told.request_id)
    assert (row["experiment"], row["arm"], row["unit"]) == ("", "", "")
    with pytest.raises(InvalidRequest, match="was under no experiment"):
        await router.aoutcome(told.request_id, success=True)


async def test_an_arm_that_fails_falls_back_and_the_exposure_says_what_served(build: Any) -> None:
    router = build(FALLING)
    told = await ask(router, body("ann"))
    assert (told.deployment, told.attempts) == ("plain-1", 2)
    last, first = await rows(router, told.request_id)
    assert (first["deployment"], last["deployment"]) == ("down-1", "plain-1")
    assert (first["arm"], first["unit"]) == (last["arm"], last["unit"]) != ("", "")
    assert told.experiment == f"falling={first['arm']}"


async def test_an_answer_of_one_arm_is_not_given_to_the_other(build: Any, sandbox: Sandbox) -> None:
    """Who asks is no part of the question where all share."""
    router = build(cache="{enabled: true, share: all}")
    plain = {"model": "plain", "messages": MESSAGES}
    asked = [await ask(router, {**plain, "user": user}) for user in (TODAY, NEW, TODAY, NEW)]
    assert [each.cache for each in asked] == ["miss", "miss", "hit", "hit"]
    assert [each.experiment for each in asked] == ["trial=today", "trial=new"] * 2
    assert len(sandbox.received) == 2
    with pytest.raises(OutcomeNotFound, match="or from the cache"):
        await router.aoutcome(asked[-1].request_id, success=True)


async def test_the_last_word_on_an_answer_counts(build: Any) -> None:
    router = build()
    told = await ask(router, body(NEW))
    nothing: dict[str, Any] = {"success": None, "score": None}
    said: list[dict[str, Any]] = [
        {"success": True},
        {"success": True},
        {"score": 3.0},
        {"success": False, "score": 0.5},
    ]
    for each in said:
        await router.aoutcome(told.request_id, **each)
        [row] = await rows(router, told.request_id)
        assert row["reported"] == {**nothing, **each}


async def test_only_who_asked_may_say_and_an_administrator(build: Any) -> None:
    router = build()
    answer = await router.serve(Call("chat", body(NEW)), Principal("key-1", "ann", grant=EVERYTHING))
    said = {"request_id": answer.exchange.id, "success": True}
    with pytest.raises(PermissionDenied, match="was a request of another key"):
        await router.report(said, Principal("key-2", "ann"))
    assert (await rows(router, answer.exchange.id))[0]["reported"] is None
    expected = {"request_id": answer.exchange.id, "experiment": "trial", "arm": "new"}
    assert await router.report(said, Principal("key-1", "bob")) == expected
    assert await router.report(said) == expected
    with pytest.raises(InvalidRequest, match="was under the experiment trial"):
        await router.aoutcome(answer.exchange.id, score=1, experiment="trail")


@pytest.mark.parametrize(
    ("said", "param", "message"),
    [
        ({}, "request_id", "request_id is the answer's x-scribe-request-id"),
        ({"request_id": 7, "success": True}, "request_id", "request_id is the answer's"),
        ({"request_id": "ex-1"}, "success", "say success"),
        ({"request_id": "ex-1", "success": 1}, "success", "success is true or false"),
        ({"request_id": "ex-1", "score": "5"}, "score", "score is a number"),
        ({"request_id": "ex-1", "score": True}, "score", "score is a number"),
        ({"request_id": "ex-1", "score": float("nan")}, "score", "score is a number"),
        ({"request_id": "ex-1", "score": 10**400}, "score", "score is a number"),
        ({"request_id": "ex-1", "score": 1, "experiment": []}, "experiment", "experiment is a name"),
        ({"request_id": "ex-1", "sucess": True}, "sucess", "there is no field sucess, did you mean success?"),
    ],
)
async def test_what_makes_no_sense(build: Any, said: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        await build().report(said)
    assert caught.value.param == param


async def test_the_pages_example_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "experiments.md").read_text(), re.DOTALL)
    for path in (ROOT / "policies").glob("*.yaml"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "experiments.yaml").write_text(example)
    loaded = load_config(ROOT / "litellm_config.yaml", tmp_path, {"LLM_CACHE_ENABLED": "false"})
    assert [str(each) for each in loaded.problems if "experiments" in each.file] == []
    assert loaded.registry is not None
    assert loaded.registry.exposure("coding", "u").experiment == "coder-2026-12"  # type: ignore[union-attr]
