"""A worker with a route, and an upstream of its own for each provider."""

from collections.abc import Callable
from pathlib import Path

from running_worker import ANSWER, Answer, Peer, Running, Upstream, response
from scripted import DONE, USAGE_CHUNK, chunked, delta, sse_head

SMART = b'{"model":"smart","messages":[{"role":"user","content":"hi"}]}'
SMART_STREAM = b'{"model":"smart","stream":true,"messages":[{"role":"user","content":"hi"}]}'
TARGETS = ["openai/gpt-4.1-mini", "groq/llama-3.3-70b-versatile"]
GROQ_ANSWER = ANSWER.replace(b"gpt-4.1-mini-2025-04-14", b"llama-3.3-70b-versatile").replace(b"hello", b"other")
STREAMED = sse_head() + chunked(delta("he"), delta("llo"), USAGE_CHUNK, DONE)
Script = Callable[[Peer], None]


class Scene:
    """A worker with a route, and an upstream of its own for each provider."""

    def __init__(self, data: Path, scripts: dict[str, Script | str], **route: object) -> None:
        self.upstreams = {name: Upstream(script) for name, script in scripts.items() if not isinstance(script, str)}
        urls = {name: found.url for name, found in self.upstreams.items()}
        urls |= {name: url for name, url in scripts.items() if isinstance(url, str)}
        self.worker = Running(
            data,
            next(iter(urls.values())),
            **{f"providers__{name}": {"base_url": url, "credential": f"sk-{name}"} for name, url in urls.items()},
            routes__smart={"targets": TARGETS, **route},
        )

    def post(self, *headers: str, body: bytes = SMART, path: str = "/v1/chat/completions") -> Answer:
        return self.worker.post(body, *headers, path=path)

    def asked(self, provider: str) -> list[bytes]:
        return self.upstreams[provider].requests


def error(status: bytes, *headers: bytes, code: bytes = b"server_error") -> bytes:
    return response(b'{"error":{"message":"no","type":"%b","code":"%b"}}' % (code, code), *headers, status=status)
