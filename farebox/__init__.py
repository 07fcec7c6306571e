"""Farebox meters, limits and explains what LLM calls cost, per customer, user, plan and feature."""

__version__ = "0.1.0"
