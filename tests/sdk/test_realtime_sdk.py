"""OpenAI's SDK in a realtime session, unchanged but for base URL and key, against a small service with websockets."""

import asyncio
import json
from collections.abc import Iterator
from threading import Thread
from typing import Any

import openai
import pytest
from running_worker import Running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

MODEL = "gpt-realtime"
USAGE = {
    "total_tokens": 25,
    "input_tokens": 20,
    "output_tokens": 5,
    "input_token_details": {"text_tokens": 20, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 5, "audio_tokens": 0},
}


class Service:
    """Answers each `response.create` with a short text; `opened` keeps the handshakes."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, dict[str, str]]] = []

    def __call__(self, connection: ServerConnection) -> None:
        self._send(connection, "session.created", session={"type": "realtime", "model": MODEL})
        for message in connection:
            asked = json.loads(message)
            if asked["type"] == "session.update":
                self._send(connection, "session.updated", session=asked["session"])
            elif asked["type"] == "response.create":
                response = {"id": "resp_1", "object": "realtime.response", "output": []}
                self._send(connection, "response.created", response={**response, "status": "in_progress"})
                self._send(connection, "response.output_text.delta", response_id="resp_1", delta="hé" * 100_000)
                self._send(connection, "response.done", response={**response, "status": "completed", "usage": USAGE})

    def check(self, connection: ServerConnection, request: Any) -> Any:
        self.opened.append((request.path, {name.lower(): value for name, value in request.headers.raw_items()}))
        if "model=none" in request.path:
            answer = connection.respond(404, '{"error":{"message":"no such model","code":"model_not_found"}}')
            answer.headers["x-request-id"] = "req_1"
            return answer
        return None

    @staticmethod
    def _send(connection: ServerConnection, kind: str, **members: Any) -> None:
        connection.send(json.dumps({"type": kind, "event_id": "event_1", **members}))


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Running]:
    with serve(
        service,
        "127.0.0.1",
        0,
        process_request=service.check,
        select_subprotocol=lambda _, offered: next(iter(offered), None),
    ) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        running = Running(tmp_path_factory.mktemp("realtime"), url)
        yield running
        running.stop()


@pytest.fixture
def options(worker: Running, service: Service) -> dict[str, Any]:
    service.opened.clear()
    return {"base_url": f"http://127.0.0.1:{worker.port}/proxy/openai/v1", "api_key": worker.key, "max_retries": 0}


def expect_one_event(worker: Running, before: int, service: Service, responses: int) -> None:
    head, tail = worker.finished(before + 1)[-1]
    assert (head.operation, head.model_requested, head.tenant, head.streaming) == ("realtime", MODEL, "acme", True)
    assert (tail.state, tail.status) == ("done", 101)
    assert (tail.usage, tail.cost_source) == ({"input": 20 * responses, "output": 5 * responses}, "computed")
    [(path, headers)] = service.opened
    assert path == f"/v1/realtime?model={MODEL}"
    assert headers["authorization"] == "Bearer sk-stored" and worker.key not in repr(headers)
    assert "sec-websocket-extensions" not in headers


def ended(worker: Running) -> int:
    return sum(1 for kind, *_ in worker.records() if kind == 2)


def test_a_session(options: dict[str, Any], worker: Running, service: Service) -> None:
    before = ended(worker)
    texts = []
    with (
        openai.OpenAI(**options) as client,
        client.realtime.connect(model=MODEL, extra_headers={"x-tenant-id": "acme"}) as connection,
    ):
        connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        for _ in range(3):
            connection.response.create()
            for event in connection:
                if event.type == "response.output_text.delta":
                    texts.append(event.delta)
                if event.type == "response.done":
                    assert event.response.usage is not None and event.response.usage.total_tokens == 25
                    break
    assert texts == ["hé" * 100_000] * 3
    expect_one_event(worker, before, service, responses=3)


def test_an_async_session(options: dict[str, Any], worker: Running, service: Service) -> None:
    before = ended(worker)

    async def main() -> list[str]:
        kinds = []
        async with (
            openai.AsyncOpenAI(**options) as client,
            client.realtime.connect(model=MODEL, extra_headers={"x-tenant-id": "acme"}) as connection,
        ):
            await connection.response.create()
            async for event in connection:
                kinds.append(event.type)
                if event.type == "response.done":
                    return kinds
        return kinds

    assert asyncio.run(main()) == ["session.created", "response.created", "response.output_text.delta", "response.done"]
    expect_one_event(worker, before, service, responses=1)


def test_a_session_as_a_browser_opens_it(worker: Running, service: Service) -> None:
    service.opened.clear()
    before = ended(worker)
    bound = worker.new_key(bind={"tenant": "acme"})
    url = f"ws://127.0.0.1:{worker.port}/proxy/openai/v1/realtime?model={MODEL}"
    offers: list[Any] = ["realtime", f"openai-insecure-api-key.{bound}"]
    with connect(url, subprotocols=offers, origin="https://app.example") as connection:  # type: ignore[arg-type]
        assert connection.subprotocol == "realtime"
        connection.send('{"type":"response.create"}')
        while json.loads(connection.recv())["type"] != "response.done":
            pass
        connection.ping().wait(5)
    expect_one_event(worker, before, service, responses=1)
    assert service.opened[0][1]["sec-websocket-protocol"] == "realtime"


def test_a_refused_session(options: dict[str, Any], worker: Running) -> None:
    before = ended(worker)
    with openai.OpenAI(**options) as client:
        with pytest.raises(InvalidStatus) as caught, client.realtime.connect(model="none"):
            pass
        with (
            pytest.raises(InvalidStatus) as unknown,
            client.with_options(api_key="fbx_no").realtime.connect(model=MODEL),
        ):
            pass
    assert caught.value.response.status_code == 404
    assert b"model_not_found" in caught.value.response.body
    assert caught.value.response.headers["x-request-id"] == "req_1"
    assert unknown.value.response.status_code == 401
    _, tail = worker.finished(before + 1)[-1]
    assert (tail.state, tail.status, tail.cost) == ("upstream_error", 404, 0)
