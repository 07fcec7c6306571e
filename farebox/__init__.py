"""Farebox meters, limits and explains what LLM calls cost, per customer, user, plan and feature."""

from farebox import native

__version__ = "0.1.0"

native.install()
