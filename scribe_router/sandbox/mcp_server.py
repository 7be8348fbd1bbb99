"""A fake MCP server, over stdio or HTTP. Its tools are behaviours: they answer, fail, crash, hang, flood, or lie about
their cost. It counts the calls that it executed in a file of its own. Knows nothing of the router.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ImageContent, TextContent
from pydantic import BaseModel, ConfigDict

SMALLEST_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+M8AAQUBAScY42YAAAAASUVORK5CYII="


class Line(BaseModel):
    """A line with its place; what else it had would be refused."""

    model_config = ConfigDict(extra="forbid")

    text: str
    number: int = 1


def mcp_sandbox(record: Path | None = None) -> MCPServer:
    """The server. Each executed call is a JSON line of `record`: the tool, and its arguments."""
    server = MCPServer("scribe-router sandbox", version="1")

    def executed(tool: str, **arguments: Any) -> None:
        if record is not None:
            line = json.dumps({"tool": tool, "arguments": arguments, "process": os.getpid()}) + "\n"
            file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line.encode())
            finally:
                os.close(file)

    _work(server, executed)
    _trouble(server, executed)
    _slow(server, executed)
    return server


def _work(server: MCPServer, executed: Any) -> None:
    @server.tool()
    def web_search(query: str) -> str:
        """Search the web."""
        executed("web_search", query=query)
        return f"the first result for {query}"

    @server.tool()
    def code_interpreter(code: str) -> str:
        """Run a program."""
        executed("code_interpreter", code=code)
        return f"ran {len(code)} letters"

    @server.tool()
    def file_operations(path: str) -> str:
        """Read a file."""
        executed("file_operations", path=path)
        return f"{path}: empty"

    @server.tool()
    def echo(text: str) -> str:
        """Say the same."""
        executed("echo", text=text)
        return text

    @server.tool()
    def tidy(lines: list[Line]) -> str:
        """Put lines in order."""
        executed("tidy", lines=len(lines))
        return "\n".join(line.text for line in sorted(lines, key=lambda line: line.number))

    @server.tool()
    def picture() -> CallToolResult:
        """Draw a dot."""
        executed("picture")
        return CallToolResult(content=[ImageContent(type="image", data=SMALLEST_PNG, mime_type="image/png")])

    @server.tool()
    def environment() -> str:
        """What this process was given."""
        return json.dumps(sorted(os.environ))


def _trouble(server: MCPServer, executed: Any) -> None:
    @server.tool()
    def fail(text: str = "no luck") -> CallToolResult:
        """Answer with an error."""
        executed("fail", text=text)
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

    @server.tool()
    def crash() -> str:
        """End the process."""
        executed("crash")
        os._exit(3)

    @server.tool()
    def flood(megabytes: int = 8) -> str:
        """Answer with far too much."""
        executed("flood", megabytes=megabytes)
        return "flood " * (megabytes * 170_000)

    @server.tool()
    def priced(usd: float | str) -> CallToolResult:
        """Report this cost, true or not."""
        executed("priced", usd=usd)
        return CallToolResult(content=[TextContent(type="text", text="paid")], _meta={"cost": {"usd": usd}})

    @server.tool()
    async def ask(context: Context) -> str:
        """Ask the client's person something."""
        executed("ask")

        class Name(BaseModel):
            name: str

        answer = await context.elicit("what is your name?", Name)
        return answer.action

    @server.tool()
    async def grow(context: Context, name: str) -> str:
        """Offer one more tool, and tell."""

        def more() -> str:
            executed(name)
            return f"I am {name}"

        server.add_tool(more, name=name)
        await context.session.send_tool_list_changed()
        return "grown"


def _slow(server: MCPServer, executed: Any) -> None:
    @server.tool()
    async def hang(seconds: float = 3600.0) -> str:
        """Answer late."""
        executed("hang", seconds=seconds)
        await asyncio.sleep(seconds)
        return "at last"

    @server.tool()
    async def late() -> str:
        """Answer after a second."""
        executed("late")
        await asyncio.sleep(1.0)
        return "late, but here"

    @server.tool()
    async def stall() -> str:
        """Answer never."""
        executed("stall")
        await asyncio.Event().wait()
        return ""


def run(record: Path | None = None, *, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Serve over stdio, or with a port over HTTP at `/mcp`, until it is ended."""
    server = mcp_sandbox(record)
    if port is None:
        server.run("stdio")
    else:
        uvicorn.run(server.streamable_http_app(), host=host, port=port, log_level="warning")
