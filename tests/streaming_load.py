"""Streaming calls from many clients at once, each with a mark of its own, that go on through whatever breaks."""

import asyncio
import itertools
import random
import threading
import uuid
from types import TracebackType
from typing import Self

import httpx
from harness import Farebox, Key, directive

PAUSE_AFTER_FAILURE_S = 0.02
CALL_TIMEOUT_S = 10.0


class StreamingLoad:
    """`with StreamingLoad(server, key):` calls all three wire formats, streamed and not, until the block ends.

    `answered` holds the marks whose answer the client got to its end, `asked` all that were tried.
    """

    def __init__(self, server: Farebox, key: Key, *, clients: int = 12, seed: int = 7) -> None:
        self.asked: set[str] = set()
        self.answered: set[str] = set()
        self._server = server
        self._key = key
        self._clients = clients
        self._random = random.Random(seed)
        self._run_id = uuid.uuid4().hex[:8]
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="streaming-load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    async def _main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        async with httpx.AsyncClient(timeout=CALL_TIMEOUT_S, trust_env=False) as client:
            while not self._stopping.is_set():
                await self._call(client)

    async def _call(self, client: httpx.AsyncClient) -> None:
        mark = f"{self._run_id}-{next(self._numbers)}"
        path, body, headers = self._request(mark)
        self.asked.add(mark)
        try:
            async with client.stream("POST", self._server.url + path, json=body, headers=headers) as answer:
                async for _ in answer.aiter_raw():
                    pass
                if answer.status_code == 200:
                    self.answered.add(mark)
        except httpx.TransportError:
            await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    def _request(self, mark: str) -> tuple[str, dict[str, object], dict[str, str]]:
        pick = self._random
        text = directive(
            mark, input=pick.randrange(1, 3000), output=pick.randrange(4, 40), chunk_ms=pick.choice((0, 1, 4, 9)),
            delay_ms=pick.choice((0, 0, 15)),
        )  # fmt: skip
        headers = {
            "authorization": f"Bearer {self._key.secret}",
            "anthropic-version": "2023-06-01",
            "x-task-id": mark,
            "x-tenant-id": f"tenant-{pick.randrange(5)}",
        }
        streaming = pick.random() < 0.8
        messages = [{"role": "user", "content": text}]
        kind = pick.randrange(3)
        if kind == 0:
            return "/proxy/openai/v1/chat/completions", {
                "model": "gpt-4.1-mini", "stream": streaming, "messages": messages,
            }, headers  # fmt: skip
        if kind == 1:
            return "/proxy/anthropic/v1/messages", {
                "model": "claude-haiku-4-5", "max_tokens": 400, "stream": streaming, "messages": messages,
            }, headers  # fmt: skip
        verb = "streamGenerateContent?alt=sse" if streaming else "generateContent"
        contents = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        return f"/proxy/gemini/v1beta/models/gemini-2.0-flash:{verb}", contents, headers
