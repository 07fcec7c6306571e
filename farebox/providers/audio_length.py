"""How long a piece of audio is, by its own headers: for transcriptions whose answer does not say.

Sources: RFC 2361 and Microsoft's RIFF specification (WAV), RFC 9639 (FLAC), ISO 11172-3 with the Xing, Info and VBRI
headers (MP3), RFC 3533, 7845 (Ogg, Opus), ISO 14496-12 (M4A, MP4), RFC 9559 (Matroska, WebM).
"""

import re
import struct
from typing import Final

LENGTH_MS_MAX: Final = 48 * 3_600_000
"""What claims to be longer than two days is damaged."""
_MP3_RATES: Final = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1, layer III, kbit/s
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
)
_MP3_SAMPLING: Final = (44100, 48000, 32000)
_OGG_TAIL: Final = 1 << 17
_WEBM_HEAD: Final = 1 << 16
_BOXES_MAX: Final = 1000
_DURATION: Final = re.compile(rb"\x44\x89([\x84\x88])", re.DOTALL)
_SCALE: Final = re.compile(rb"\x2a\xd7\xb1([\x81-\x84])", re.DOTALL)


def duration_ms(data: bytes, *, whole: bool = True) -> int | None:
    """Milliseconds of the audio that begins like this; None where its headers, as far as they are here, do not tell.
    `whole`: nothing follows. Never raises."""
    try:
        found = _measured(data, whole)
    except (IndexError, ValueError, ZeroDivisionError, OverflowError, KeyError, struct.error):
        return None
    return found if found is not None and 0 < found <= LENGTH_MS_MAX else None


def _measured(data: bytes, whole: bool) -> int | None:
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _wav(data, whole)
    if data[:4] == b"fLaC":
        return _flac(data)
    if data[:4] == b"OggS":
        return _ogg(data) if whole else None
    if data[4:8] == b"ftyp":
        return _mp4(data)
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return _webm(data)
    return _mp3(data, whole)


def _wav(data: bytes, whole: bool) -> int | None:
    at, rate = 12, 0
    for _ in range(_BOXES_MAX):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(data[at + 16 : at + 20], "little")
        if name == b"data":
            left = len(data) - at - 8
            # Who streams a WAV does not know its size and says 0 or the largest number.
            if size in (0, 0xFFFFFFFF) or (whole and size > left):
                size = left if whole else 0
            return size * 1000 // rate
        if len(name) < 4:
            return None
        at += 8 + size + size % 2
    return None


def _flac(data: bytes) -> int | None:
    if data[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(data[18:26], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples * 1000 // rate


def _ogg(data: bytes) -> int | None:
    """By the position that the last page ends at."""
    last = data.rfind(b"OggS", max(0, len(data) - _OGG_TAIL))
    end = int.from_bytes(data[last + 6 : last + 14], "little")
    head = data[:512]
    if (opus := head.find(b"OpusHead")) >= 0:
        return (end - int.from_bytes(head[opus + 10 : opus + 12], "little")) // 48
    vorbis = head.find(b"\x01vorbis")
    if vorbis < 0:
        return None
    return end * 1000 // int.from_bytes(head[vorbis + 12 : vorbis + 16], "little")


def _mp4(data: bytes) -> int | None:
    """By the movie header, which may stand behind the sound."""
    found = _box(data, 0, len(data), b"moov")
    header = _box(data, *found, b"mvhd") if found else None
    if header is None:
        return None
    start = header[0]
    wide = data[start] == 1
    scale_at = start + (20 if wide else 12)
    length_bytes = 8 if wide else 4
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    length = int.from_bytes(data[scale_at + 4 : scale_at + 4 + length_bytes], "big")
    return length * 1000 // scale


def _box(data: bytes, at: int, stop: int, wanted: bytes) -> tuple[int, int] | None:
    for _ in range(_BOXES_MAX):
        size, name, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if name == wanted:
            return at + head, at + size if size else stop
        if size < head or at + size >= stop:
            return None
        at += size
    return None


def _webm(data: bytes) -> int | None:
    """By the segment's information; a recorder that streams leaves the duration out."""
    head = data[:_WEBM_HEAD]
    duration, scale = _DURATION.search(head), _SCALE.search(head)
    if duration is None:
        return None
    size = duration[1][0] & 0x0F
    value = _float(head[duration.end() : duration.end() + size])
    per_tick_ns = 1_000_000
    if scale is not None:
        per_tick_ns = int.from_bytes(head[scale.end() : scale.end() + (scale[1][0] & 0x0F)], "big")
    return int(value * per_tick_ns / 1_000_000)


def _float(data: bytes) -> float:
    found: float = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
    return found


def _mp3(data: bytes, whole: bool) -> int | None:
    at = 0
    if data[:3] == b"ID3":
        size = data[6:10]
        at = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    word = int.from_bytes(data[at : at + 4], "big")
    if word >> 21 != 0x7FF or (word >> 17) & 3 != 1:  # in step, layer III
        return None
    version = (word >> 19) & 3
    is_first = version == 3
    sampling = _MP3_SAMPLING[(word >> 10) & 3] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 1152 if is_first else 576
    frames = _mp3_frames(data[at : at + 256], is_mono=(word >> 6) & 3 == 3, is_first=is_first)
    if frames:
        return frames * samples * 1000 // sampling
    if not whole:
        return None
    kilobits = _MP3_RATES[0 if is_first else 1][((word >> 12) & 15) - 1]
    return (len(data) - at) * 8 // kilobits


def _mp3_frames(frame: bytes, *, is_mono: bool, is_first: bool) -> int:
    """Frames as the first one counts them; 0 where it does not."""
    at = 4 + ((17 if is_mono else 32) if is_first else (9 if is_mono else 17))
    if frame[at : at + 4] in (b"Xing", b"Info") and frame[at + 7] & 1:
        return int.from_bytes(frame[at + 8 : at + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return 0
