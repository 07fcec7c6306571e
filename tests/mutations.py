"""Valid answers made invalid, as little or as much as chance has it."""

import copy
from random import Random
from typing import Any

from wire_seeds import deep

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, -7, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30), 0.5, -0.1, 1e300,
    1e-300, float("nan"), float("inf"), float("-inf"), "", "\ud800", "a\x00b", "NaN", "12", "-3", "1e9", "[DONE]",
    "\u2028", "x" * 300, [], {}, [[]], [{}], {"a": {"b": {}}}, [None, 1, "x"], [{"type": None}], {"": ""},
)  # fmt: skip
"""Values that stand in no schema, or in another place."""
WORDS = (
    "usage", "error", "type", "id", "model", "status", "response", "message", "delta", "content", "choices", "steps",
    "results", "usageMetadata", "metadata", "total_tokens", "prompt_tokens", "input_tokens", "output_tokens", "seconds",
)  # fmt: skip
RAW: tuple[bytes, ...] = (
    b"[DONE]", b"", b" ", b"null", b"{", b"}", b"[", b'"', b"{]", b'{"a":', b"[" * 900, b'{"a":' * 900, b"\xff\xfe",
    b"\xef\xbb\xbf{}", b"\x00", b'{"usage":{"prompt_tokens":1e999,"completion_tokens":-0}}', b'{"a":"\\ud800"}',
    b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}", b'{"a":"\\', b'{"\\u0075sage":{"prompt_tokens":3}}',
    b'{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}', b"data: {}\n\n", b"event: error\r\n", b"1e5", b"NaN",
    b"[{},{}", b'{"type":"' + b"y" * 70_000 + b'"}', b"\n\n\n", b"\r", b": keep-alive\n\n",
)  # fmt: skip
"""Documents that are none."""


def mutated(chance: Random, documents: list[Any], times: int) -> list[Any]:
    """These documents after some changes: of values, keys and types inside, of their order and number."""
    found = list(copy.deepcopy(documents))
    for _ in range(times):
        _change(chance, found)
    return found


def _change(chance: Random, found: list[Any]) -> None:
    act = chance.randrange(12)
    place = chance.randrange(len(found)) if found else 0
    if not found or act == 0:
        found.insert(place, chance.choice(RAW))
    elif act == 1:
        found.insert(place, copy.deepcopy(chance.choice(found)))
    elif act == 2:
        found.append(found.pop(place))
    elif act == 3:
        found[place] = _odd(chance)
    else:
        _change_inside(chance, found, act)


def _change_inside(chance: Random, found: list[Any], act: int) -> None:
    """Go to a place somewhere inside, and change what stands there."""
    holder: Any = found
    key: Any = chance.randrange(len(found))
    while isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.85:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    if isinstance(holder, tuple):
        return
    value = holder[key]
    if act == 4:
        del holder[key]
    elif act == 5 and isinstance(holder, dict):
        holder[chance.choice(WORDS)] = holder.pop(key)
    elif act == 6:
        holder[key] = [value] if chance.random() < 0.5 else {chance.choice(WORDS): value}
    elif act == 7:
        holder[key] = deep(chance.choice((1, 30, 900, 5000)), chance.random() < 0.5)
    elif act == 8 and isinstance(value, (int, float)):
        holder[key] = chance.choice((-value, value * 10**12, str(value), float(value), value + 0.5, [value]))
    elif act == 9 and isinstance(holder, dict):
        holder[chance.choice(WORDS)] = copy.deepcopy(chance.choice(found))
    else:
        holder[key] = _odd(chance)


def _odd(chance: Random) -> Any:
    return copy.deepcopy(chance.choice(ODD))


def damaged(chance: Random, body: bytes) -> bytes:
    """The bytes after damage in transit: cut, flipped, dropped, doubled, with lengths that lie."""
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(body) + 1)
        size = chance.randrange(1, 20)
        act = chance.randrange(6)
        if act == 0:
            body = body[:place]
        elif act == 1:
            body = body[:place] + body[place + size :]
        elif act == 2:
            body = body[:place] + body[place : place + size] * 3 + body[place + size :]
        elif act == 3:
            body = body[:place] + chance.randbytes(size) + body[place + size :]
        elif act == 4:
            body = body[:place] + chance.choice(RAW) + body[place:]
        else:
            flipped = bytes(byte ^ (1 << chance.randrange(8)) for byte in body[place : place + 1])
            body = body[:place] + flipped + body[place + 1 :]
    return body


def pieces(chance: Random, body: bytes) -> list[bytes]:
    """The same bytes in pieces of any size, empty ones among them."""
    places = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(6)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
