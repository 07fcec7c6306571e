"""Providers: one file for each wire format; see README.md."""

import re
from typing import Final

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.azure import AZURE
from farebox.providers.bedrock import BEDROCK
from farebox.providers.cohere import COHERE
from farebox.providers.deepseek import DEEPSEEK
from farebox.providers.fireworks import FIREWORKS
from farebox.providers.gemini import GEMINI
from farebox.providers.groq import GROQ
from farebox.providers.mistral import MISTRAL
from farebox.providers.openai import OPENAI
from farebox.providers.openai_shape import OpenAICompatible
from farebox.providers.openrouter import OPENROUTER
from farebox.providers.perplexity import PERPLEXITY
from farebox.providers.protocol import Configurable, Options, Provider
from farebox.providers.together import TOGETHER
from farebox.providers.vertex import VERTEX
from farebox.providers.voyage import VOYAGE
from farebox.providers.xai import XAI

PROVIDERS: tuple[Provider, ...] = (
    OPENAI,
    ANTHROPIC,
    GEMINI,
    VERTEX,
    GROQ,
    AZURE,
    BEDROCK,
    MISTRAL,
    COHERE,
    DEEPSEEK,
    XAI,
    OPENROUTER,
    TOGETHER,
    FIREWORKS,
    PERPLEXITY,
    VOYAGE,
)

_VERSION: Final = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/openai)?$")
_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def by_name(name: str) -> Provider | None:
    """The provider of this name."""
    return _BY_NAME.get(name)


def compatible(name: str, base_url: str) -> Provider:
    """Any service that speaks OpenAI's format (ollama, vLLM …). `base_url` may end with its version prefix: '/v1', or
    another one such as '/v4' or '/v3/openai'."""
    root = base_url.rstrip("/")
    found = _VERSION.search(root)
    return OpenAICompatible(name, root[: found.start()], found[0]) if found else OpenAICompatible(name, root)


def installed(name: str, wire: str, base_url: str, options: Options) -> Provider:
    """A provider as an installation has it: by the format it speaks, with what is said of it."""
    provider = by_name(wire) or compatible(name, base_url)
    return provider.configured(options) if isinstance(provider, Configurable) else provider
