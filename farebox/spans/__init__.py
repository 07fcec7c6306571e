"""Calls that OpenTelemetry has seen: spans as OTLP carries them, read into events."""
