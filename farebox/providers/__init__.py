"""Providers: one file for each wire format; see README.md."""

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.azure import AZURE
from farebox.providers.bedrock import BEDROCK
from farebox.providers.gemini import GEMINI
from farebox.providers.groq import GROQ
from farebox.providers.openai import OPENAI
from farebox.providers.openai_shape import OpenAICompatible
from farebox.providers.protocol import Configurable, Options, Provider

PROVIDERS: tuple[Provider, ...] = (OPENAI, ANTHROPIC, GEMINI, GROQ, AZURE, BEDROCK)

_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def by_name(name: str) -> Provider | None:
    """The provider of this name."""
    return _BY_NAME.get(name)


def compatible(name: str, base_url: str) -> Provider:
    """Any service that speaks OpenAI's format (ollama, vLLM …). `base_url` may end with its version prefix."""
    return OpenAICompatible(name, base_url.rstrip("/").removesuffix("/v1"))


def installed(name: str, wire: str, base_url: str, options: Options) -> Provider:
    """A provider as an installation has it: by the format it speaks, with what is said of it."""
    provider = by_name(wire) or compatible(name, base_url)
    return provider.configured(options) if isinstance(provider, Configurable) else provider
