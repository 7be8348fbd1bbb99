"""The command line, a module for each command with others below it: arguments in, text out. It decides nothing."""

from scribe_router.cli.commands import app, main

__all__ = ["app", "main"]
