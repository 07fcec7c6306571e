"""OpenAI: https://api.openai.com."""

from typing import Final

from farebox.providers.openai_shape import OpenAICompatible

OPENAI: Final = OpenAICompatible(
    "openai", "https://api.openai.com", credential_env=("OPENAI_API_KEY",), residency_host="api.openai.com"
)
