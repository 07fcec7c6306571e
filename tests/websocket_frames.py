"""WebSocket frames as peers write them, for tests."""

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(payload: bytes, opcode: int = TEXT, *, mask: bytes = b"", last: bool = True) -> bytes:
    """One frame; masked where a key of four bytes is given."""
    size = len(payload)
    masked = 0x80 if mask else 0
    if size < 126:
        length = bytes([masked | size])
    elif size < 1 << 16:
        length = bytes([masked | 126]) + size.to_bytes(2)
    else:
        length = bytes([masked | 127]) + size.to_bytes(8)
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if mask else payload
    return bytes([(0x80 if last else 0) | opcode]) + length + mask + body


def fragmented(
    payload: bytes, sizes: list[int], opcode: int = TEXT, *, mask: bytes = b"", between: bytes = b""
) -> bytes:
    """One message in several frames, `between` after each but the last."""
    pieces, position = [], 0
    for size in sizes:
        pieces.append(payload[position : position + size])
        position += size
    pieces.append(payload[position:])
    final = len(pieces) - 1
    return b"".join(
        frame(piece, CONTINUATION if i else opcode, mask=mask, last=i == final) + (between if i < final else b"")
        for i, piece in enumerate(pieces)
    )
