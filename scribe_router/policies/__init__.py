"""Pure decisions, one module for each YAML file of the same name: no I/O, no clock, no randomness, no LiteLLM.

What a decision needs to know is an argument. A policy never imports another one; what they share is in `exchange`.
"""
