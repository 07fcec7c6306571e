"""Fireworks: https://api.fireworks.ai/inference/v1. Models are called `accounts/fireworks/models/…`. Hanging up stops
the bill.

Source: https://docs.fireworks.ai. What runs on a dedicated deployment (`model#accounts/…/deployments/…`) is billed by
the hour of its GPUs, which no call can show: such calls are unpriced and marked 'dedicated'. `/v1/accounts/…` manages
the account. Audio has hosts of its own: configure one of them as a provider that speaks OpenAI's format.
"""

from typing import Final

from msgspec.structs import replace

from farebox.providers.openai_routes import MESSAGES, RERANK
from farebox.providers.openai_shape import OpenAICompatible, openai_fold
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import Fold
from farebox.providers.reported import Amended, as_ranked, marked
from farebox.providers.routing import ADMIN


def _routes(method: str, rest: tuple[str, ...]) -> Endpoint | None:
    if "accounts" in rest[:2] and rest[0] != "workflows":
        return ADMIN
    if method != "POST":
        return None
    if rest == ("rerank",):
        return RERANK
    if rest == ("messages",):
        return MESSAGES
    if rest[:1] in (("workflows",), ("image_generation",)):
        return Endpoint("image", "images.workflow", model=_named(rest[1:]))
    return None


def _named(rest: tuple[str, ...]) -> str | None:
    """The model of `accounts/fireworks/models/flux-1-dev-fp8/text_to_image`."""
    return "/".join(rest[:4]) if len(rest) >= 4 else None


def is_dedicated(model: str | None) -> bool:
    """Whether a model's name means a deployment of one's own."""
    name = model or ""
    return "#" in name or "/deployments/" in name or "/deployedModels/" in name


def _folds(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    fold = openai_fold(endpoint, intent, is_stream)
    if endpoint is RERANK:
        fold = Amended(fold, as_ranked)
    return Amended(fold, lambda metered: _on_own_machines(metered, intent)) if is_dedicated(intent.model) else fold


def _on_own_machines(metered: Metered, intent: Intent) -> Metered:
    """The name that was asked for has no price by the token; the answer's may be that of the same model elsewhere."""
    return marked(replace(metered, model=intent.model), "dedicated")


FIREWORKS: Final = OpenAICompatible(
    "fireworks",
    "https://api.fireworks.ai",
    version_prefix="/inference/v1",
    credential_env=("FIREWORKS_API_KEY",),
    credential_headers=("authorization", "x-api-key"),
    beside=("/v1/accounts",),
    routes=_routes,
    folds=_folds,
)
