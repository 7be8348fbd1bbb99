"""What a client says of an answer that it got under an experiment: whether it was right, and how good.

It is kept with the first of the exchange's rows in the ledger. Knows rows; never how they are stored, nor HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from scribe_router.errors import InvalidRequest, OutcomeNotFound, PermissionDenied
from scribe_router.exchange import Json
from scribe_router.names import did_you_mean
from scribe_router.principals import Principal
from scribe_router.stores.contract import Ledger

FIELDS = ("request_id", "success", "score", "experiment")
LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is said of the answer to the request with this id; None is not said."""

    request_id: str
    success: bool | None = None
    score: float | None = None
    experiment: str | None = None


def read(body: Mapping[str, Any]) -> Feedback:
    """Feedback as JSON says it. Raises `InvalidRequest` with the field's name."""
    for name in body:
        if name not in FIELDS:
            raise _wrong(name[:50], f"there is no field {name[:50]}{did_you_mean(name, FIELDS)}")
    request_id, success, score, experiment = (body.get(name) for name in FIELDS)
    if not isinstance(request_id, str) or not request_id:
        raise _wrong("request_id", "request_id is the answer's x-scribe-request-id, such as ex-0123")
    if success is not None and not isinstance(success, bool):
        raise _wrong("success", "success is true or false")
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if score is not None and not (number and abs(score) <= LARGEST and isfinite(score)):
        raise _wrong("score", "score is a number of at most 1e12")
    if success is None and score is None:
        raise _wrong("success", "say success (true or false), score (a number), or both")
    if experiment is not None and not isinstance(experiment, str):
        raise _wrong("experiment", "experiment is a name")
    return Feedback(request_id, success, None if score is None else float(score), experiment)


async def keep(ledger: Ledger, said: Feedback, principal: Principal, *, administers: bool) -> Json:
    """Keep what is said of an answer, in place of what was said before; the exchange with its experiment and arm.

    Raises `OutcomeNotFound`, `PermissionDenied`, `InvalidRequest` and `StoreUnavailable`.
    """
    row = next(reversed(await ledger.rows(exchange=said.request_id)), None)
    if row is None:
        raise _unknown(said.request_id)
    if row["principal"] != principal.name and not administers:
        text = f"{said.request_id[:50]} was a request of another key; only that one may say what became of it"
        raise PermissionDenied(text, code="not_yours", param="request_id")
    experiment, arm = row.get("experiment"), row.get("arm")
    if not experiment:
        raise _wrong("request_id", f"{said.request_id[:50]} was under no experiment", "no_experiment")
    if said.experiment not in (None, experiment):
        text = f"{said.request_id[:50]} was under the experiment {experiment}"
        raise _wrong("experiment", text, "other_experiment")
    if not await ledger.report(row["attempt"], {"success": said.success, "score": said.score}):
        raise _unknown(said.request_id)
    return {"request_id": said.request_id, "experiment": experiment, "arm": arm}


def _unknown(request_id: str) -> OutcomeNotFound:
    why = "it had no attempt (refused, or from the cache), its row was folded, or it was never here"
    return OutcomeNotFound(f"the ledger has no request {request_id[:50]}: {why}", param="request_id")


def _wrong(param: str, text: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(text, code=code, param=param)
