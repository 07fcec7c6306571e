"""Together: https://api.together.xyz/v1. `cached_tokens` stands at the top level of usage, which comes with the finish
chunk. Hanging up stops the bill. Dedicated endpoints are billed by the hour and have names of their own: unpriced.

Source: https://docs.together.ai and recorded answers.
"""

from typing import Final

from farebox.providers.openai_routes import RERANK
from farebox.providers.openai_shape import OpenAICompatible, openai_fold
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.readers import Fold
from farebox.providers.reported import Amended, as_ranked
from farebox.providers.routing import ADMIN

_MANAGEMENT: Final = frozenset({"api-keys", "endpoints", "hardware", "clusters", "deployments"})
"""What starts machines or lists those of the account."""


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    if rest[:1] and rest[0] in _MANAGEMENT:
        return ADMIN
    if rest == ("rerank",) and method == "POST":
        return RERANK
    return None


def _folds(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    fold = openai_fold(endpoint, intent, is_stream)
    return Amended(fold, as_ranked) if endpoint is RERANK else fold


TOGETHER: Final = OpenAICompatible(
    "together",
    "https://api.together.xyz",
    credential_env=("TOGETHER_API_KEY",),
    beside=("/v2",),
    routes=_routes,
    folds=_folds,
)
