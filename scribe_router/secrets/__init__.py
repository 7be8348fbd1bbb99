"""Where secrets come from: `SCHEME/NAME` in, text out. One resolver for each scheme; never knows what a secret is for.

`os.environ/NAME`, `file/PATH` and `secret/NAME` are built in. A package brings another under the entry point
`scribe_router.secrets`: a function, or a class that is called without arguments.

    [project.entry-points."scribe_router.secrets"]
    vault = "acme_vault:read"        # resolves vault/anything

No text of a secret is ever part of a message here.
"""

from scribe_router.secrets.resolver import Missing, Resolver, Unresolved
from scribe_router.secrets.settings import SecretsSettings
from scribe_router.secrets.sources import Sources

__all__ = ["Missing", "Resolver", "SecretsSettings", "Sources", "Unresolved"]
