"""What `policies/mcp.yaml` says of servers that are not there. Which tools they have, only they know."""

from fnmatch import fnmatchcase

from scribe_router.config.documents import Document
from scribe_router.names import did_you_mean
from scribe_router.policies.mcp import BETWEEN, McpPolicy


def check_tools(policy: McpPolicy, document: Document) -> None:
    """A group of tools of no server: nobody would ever get them."""
    for name, group in policy.groups.items():
        for place, tool in enumerate(group.tools):
            server = tool.partition(BETWEEN)[0]
            if not any(fnmatchcase(each, server) for each in policy.servers):
                hint = did_you_mean(server, policy.servers)
                document.report(("groups", name, "tools", place), f"there is no MCP server {server}{hint}")
