"""Live traffic: the simulated SaaS's users call the real gateway over real HTTP until told to stop."""

import asyncio
import json
import random
import threading
from typing import Final

import httpx
import msgspec

from farebox.demo import saas, trace
from farebox.demo.saas import EMBEDDING, Feature, Model, Saas, Tenant

PER_SECOND: Final = 25.0
OPEN_MAX: Final = 64
"""Calls under way at once; arrivals beyond it are dropped, as a busy user's are."""
CALL_TIMEOUT_S: Final = 30.0
FAILING: Final = 0.012
LENGTHS: Final = 500
CHUNKS_MAX: Final = 16
_PATHS: Final = {
    "openai": "/proxy/openai/v1/chat/completions",
    "anthropic": "/proxy/anthropic/v1/messages",
    "gemini": "/proxy/gemini/v1beta/models/{model}:streamGenerateContent?alt=sse",
    "groq": "/proxy/groq/openai/v1/chat/completions",
}


class Asked(msgspec.Struct, frozen=True):
    """One call to make."""

    path: str
    headers: dict[str, str]
    body: dict[str, object]


class Traffic:
    """Runs in a thread of its own between `start()` and `stop()`."""

    def __init__(self, world: Saas, url: str, key: str, *, per_second: float = PER_SECOND, seed: int = 7) -> None:
        self.answered = 0
        self.failed = 0
        self._url = url
        self._key = key
        self._per_second = per_second
        self._pick = random.Random(seed)
        self._world = world
        self._lengths = {kind: trace.lengths(kind, LENGTHS, self._pick) for kind in ("conv", "code")}
        self._weights = [tenant.weight for tenant in world.tenants]
        self._stopping = threading.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new calls; those under way are ended. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    async def _main(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=CALL_TIMEOUT_S, trust_env=False) as client:
            for gap in trace.gaps(self._per_second, self._pick):
                await asyncio.sleep(gap)
                if self._stopping.is_set():
                    break
                if len(self._open) < OPEN_MAX:
                    task = asyncio.create_task(self._call(client, self.next_call()))
                    self._open.add(task)
                    task.add_done_callback(self._open.discard)
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _call(self, client: httpx.AsyncClient, asked: Asked) -> None:
        try:
            async with client.stream("POST", asked.path, json=asked.body, headers=asked.headers) as answer:
                async for _ in answer.aiter_raw():
                    pass
            self.answered += 1
        except httpx.HTTPError:
            self.failed += 1

    def next_call(self) -> Asked:
        """Whoever calls next, and for what."""
        pick = self._pick
        tenant = pick.choices(self._world.tenants, self._weights)[0]
        feature = pick.choices(self._world.features, [feature.weight for feature in self._world.features])[0]
        model = saas.pick_model(tenant.tier, feature, pick)
        read, written = saas.sized(feature, *pick.choice(self._lengths[feature.kind]))
        usage = saas.split(model, read, written, pick)
        headers = self._attribution(tenant, feature) | {"authorization": f"Bearer {self._key}"}
        is_routed = saas.is_routed(model, feature)
        prompt = _prompt(usage, pick, fails=model.name if is_routed else "")
        if is_routed:
            body = {"model": saas.ROUTE, "messages": [{"role": "user", "content": prompt}], "stream": True}
            return Asked("/v1/chat/completions", headers, body)
        return _asked(model, prompt, headers, streaming=feature.name == "chat")

    def _attribution(self, tenant: Tenant, feature: Feature) -> dict[str, str]:
        pick = self._pick
        user = saas.pick_user(tenant, pick)
        headers = {
            "x-tenant-id": tenant.name,
            "x-user-id": user,
            "x-tier": tenant.tier.name,
            "x-feature": feature.name,
            "x-session-id": f"{user}-live",
            "x-metering-tags": json.dumps({"region": tenant.region}),
        }
        return headers | ({"x-task-id": f"job-{pick.randrange(1 << 30)}"} if feature.has_task else {})


def _prompt(usage: dict[str, int], pick: random.Random, fails: str) -> str:
    """A prompt that orders its own answer from the simulated provider. `fails`: the model that may fail, '' for any."""
    order: dict[str, object] = {
        "input": usage.get("input", 0),
        "cached": usage.get("cache_read", 0),
        "output": usage.get("output", 0),
        "reasoning": usage.get("reasoning", 0),
        "chunks": min(CHUNKS_MAX, max(1, usage.get("output", 0) // 8)),
        "delay_ms": pick.randrange(20, 250),
        "chunk_ms": pick.randrange(5, 40),
    }
    if pick.random() < FAILING:
        order |= {"status": pick.choice((429, 500)), "fails": fails}
    return f"Simulated. [[sim:{json.dumps(order)}]]"


def _asked(model: Model, prompt: str, headers: dict[str, str], *, streaming: bool) -> Asked:
    if model is EMBEDDING:
        body: dict[str, object] = {"model": model.name, "input": prompt, "dimensions": 256}
        return Asked("/proxy/openai/v1/embeddings", headers, body)
    path = _PATHS[model.provider].format(model=model.name)
    if model.provider == "gemini":
        return Asked(path, headers, {"contents": [{"role": "user", "parts": [{"text": prompt}]}]})
    body = {"model": model.name, "messages": [{"role": "user", "content": prompt}], "stream": streaming}
    if model.provider == "anthropic":
        return Asked(path, headers | {"anthropic-version": "2023-06-01"}, body | {"max_tokens": 4096})
    return Asked(path, headers, body)
