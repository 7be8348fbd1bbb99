"""MCP tools in a request: the rounds of a conversation that calls them, what they cost, and what an operator asks of
them.

Which tools there are and what they may cost is `policies/mcp.py`; how they are reached is `upstream/mcp_sessions.py`.
"""
