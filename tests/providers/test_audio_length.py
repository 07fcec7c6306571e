"""How long an upload is, by its own headers: exactly, or not at all."""

import io
import random
import struct
import time
import wave

import pytest

from farebox.providers import by_name
from farebox.providers.audio_length import duration_ms
from farebox.providers.protocol import Metered


def wav(seconds: float = 2.5, rate: int = 16000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * int(seconds * rate))
    return out.getvalue()


def flac(samples: int = 110_250, rate: int = 44100) -> bytes:
    packed = rate << 44 | 1 << 41 | 15 << 36 | samples
    return b"fLaC\x80\0\0\x22" + struct.pack(">HH", 4096, 4096) + b"\0" * 6 + packed.to_bytes(8, "big") + b"\0" * 16


def mp3(frames: int = 0, size: int = 40_000, tag: bytes = b"Info") -> bytes:
    """MPEG 1 layer III, 128 kbit/s, 44.1 kHz, stereo; `frames` as a header counts them."""
    frame = bytearray(b"\xff\xfb\x90\x00" + b"\0" * 413)
    if tag == b"VBRI" and frames:
        frame[36:40], frame[50:54] = b"VBRI", struct.pack(">I", frames)
    elif frames:
        frame[36:48] = tag + struct.pack(">II", 1, frames)
    return b"ID3\x04\0\0" + b"\0\0\x02\x00" + b"\0" * 256 + bytes(frame) + b"\0" * (size - len(frame))


