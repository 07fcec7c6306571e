"""The simulated SaaS: who its customers are, what they use and which models serve them. Pure; a seed fixes it all."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Final

import msgspec

from farebox.demo.trace import Kind

TENANTS: Final = 200
STEEPNESS: Final = 1.15
"""Exponent of the power law: the tenant of rank r makes r^-1.15 as many calls as the first."""
SPREAD: Final = 1.1
"""How far chance moves a tenant among the ranks: the larger, the more free tenants are among the heavy ones."""
USERS_MAX: Final = 900
_FIRST: Final = (
    "amber", "birch", "cobalt", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper",
    "kestrel", "lumen", "maple", "north", "opal", "pine", "quartz", "river", "summit", "tidal",
)  # fmt: skip
_SECOND: Final = (
    "analytics", "bakery", "clinic", "dynamics", "foundry", "legal", "logistics", "press", "robotics", "travel",
)  # fmt: skip
REGIONS: Final = ("eu", "us", "us", "apac")


class Model(msgspec.Struct, frozen=True):
    """A model as asked for, and as the provider's answer names it."""

    provider: str
    name: str
    dated: str
    operation: str
    path: str
    cache_share: float = 0.0
    """How much of a long prompt its cache serves, at most."""
    thinks: bool = False


GPT_NANO: Final = Model("openai", "gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", "chat", "/v1/chat/completions", 0.5)
GPT_MINI: Final = Model("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "chat", "/v1/chat/completions", 0.5)
GPT_5_MINI: Final = Model("openai", "gpt-5-mini", "gpt-5-mini-2025-08-07", "chat", "/v1/chat/completions", 0.5, True)
HAIKU: Final = Model("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", "messages", "/v1/messages", 0.7)
SONNET: Final = Model("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "messages", "/v1/messages", 0.7)
FLASH: Final = Model(
    "gemini", "gemini-2.5-flash", "gemini-2.5-flash", "generate",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent", 0.4, True,
)  # fmt: skip
LLAMA: Final = Model(
    "groq", "llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "chat", "/openai/v1/chat/completions"
)
EMBEDDING: Final = Model("openai", "text-embedding-3-small", "text-embedding-3-small", "embeddings", "/v1/embeddings")


ROUTE: Final = "assistant"
"""The route by which chats on its first target's model go."""
ROUTE_TARGETS: Final = (GPT_MINI, LLAMA)


class Tier(msgspec.Struct, frozen=True):
    """A plan: its share of the tenants, and how often each model serves it."""

    name: str
    share: float
    models: tuple[tuple[Model, int], ...]


class Feature(msgspec.Struct, frozen=True):
    """A feature: how often it is used, and how long its calls are (see trace.py), scaled."""

    name: str
    weight: int
    kind: Kind
    scale: float = 1.0
    """Prompts against the trace's: a product adds documents, tools and the conversation so far."""
    answer_scale: float = 1.0
    embeds: float = 0.0
    """The share of its calls that are embeddings."""
    has_task: bool = False


TIERS: Final = (
    Tier("free", 0.62, ((GPT_NANO, 70), (LLAMA, 20), (FLASH, 10))),
    Tier("pro", 0.30, ((GPT_MINI, 50), (HAIKU, 20), (FLASH, 20), (LLAMA, 10))),
    Tier("enterprise", 0.08, ((SONNET, 35), (GPT_MINI, 25), (GPT_5_MINI, 25), (FLASH, 15))),
)
FEATURES: Final = (
    Feature("chat", 45, "conv", scale=6.0, answer_scale=2.0),
    Feature("summarize", 25, "code", scale=12.0, answer_scale=12.0, has_task=True),
    Feature("extract", 20, "code", scale=8.0, answer_scale=16.0, has_task=True),
    Feature("search", 10, "conv", scale=0.4, embeds=0.7),
)


class Tenant(msgspec.Struct, frozen=True):
    """A customer. `weight` is its share of all calls, unnormalised."""

    name: str
    tier: Tier
    weight: float
    users: int
    region: str


class Saas(msgspec.Struct, frozen=True):
    """The whole of it, largest customer first."""

    tenants: tuple[Tenant, ...]
    features: tuple[Feature, ...] = FEATURES


def build(seed: int = 7) -> Saas:
    """The same SaaS for the same seed. Large customers pay more on the whole, but a few heavy ones are on the free
    tier, as in life."""
    pick = random.Random(seed)
    names = [f"{first}-{second}" for first, second in product(_FIRST, _SECOND)]
    pick.shuffle(names)
    tiers = _tiers(pick)
    return Saas(
        tuple(_tenant(name, rank, tier, pick) for rank, (name, tier) in enumerate(zip(names, tiers, strict=True), 1))
    )


def _tenant(name: str, rank: int, tier: Tier, pick: random.Random) -> Tenant:
    weight = rank**-STEEPNESS * pick.uniform(0.8, 1.25)
    return Tenant(name, tier, weight, max(1, round(USERS_MAX * weight)), pick.choice(REGIONS))


def _tiers(pick: random.Random) -> list[Tier]:
    """A tier for each rank: paying tiers drawn towards the top."""
    counts = [round(tier.share * TENANTS) for tier in TIERS]
    counts[0] += TENANTS - sum(counts)
    tiers = [tier for tier, count in zip(TIERS, counts, strict=True) for _ in range(count)]
    lean = {"enterprise": 0.0, "pro": 0.25, "free": 0.6}
    return sorted(tiers, key=lambda tier: lean[tier.name] + pick.uniform(0, SPREAD))


def is_routed(model: Model, feature: Feature) -> bool:
    return model is ROUTE_TARGETS[0] and feature.name == "chat"


def pick_user(tenant: Tenant, pick: random.Random) -> str:
    """A user of that tenant; a few make most of the calls."""
    return f"u_{int(tenant.users ** pick.random())}"


def pick_model(tier: Tier, feature: Feature, pick: random.Random) -> Model:
    """Which model serves a call of that feature on that tier."""
    if feature.embeds and pick.random() < feature.embeds:
        return EMBEDDING
    return weighted(tier.models, pick)


def weighted(choices: Sequence[tuple[Model, int]], pick: random.Random) -> Model:
    """One of the models, by weight."""
    return pick.choices([model for model, _ in choices], [weight for _, weight in choices])[0]


def sized(feature: Feature, read: int, written: int) -> tuple[int, int]:
    """A call's input and output tokens, from the trace's."""
    return max(1, round(read * feature.scale)), max(1, round(written * feature.answer_scale))


def split(model: Model, read: int, written: int, pick: random.Random) -> dict[str, int]:
    """A call's tokens as that model's meters: cached in steps of 128, thinking beside the answer."""
    if model is EMBEDDING:
        return {"input": read}
    cached = int(read * model.cache_share * pick.random()) // 128 * 128 if read >= 1024 else 0
    thought = int(written * pick.uniform(0.3, 1.5)) if model.thinks else 0
    counts = {"input": read - cached, "cache_read": cached, "output": written, "reasoning": thought}
    return {meter: count for meter, count in counts.items() if count}
