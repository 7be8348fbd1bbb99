"""Fixtures of all tests."""

pytest_plugins = ["tests.support.fixtures", "tests.support.books", "tests.support.examples", "tests.support.explained"]
