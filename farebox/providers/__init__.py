"""Providers: one file for each wire format; see README.md."""

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.gemini import GEMINI
from farebox.providers.groq import GROQ
from farebox.providers.openai import OPENAI
from farebox.providers.openai_shape import OpenAICompatible
from farebox.providers.protocol import Provider
from farebox.providers.vertex import VERTEX

PROVIDERS: tuple[Provider, ...] = (OPENAI, ANTHROPIC, GEMINI, GROQ, VERTEX)

_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def by_name(name: str) -> Provider | None:
    """The provider of this name."""
    return _BY_NAME.get(name)


def compatible(name: str, base_url: str) -> Provider:
    """Any service that speaks OpenAI's format (ollama, vLLM …). `base_url` may end with its version prefix."""
    return OpenAICompatible(name, base_url.rstrip("/").removesuffix("/v1"))
