"""A provider that streams: `python -m bench.upstream` answers every request with server-sent events, chunk by chunk.

The request's query says how: `chunks` of text (100 unless said), `gap_ms` between them (0 = as fast as the
connection takes them, each in a write of its own). With --certificate and --key it speaks TLS.
"""

import argparse
import asyncio
import ssl
from functools import cache
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from bench.payloads import stream_events

READY = "upstream on "
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@cache
def frames(chunks: int) -> tuple[bytes, ...]:
    """One streamed answer as the writes that make it: head with first chunk, chunks, last chunk with the end."""
    events = [b"%x\r\n%b\r\n" % (len(event), event) for event in stream_events(chunks)]
    return (_HEAD + events[0], *events[1:-1], events[-1] + b"0\r\n\r\n")


class Stream(asyncio.Protocol):
    """One connection; requests on it are answered one after another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._frames: tuple[bytes, ...] = ()
        self._next = 0
        self._gap_s = 0.0
        self._writable = True
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        query = parse_qs(urlsplit(self._url).query)
        self._url = b""
        self._gap_s = int(query.get(b"gap_ms", [b"0"])[0]) / 1000
        self._frames = frames(int(query.get(b"chunks", [b"100"])[0]))
        self._next = 0
        self._send()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._timer is None and self._next < len(self._frames):
            self._send()

    def _send(self) -> None:
        self._timer = None
        self._transport.write(self._frames[self._next])
        self._next += 1
        if self._next == len(self._frames) or not self._writable:
            return
        if self._gap_s:
            self._timer = self._loop.call_later(self._gap_s, self._send)
        else:
            self._timer = self._loop.call_soon(self._send)


async def serve(port: int, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(loop), "127.0.0.1", port, ssl=context, backlog=8192)
    print(f"{READY}{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    uvloop.run(serve(options.port, context))


if __name__ == "__main__":
    main()
