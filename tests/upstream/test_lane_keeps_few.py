"""What LiteLLM's Router holds of deployments that a wildcard makes is bounded."""

import pytest

from scribe_router.upstream import litellm_lane
from scribe_router.upstream.litellm_lane import LiteLLMLane
from tests.policies.registries import deployment

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_oldest_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm_lane, "MOST_FED", 2)
    lane = LiteLLMLane()
    try:
        names = [await lane._identity(deployment(name, api_key="any")) for name in ("a", "b", "a", "c", "d")]
        assert list(lane._fed) == [names[3], names[4]]
        held = {each["model_info"]["id"] for each in litellm_lane._process.router().model_list}
        assert names[4] in held
        assert names[0] not in held
    finally:
        lane.close()
