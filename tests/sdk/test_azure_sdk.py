"""OpenAI's Azure client, unchanged but for endpoint and key, against a small service that speaks the wire format."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import openai
import pytest
from answers import sse
from running_worker import Running

MODEL = "gpt-4.1-mini-2025-04-14"
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
COST = 12 * 400_000 + 5 * 1_600_000
MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


def stream(with_usage: bool) -> bytes:
    def choice(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish, "content_filter_results": {}}]

    chunks: list[dict[str, Any]] = [
        {**HEAD, "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {**HEAD, "choices": choice({"role": "assistant", "content": "hi"})},
        {**HEAD, "choices": choice({}, "stop")},
    ]
    return sse(*chunks, *([{**HEAD, "choices": [], "usage": USAGE}] if with_usage else []), done=True)


class Service(BaseHTTPRequestHandler):
    """A resource with two deployments: `my-gpt`, and `busy`, which is over its rate."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, asked))
        if self.headers.get("api-key") != "held-azure-key":
            self._send(401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}})
        elif "busy" in self.path:
            self._send(429, {"error": {"code": "RateLimitReached", "message": "Please retry after 1 second."}})
        elif "api-version=" not in self.path and not self.path.startswith("/openai/v1/"):
            self._send(404, {"error": {"code": "404", "message": "Resource not found"}})
        elif asked.get("stream"):
            asks = (asked.get("stream_options") or {}).get("include_usage") is True
            self._send(200, stream(asks), "text/event-stream")
        else:
            message = {"role": "assistant", "content": "hi"}
            choices = [{"index": 0, "finish_reason": "stop", "message": message, "content_filter_results": {}}]
            self._send(200, {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE})

    def _send(self, status: int, content: object, kind: str = "application/json") -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    entry = {"base_url": url, "credential": "held-azure-key", "deployments": {"my-gpt": "gpt-4.1-mini"}}
    running = Running(tmp_path_factory.mktemp("azure"), url, providers__azure=entry)
    yield running
    running.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def options(worker: Running) -> dict[str, Any]:
    Service.seen.clear()
    return {
        "azure_endpoint": f"http://127.0.0.1:{worker.port}/proxy/azure",
        "api_key": worker.key,
        "api_version": "2024-10-21",
        "max_retries": 0,
    }


class Since:
    """The events of a worker since now."""

    def __init__(self, worker: Running) -> None:
        self._worker = worker
        self._before = sum(1 for kind, *_ in worker.records() if kind == 2)

    def one(self) -> tuple[Any, Any]:
        return self._worker.finished(self._before + 1)[-1]


def test_chat(options: dict[str, Any], worker: Running) -> None:
    since = Since(worker)
    with openai.AzureOpenAI(**options) as client:
        answer = client.chat.completions.create(model="my-gpt", messages=MESSAGES)
    assert answer.choices[0].message.content == "hi"
    head, tail = since.one()
    assert (head.provider, head.operation, head.model_requested) == ("azure", "chat", "gpt-4.1-mini")
    assert (tail.model_billed, tail.usage, tail.cost) == (MODEL, {"input": 12, "output": 5}, COST)
    path, headers, _ = Service.seen[-1]
    assert path == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "held-azure-key" and worker.key not in repr(headers)


@pytest.mark.parametrize("asks", [False, True])
def test_streamed(options: dict[str, Any], worker: Running, asks: bool) -> None:
    since = Since(worker)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    with openai.AzureOpenAI(**options) as client:
        chunks = list(client.chat.completions.create(model="my-gpt", messages=MESSAGES, stream=True, **more))
    assert chunks[0].choices == [] and chunks[0].usage is None  # the filter's results pass
    assert (chunks[-1].usage is not None) is asks
    _, tail = since.one()
    assert (tail.usage, tail.cost, tail.state) == ({"input": 12, "output": 5}, COST, "done")


def test_an_old_version_is_not_asked_for_what_it_refuses(options: dict[str, Any], worker: Running) -> None:
    since = Since(worker)
    with openai.AzureOpenAI(**{**options, "api_version": "2024-06-01"}) as client:
        assert list(client.chat.completions.create(model="my-gpt", messages=MESSAGES, stream=True))
    path, _, asked = Service.seen[-1]
    assert path.endswith("?api-version=2024-06-01") and "stream_options" not in asked
    since.one()


@pytest.mark.parametrize("streaming", [False, True])
def test_async(options: dict[str, Any], worker: Running, streaming: bool) -> None:
    since = Since(worker)

    async def main() -> None:
        async with openai.AsyncAzureOpenAI(**options) as client:
            answer = await client.chat.completions.create(model="my-gpt", messages=MESSAGES, stream=streaming)
            if streaming:
                assert [chunk async for chunk in answer]

    asyncio.run(main())
    assert since.one()[1].cost == COST


def test_the_plain_client_on_the_v1_route(options: dict[str, Any], worker: Running) -> None:
    since = Since(worker)
    with openai.OpenAI(base_url=f"{options['azure_endpoint']}/openai/v1", api_key=worker.key) as client:
        client.chat.completions.create(model="my-gpt", messages=MESSAGES)
    assert Service.seen[-1][0] == "/openai/v1/chat/completions"
    assert since.one()[1].cost == COST


def test_an_entra_token_in_place_of_a_key_is_a_farebox_key_too(options: dict[str, Any], worker: Running) -> None:
    since = Since(worker)
    more = {name: value for name, value in options.items() if name != "api_key"}
    with openai.AzureOpenAI(azure_ad_token=worker.key, **more) as client:
        client.chat.completions.create(model="my-gpt", messages=MESSAGES)
    assert "authorization" not in Service.seen[-1][1]
    assert since.one()[1].cost == COST


def test_the_resources_own_throttling_passes_through(options: dict[str, Any], worker: Running) -> None:
    since = Since(worker)
    with openai.AzureOpenAI(**options) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="busy", messages=MESSAGES)
    _, tail = since.one()
    assert (tail.status, tail.state, tail.error, tail.cost) == (429, "upstream_error", "RateLimitReached", 0)


def test_an_unknown_key_is_the_sdks_authentication_error(options: dict[str, Any]) -> None:
    unknown = options | {"api_key": "fbx_" + "0" * 43}
    with openai.AzureOpenAI(**unknown) as client, pytest.raises(openai.AuthenticationError, match="farebox keys"):
        client.chat.completions.create(model="my-gpt", messages=MESSAGES)
    assert Service.seen == []


def test_a_key_for_other_models_is_refused_by_the_model_behind_the_deployment(
    options: dict[str, Any], worker: Running
) -> None:
    other = options | {"api_key": worker.new_key(models=("gpt-5*",))}
    with openai.AzureOpenAI(**other) as client, pytest.raises(openai.PermissionDeniedError, match=r"gpt-4\.1-mini"):
        client.chat.completions.create(model="my-gpt", messages=MESSAGES)
    assert Service.seen == []