def ogg(granule: int, head: bytes) -> bytes:
    def page(position: int, body: bytes) -> bytes:
        return b"OggS\0\0" + struct.pack("<q", position) + b"\0" * 12 + bytes([1, len(body)]) + body

    return page(0, head) + page(granule // 2, b"x" * 200) + page(granule, b"x" * 200)


OPUS = b"OpusHead\x01\x01" + struct.pack("<HIH", 312, 48000, 0) + b"\0"
VORBIS = b"\x01vorbis" + struct.pack("<IBI", 0, 2, 44100) + b"\0" * 14


def mp4(*, tail: bool = False, wide: bool = False) -> bytes:
    numbers = struct.pack(">QQIQ", 0, 0, 1000, 2500) if wide else struct.pack(">IIII", 0, 0, 1000, 2500)
    header = bytes([int(wide), 0, 0, 0]) + numbers + b"\0" * 80
    mvhd = struct.pack(">I4s", len(header) + 8, b"mvhd") + header
    moov = struct.pack(">I4s", len(mvhd) + 8, b"moov") + mvhd
    sound = struct.pack(">I4s", 5008, b"mdat") + b"\0" * 5000
    kind = struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0"
    return kind + (sound + moov if tail else moov + sound)


def webm(duration: bytes = b"\x44\x89\x88" + struct.pack(">d", 2500.0)) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01" + b"\x2a\xd7\xb1\x83" + (1_000_000).to_bytes(3, "big") + duration


KNOWN: dict[str, tuple[bytes, int]] = {
    "wav": (wav(), 2500),
    "wav whose size nobody knew": (wav()[:40] + b"\xff\xff\xff\xff" + wav()[44:], 2500),
    "flac": (flac(), 2500),
    "mp3 with an Info header": (mp3(96), 96 * 1152 * 1000 // 44100),
    "mp3 with a Xing header": (mp3(96, tag=b"Xing"), 96 * 1152 * 1000 // 44100),
    "mp3 with a VBRI header": (mp3(96, tag=b"VBRI"), 96 * 1152 * 1000 // 44100),
    "mp3 of one bit rate": (mp3(), 2500),
    "opus": (ogg(312 + 48 * 2500, OPUS), 2500),
    "vorbis": (ogg(110_250, VORBIS), 2500),
    "m4a": (mp4(), 2500),
    "m4a with its header behind": (mp4(tail=True), 2500),
    "m4a with large numbers": (mp4(wide=True), 2500),
    "webm": (webm(), 2500),
    "webm with a short float": (webm(b"\x44\x89\x84" + struct.pack(">f", 2500.0)), 2500),
}
UNKNOWN: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello there, this is no audio",
    "webm of a stream": webm(b""),
    "flac that does not say": flac(samples=0),
    "wav without a rate": wav()[:28] + b"\0\0\0\0" + wav()[32:],
    "a year of m4a": mp4().replace(struct.pack(">II", 1000, 2500), struct.pack(">II", 1, 31_536_000)),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_file_tells_how_long_it_is(kind: str) -> None:
    data, wanted = KNOWN[kind]
    assert duration_ms(data) == wanted


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3 with an Info header", "m4a", "webm"])
def test_the_beginning_of_a_long_file_is_enough_where_its_header_stands_there(kind: str) -> None:
    data, wanted = KNOWN[kind]
    assert duration_ms(data[:500], whole=False) == wanted


@pytest.mark.parametrize("kind", ["mp3 of one bit rate", "opus", "vorbis", "m4a with its header behind"])
def test_what_only_the_whole_file_tells_is_not_guessed_from_a_part(kind: str) -> None:
    assert duration_ms(KNOWN[kind][0][:4000], whole=False) is None


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_does_not_tell_is_not_guessed(kind: str) -> None:
    assert duration_ms(UNKNOWN[kind]) is None


def test_no_bytes_make_it_raise_or_hang() -> None:
    rng = random.Random(5)
    started = time.monotonic()
    for data, _ in KNOWN.values():
        for _ in range(200):
            broken = bytearray(data[: rng.randrange(len(data) + 1)][:6000])
            for _ in range(rng.randrange(4)):
                if broken:
                    broken[rng.randrange(len(broken))] = rng.randrange(256)
            found = duration_ms(bytes(broken), whole=rng.random() < 0.5)
            assert found is None or found > 0
    assert time.monotonic() - started < 20


def form(audio: bytes, **fields: str) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return b"".join(parts) + head + audio + b"\r\n--b--\r\n"


def heard(audio: bytes, model: str, answer: bytes, kind: str, **fields: str) -> Metered:
    provider = by_name("openai")
    assert provider is not None
    endpoint = provider.endpoint("POST", "/v1/audio/transcriptions")
    intent = provider.intent(endpoint, form(audio, model=model, **fields))
    reader = provider.reader(endpoint, intent, 200, {"content-type": kind})
    half = len(answer) // 2
    assert reader.feed(answer[:half]) + reader.feed(answer[half:]) + reader.end() == answer
    return reader.metered()


@pytest.mark.parametrize("form_of_answer", ["text", "srt", "vtt"])
def test_a_transcription_that_says_nothing_is_measured_from_the_upload(form_of_answer: str) -> None:
    subtitles = b"1\n00:00:00,000 --> 00:00:02,000\nHello there\n"
    metered = heard(wav(), "whisper-1", subtitles, "text/plain; charset=utf-8", response_format=form_of_answer)
    assert (metered.usage, metered.quality) == ({"seconds": 3000}, "estimated")
    assert metered.marks == ("audio_measured",) and metered.complete


def test_a_model_that_bills_tokens_is_measured_in_tokens() -> None:
    metered = heard(wav(3.7), "gpt-4o-transcribe", b"Ruby is a programming language", "text/plain")
    assert (metered.usage, metered.quality) == ({"audio_input": 37, "output": 8}, "estimated")


def test_an_upload_that_cannot_be_measured_is_missing_and_marked() -> None:
    metered = heard(b"no audio", "whisper-1", b"Hello", "text/plain")
    assert (metered.usage, metered.quality, metered.marks) == ({}, "missing", ("audio_unmeasured",))


ANSWERS = {
    "json": (b'{"text":"hi","usage":{"type":"duration","seconds":4}}', {"seconds": 4000}),
    "tokens": (
        b'{"text":"hi","usage":{"type":"tokens","input_tokens":37,"output_tokens":12,"total_tokens":49,'
        b'"input_token_details":{"text_tokens":0,"audio_tokens":37}}}',
        {"audio_input": 37, "output": 12},
    ),
    "verbose": (b'{"task":"transcribe","duration":3.7,"text":"hi","segments":[]}', {"seconds": 3700}),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_the_answer_says_goes_before_what_was_measured(kind: str) -> None:
    answer, usage = ANSWERS[kind]
    metered = heard(wav(60), "whisper-1", answer, "application/json")
    assert (metered.usage, metered.quality) == (usage, "exact")


def test_json_that_says_nothing_is_measured_too() -> None:
    metered = heard(wav(), "whisper-1", b'{"text":"hi"}', "application/json")
    assert (metered.usage, metered.quality) == ({"seconds": 3000}, "estimated")


def test_a_streamed_transcription_reports_at_its_end_and_is_measured_where_it_was_cut() -> None:
    delta = b'data: {"type":"transcript.text.delta","delta":"Ruby is fun "}\r\n\r\n'
    done = (
        b'data: {"type":"transcript.text.done","text":"Ruby is fun","usage":{"type":"tokens","input_tokens":25,'
        b'"input_token_details":{"text_tokens":0,"audio_tokens":25},"output_tokens":3,"total_tokens":28}}\r\n\r\n'
        b"data: [DONE]\r\n\r\n"
    )
    whole = heard(wav(), "gpt-4o-transcribe", delta + done, "text/event-stream", stream="true")
    assert (whole.usage, whole.quality, whole.complete) == ({"audio_input": 25, "output": 3}, "exact", True)
    cut = heard(wav(), "gpt-4o-transcribe", delta, "text/event-stream", stream="true")
    assert (cut.usage, cut.quality, cut.complete) == ({"audio_input": 25, "output": 3}, "estimated", False)
