"""What a request asks for, and the one edit made to it."""

import json
from typing import Any

import pytest
from answers import Exchange, provider
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.openai_requests import BYTES_PER_BLOB, ask_for_usage, read_form, text_bytes
from farebox.providers.protocol import Intent

CHAT = "/v1/chat/completions"


def intent_of(body: bytes, path: str = CHAT) -> Intent:
    return Exchange("openai", path, body).intent


def test_a_chat_request_says_what_it_may_cost() -> None:
    body = json.dumps(
        {"model": "gpt-5", "max_completion_tokens": 100, "n": 3, "service_tier": "flex", "messages": [{"role": "user"}]}
    ).encode()
    assert intent_of(body) == Intent(
        model="gpt-5", output_max=100, choices=3, service_tier="flex", input_bytes=len(body), wants_usage=None
    )


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        (b"", False),
        (b',"stream_options":null', False),
        (b',"stream_options":{}', False),
        (b',"stream_options":{"include_usage":false}', False),
        (b',"stream_options":{"include_usage":true}', True),
    ],
)
def test_whether_the_caller_asked_for_usage(options: bytes, wants: bool) -> None:
    assert intent_of(b'{"model":"m","stream":true' + options + b"}").wants_usage is wants


def test_the_question_does_not_arise_elsewhere() -> None:
    assert intent_of(b'{"model":"m"}').wants_usage is None
    assert intent_of(b'{"model":"m","stream":true}', "/v1/responses").wants_usage is None
    found = provider("openai")
    endpoint = found.endpoint("POST", "/v1/responses")
    assert found.with_usage(endpoint, intent_of(b'{"stream":true}', "/v1/responses"), b'{"stream":true}') is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff\xfe", b'{"model":', b"{}}", b"null", b'{"a":' + b"[" * 99999, b"--", b"--x\r\n"]
)
def test_an_unreadable_body_gives_an_empty_intent(body: bytes) -> None:
    for name, path in [
        ("openai", CHAT),
        ("openai", "/v1/images/edits"),
        ("gemini", "/v1beta/models/g:generateContent"),
    ]:
        found = Exchange(name, path, body).intent
        assert found.model in (None, "g")
        assert not found.streaming


def test_a_member_of_another_type_does_not_hide_the_model() -> None:
    found = intent_of(b'{"model":"m","max_tokens":"many","stream":"yes","n":{}}')
    assert (found.model, found.output_max, found.streaming, found.choices) == ("m", None, False, 1)


def test_embedded_files_count_for_what_a_model_makes_of_them() -> None:
    text = b'{"messages":[{"text":"' + b"some words " * 4000 + b'"},{"url":"data:image/png;base64,'
    body = text + b"QUJD" * 50_000 + b'"}]}'
    assert text_bytes(body) == len(text) + 4 + BYTES_PER_BLOB
    assert text_bytes(b"x" * 100) == 100


FORM = (
    b'--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-image-1\r\n'
    b'--b0\r\nContent-Disposition: form-data; name="image"; filename="name=model.png"\r\nContent-Type: x/y\r\n\r\n'
    b'\x89PNG\r\n\r\n"name"\r\n'
    b'--b0\r\ncontent-disposition: form-data; name="n"\r\n\r\n2\r\n'
    b"--b0\r\nContent-Disposition: form-data; name=size\r\n\r\n512x512\r\n"
    b'--b0\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--b0--\r\n'
)


def test_a_form_is_read_as_far_as_it_is_there() -> None:
    assert read_form(FORM) == {"model": "gpt-image-1", "n": "2", "size": "512x512", "stream": "true"}
    for place in range(len(FORM)):
        assert read_form(FORM[:place]).items() <= read_form(FORM).items()
    found = intent_of(FORM, "/v1/images/edits")
    assert (found.model, found.pieces, found.variant, found.streaming) == ("gpt-image-1", 2, "512x512/standard", True)
    heard = intent_of(FORM, "/v1/audio/transcriptions")
    assert (heard.model, heard.streaming) == ("gpt-image-1", True)


def test_images_may_also_be_edited_by_a_json_request() -> None:
    assert intent_of(b'{"model":"gpt-image-2","n":2}', "/v1/images/edits").model == "gpt-image-2"


ASKED = b'"stream_options":{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"stream":true}', b"{" + ASKED + b',"stream":true}'),
        (b' {\n  "stream": true\n}\n', b" {" + ASKED + b',\n  "stream": true\n}\n'),
        (b'{"stream_options":{},"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b'{"stream_options": { "x" : 1 } }', b'{"stream_options": {"include_usage":true, "x" : 1 } }'),
        (b'{"stream_options":null}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"include_usage":false}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"include_usage":null,"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (b'{"m":"\\"stream_options\\":"}', b"{" + ASKED + b',"m":"\\"stream_options\\":"}'),
        (b"{}", b"{" + ASKED + b"}"),
        (b'{"stream_options":{"include_usage":true}}', None),
        (b'{"stream_options":"x"}', None),
        (b"[1]", None),
        (b"", None),
    ],
)
def test_usage_is_asked_for_by_one_edit_in_place(body: bytes, asked: bytes | None) -> None:
    assert ask_for_usage(body) == asked


REQUESTS = st.dictionaries(
    st.text(max_size=4) | st.just("model"),
    st.none() | st.integers() | st.text(max_size=8) | st.lists(st.booleans()),
    max_size=5,
)
OPTIONS = st.none() | st.dictionaries(st.sampled_from(["include_usage", "x"]), st.none() | st.booleans(), max_size=2)


@given(REQUESTS, st.none() | OPTIONS, st.booleans(), st.sampled_from([None, 2]))
def test_the_edit_changes_nothing_else(
    request_: dict[str, Any], options: object, present: bool, indent: int | None
) -> None:
    if present:
        request_ = {**request_, "stream_options": options}
    body = json.dumps(request_, indent=indent).encode()
    edited = ask_for_usage(body)
    after = json.loads(body if edited is None else edited)
    assert after.pop("stream_options")["include_usage"] is True
    before = json.loads(body)
    before.pop("stream_options", None)
    assert after == before
