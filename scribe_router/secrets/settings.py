"""The shape of `policies/secrets.yaml`. It holds references, never a secret."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scribe_router.policies.schema import Shape

PATTERN = r"^[a-z][a-z0-9_.-]*/.+$"


def _a_reference(text: str) -> str:
    if not re.match(PATTERN, text):
        raise ValueError("expected a reference (secret/NAME, file/PATH, os.environ/NAME), not the secret itself")
    return text


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Referring = Annotated[str, AfterValidator(_a_reference), Field(json_schema_extra={"pattern": PATTERN})]


class SecretsSettings(Shape):
    """Where the values of environment variables come from, so that `os.environ/NAME` finds them there.

    `environment` gives each variable a reference: `os.environ/OTHER_NAME`, `file/PATH` (`file//run/secrets/openai` is
    `/run/secrets/openai`), `secret/NAME` of the encrypted `file`, which `scribe-router secrets set NAME` writes, or one
    of an installed package. It goes before the process's own environment. `on_missing` is what becomes of a reference
    to nothing: an `error`, or with `leave_out` a variable that is not set. Paths start at the configuration's folder.
    """

    file: str = Field(default=".scribe/secrets", min_length=1)
    environment: dict[Variable, Referring] = Field(default_factory=dict)
    on_missing: Literal["error", "leave_out"] = "error"
