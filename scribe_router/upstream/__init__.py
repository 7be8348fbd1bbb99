"""The way out: the only package that imports litellm, opens connections to providers, or speaks MCP.

Knows wire formats; never a virtual key, the client's HTTP request, or SQL. Nothing heavy is imported by importing it.
"""
