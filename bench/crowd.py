"""Thousands of slow streams at once: `python -m bench.crowd` opens them all, reads them to the end and counts.

It prints `open N` when all have their first byte, and a line of JSON once every stream has ended.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

import uvloop

END = b"0\r\n\r\n"
OPENING_AT_ONCE = 100


class Crowd:
    """What became of the streams."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.begun = 0
        self.whole = 0
        self.broken = 0
        self.bytes = 0
        self.first_answer_bad = b""

    def has_begun(self) -> None:
        self.begun += 1
        if self.begun == self.wanted:
            print(f"open {self.begun}", flush=True)


async def read_stream(crowd: Crowd, port: int, request: bytes, opening: asyncio.Semaphore) -> None:
    """One stream from connect to its last chunk."""
    try:
        async with opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16384)
            writer.write(request)
            data = await reader.read(16384)
        crowd.has_begun()
        await _read_rest(crowd, reader, data)
        writer.close()
    except OSError:
        crowd.broken += 1


async def _read_rest(crowd: Crowd, reader: asyncio.StreamReader, data: bytes) -> None:
    if not data.startswith(b"HTTP/1.1 200"):
        crowd.broken += 1
        crowd.first_answer_bad = crowd.first_answer_bad or data[:300]
        return
    end = data
    while data and not end.endswith(END):
        crowd.bytes += len(data)
        data = await reader.read(16384)
        end = (end + data)[-16:]
    crowd.whole += b"[DONE]" in end or end.endswith(END)
    crowd.broken += not data


async def run(port: int, streams: int, request: bytes) -> Crowd:
    crowd = Crowd(streams)
    opening = asyncio.Semaphore(OPENING_AT_ONCE)
    await asyncio.gather(*(read_stream(crowd, port, request, opening) for _ in range(streams)))
    return crowd


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--request", type=Path, required=True, help="file with the HTTP request of every stream")
    options = parser.parse_args()
    crowd = uvloop.run(run(options.port, options.streams, options.request.read_bytes()))
    print(json.dumps({"whole": crowd.whole, "broken": crowd.broken, "bytes": crowd.bytes}))
    if crowd.first_answer_bad:
        print(crowd.first_answer_bad.decode(errors="replace"), file=sys.stderr)


if __name__ == "__main__":
    main()
