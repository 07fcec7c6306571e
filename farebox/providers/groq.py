"""Groq: https://api.groq.com/openai/v1. Usage stands in the finish chunk as `x_groq.usage`, asked for or not; compound
models list what each inner model used in `usage_breakdown`. Hanging up does not stop the bill."""

from typing import Final

from farebox.providers.openai_shape import OpenAICompatible

GROQ: Final = OpenAICompatible(
    "groq",
    "https://api.groq.com",
    version_prefix="/openai/v1",
    credential_env=("GROQ_API_KEY",),
    drains=True,
)
