"""The official Node client, unchanged, against the proxy."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.proxy import serving

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
pytestmark = pytest.mark.clients


@pytest.mark.timeout(180)
def test_the_node_client(tmp_path: Path) -> None:
    node = os.environ.get("SCRIBE_NODE") or shutil.which("node")
    assert node, "no node here; make clients brings one"
    assert (HERE / "node_modules" / "openai").is_dir(), "the client is not installed; make clients does that"
    for name in ("litellm_config.yaml", "policies"):
        (tmp_path / name).symlink_to(ROOT / name)
    with serving(tmp_path, "--sandbox") as proxy:
        done = subprocess.run(
            [node, "chat.mjs", f"{proxy.url}/v1"], cwd=HERE, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    for model in ("echo", "echo-anthropic", "reasoning"):
        assert out[model] == {
            "plain": "hello from node",
            "model": model,
            "stream": "hello from node",
            "schema": {"name": "hello from node"},
            "schemaStream": {"name": "hello from node"},
        }
    assert out["tool"]["name"] == "weather"
    assert out["tool"]["finish"] == "tool_calls"
    assert out["tool"]["stream"] == {"city": "hello from node"}
    assert len(out["embeddings"]) == 2
    assert {"echo", "reasoning", "gpt-6-luna"} <= set(out["models"])
    assert out["misspelt"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert out["operator"] == {"kind": "BadRequestError", "status": 400, "code": "unknown_parameter"}
    assert out["broken"]["status"] == 502
