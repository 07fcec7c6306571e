"""DeepSeek: https://api.deepseek.com. OpenAI's routes stand at the root and under `/v1`, what is in beta under `/beta`,
the Responses API at the root only, Anthropic's messages under `/anthropic`.

Source: https://api-docs.deepseek.com. Usage says what the cache served and what it did not (`prompt_cache_hit_tokens`,
`prompt_cache_miss_tokens`), with OpenAI's details or without; some streams repeat it, cumulative, in each chunk. While
a call waits, empty lines (JSON) or comments (streams) keep it alive. Peak hours: prices/overlay/deepseek.toml.
"""

from typing import Final

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.openai_routes import INFERENCE
from farebox.providers.openai_shape import OpenAICompatible
from farebox.providers.protocol import Endpoint
from farebox.providers.routing import ADMIN


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    if rest[:1] == ("user",):
        return ADMIN  # the balance of the account
    if rest[:1] == ("anthropic",):
        return ANTHROPIC.endpoint(method, ANTHROPIC.upstream_path("/" + "/".join(rest[1:])))
    if rest[:1] == ("beta",) and method == "POST":
        return INFERENCE.get(rest[1:])
    return None


DEEPSEEK: Final = OpenAICompatible(
    "deepseek",
    "https://api.deepseek.com",
    credential_env=("DEEPSEEK_API_KEY",),
    credential_headers=("authorization", "x-api-key"),
    beside=("/beta", "/anthropic", "/responses", "/user"),
    routes=_routes,
    unified_prefix="",
)
