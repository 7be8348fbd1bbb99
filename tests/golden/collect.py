"""Makes every request of the table on every lane, and writes what arrived as JSON.

A process of its own, since clients read which CA to trust when they are imported. `python -m tests.golden.collect
FOLDER` reads which cases from `FOLDER/names.json` and writes `FOLDER/arrived.json`: by a case's name and lane, what
arrived and what the answer says of the effort.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scribe_router.config.load import load_config
from scribe_router.errors import RequestError
from scribe_router.exchange import Call, CallOptions, Json, Lane
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.stream import AnswerStream
from tests.golden.authority import Authority
from tests.golden.cases import ROOT, Case, default, levels, read, written
from tests.golden.tunnel import Tunnel, tunnelling

LANES: tuple[Lane, ...] = ("wire", "litellm")
SECONDS = 600
Arrived = dict[str, dict[str, Any]]


def collected(folder: Path, names: Collection[str] = ()) -> Arrived:
    """What arrives for these cases, or for every one: by its name, then by lane."""
    (folder / "names.json").write_text(json.dumps(list(names)), encoding="utf-8")
    regions = [region for row in rows("providers").values() for region in row["regions"].values()]
    keys = {name: name for region in regions for name in region.get("keys", ())}
    environment = {
        **keys,
        **default("environment"),
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "SSL_CERT_FILE": str(Authority(folder).path),
    }
    command = [sys.executable, "-m", "tests.golden.collect", str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    arrived: Arrived = json.loads((folder / "arrived.json").read_text(encoding="utf-8"))
    return arrived


@cache
def rows(name: str) -> Json:
    """A file of the shipped knowledge, as it is written."""
    loaded: Json = read(ROOT / "policies" / f"{name}.yaml")
    return loaded


async def _collect(folder: Path) -> None:
    names = set(json.loads((folder / "names.json").read_text(encoding="utf-8")))
    cases = {case.name: case for case in (*written(), *levels()) if not names or case.name in names}
    with tunnelling(Authority(folder)) as tunnel:
        os.environ["HTTPS_PROXY"] = os.environ["HTTP_PROXY"] = tunnel.url
        router = _router(folder, map(_deployment, cases.values()))
        arrived = {
            name: {lane: await _arrived(router, tunnel, case, lane) for lane in LANES} for name, case in cases.items()
        }
        await router.aclose()
    (folder / "arrived.json").write_text(json.dumps(arrived), encoding="utf-8")


def _router(folder: Path, deployments: Iterable[Json]) -> Router:
    config = folder / "litellm_config.yaml"
    each = {entry["model_name"]: entry for entry in deployments}
    config.write_text(yaml.safe_dump({"model_list": list(each.values())}), encoding="utf-8")
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "store.yaml").write_text("ledger: sqlite:ledger.db\n", encoding="utf-8")
    return Router(load_config(config, folder / "policies", os.environ).or_raise())


def _deployment(case: Case) -> Json:
    return {"model_name": _model(case), "litellm_params": case.params, "model_info": {**case.info, "id": _model(case)}}


def _model(case: Case) -> str:
    return json.dumps([case.params, case.info], sort_keys=True).replace(" ", "").replace("*", "-")


async def _arrived(router: Router, tunnel: Tunnel, case: Case, lane: Lane) -> Mapping[str, Any]:
    """What one request makes arrive on a lane. `refused` when the lane cannot carry it."""
    tunnel.received.clear()
    says = refused = None
    try:
        answer = await router.serve(Call(case.api, {**case.ask, "model": _model(case)}, CallOptions(lane=lane)))
        if isinstance(answer, AnswerStream):
            assert [chunk async for chunk in answer]
        says = Receipt.of(answer.exchange).effort
    except RequestError as error:
        refused = str(error)
    return {"requests": list(tunnel.received), "says": says, "refused": refused}


if __name__ == "__main__":
    asyncio.run(_collect(Path(sys.argv[1])))
