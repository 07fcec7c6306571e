"""What sessions over websockets used, by provider, and what each leaves out or says twice."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_frames import BINARY, CLOSE, TEXT, fragmented, frame

from farebox.core.events import Stored
from farebox.providers import PROVIDERS, by_name, installed
from farebox.providers.documents import WHOLE_BYTES_MAX
from farebox.providers.protocol import Configurable, Metered, Options, Realtime, Session

KEY = b"\x9a\x01\x7f\xe0"
GEMINI_PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX_PATH = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
Json = dict[str, Any]


def provider(name: str) -> Realtime:
    found = by_name(name)
    assert isinstance(found, Realtime)
    return found


def opened(of: Realtime, path: str = "/v1/realtime", model: str | None = None) -> Session:
    session = of.session(of.endpoint("GET", of.upstream_path(path)), model)
    assert session is not None
    return session


def exchanged(session: Session, heard: Iterable[Json], asked: Iterable[Json] = (), *, kind: int = TEXT) -> Metered:
    for message in asked:
        session.client(frame(json.dumps(message).encode(), mask=KEY))
    for message in heard:
        session.upstream(frame(json.dumps(message).encode(), kind))
    return session.metered()


def openai(*heard: Json, asked: Iterable[Json] = (), model: str | None = None) -> Metered:
    return exchanged(opened(provider("openai"), model=model), heard, asked)


def done(usage: Json | None, status: str = "completed") -> Json:
    return {"type": "response.done", "response": {"id": "r", "status": status, "usage": usage}}


def voiced(usage: Json) -> Json:
    """As xAI says it: beside the response."""
    return {**done({}), "usage": usage}


CREATED = {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime-mini"}}
BEGUN = {"type": "response.created", "response": {"id": "r", "status": "in_progress", "usage": None}}
USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {
        "text_tokens": 30,
        "audio_tokens": 60,
        "image_tokens": 10,
        "cached_tokens": 45,
        "cached_tokens_details": {"text_tokens": 8, "audio_tokens": 33, "image_tokens": 4},
    },
    "output_token_details": {"text_tokens": 15, "audio_tokens": 35},
}
SPLIT = {
    "input": 22,
    "cache_read": 8,
    "audio_input": 27,
    "audio_cache_read": 33,
    "image_input": 6,
    "image_cache_read": 4,
    "output": 15,
    "audio_output": 35,
}


def twice(usage: dict[str, int]) -> dict[str, int]:
    return {meter: 2 * count for meter, count in usage.items()}


# Routes


@pytest.mark.parametrize(
    ("name", "path", "upstream"),
    [
        ("openai", "/v1/realtime", "/v1/realtime"),
        ("openai", "/realtime", "/v1/realtime"),
        ("openai", "/v1/realtime/translations", "/v1/realtime/translations"),
        ("openai", "/v1/live", "/v1/live"),
        ("openai", "/live/sessions", "/v1/live/sessions"),
        ("xai", "/v1/realtime", "/v1/realtime"),
        ("azure", "/openai/realtime", "/openai/realtime"),
        ("azure", "/openai/v1/realtime", "/openai/v1/realtime"),
        ("azure", "/openai/deployments/talk/realtime", "/openai/deployments/talk/realtime"),
        ("azure", "/voice-live/realtime", "/voice-live/realtime"),
        ("mistral", "/v1/audio/transcriptions/realtime", "/v1/audio/transcriptions/realtime"),
        ("gemini", GEMINI_PATH, GEMINI_PATH),
        ("gemini", GEMINI_PATH.replace("v1beta", "v1alpha") + "Constrained", None),
        ("gemini", GEMINI_PATH.replace("v1beta", "v1"), None),
        ("vertex", VERTEX_PATH, VERTEX_PATH),
        ("vertex", VERTEX_PATH.replace("v1beta1", "v1"), None),
    ],
)
def test_websocket_routes_are_billed_inference_under_the_path_that_was_called(
    name: str, path: str, upstream: str | None
) -> None:
    of = provider(name)
    assert of.upstream_path(path) == (upstream or path)
    endpoint = of.endpoint("GET", of.upstream_path(path))
    assert endpoint.websocket
    assert endpoint.operation == "realtime"
    assert endpoint.billed
    assert not endpoint.stored
    assert not endpoint.admin
    assert of.session(endpoint, None) is not None


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [
        ("openai", "POST", "/v1/realtime/sessions"),
        ("openai", "POST", "/v1/realtime"),
        ("openai", "GET", "/v1/realtime/calls/rtc_1"),
        ("openai", "POST", "/v1/chat/completions"),
        ("gemini", "POST", GEMINI_PATH),
        ("gemini", "GET", "/ws/google.ai.generativelanguage.v1beta.FileService.ListFiles"),
        ("gemini", "GET", "/ws/x" + GEMINI_PATH),
        ("vertex", "GET", "/ws/google.cloud.aiplatform.v1.EndpointService/List"),
        ("azure", "GET", "/voice-live/models"),
    ],
)
def test_all_else_is_no_session(name: str, method: str, path: str) -> None:
    of = provider(name)
    endpoint = of.endpoint(method, of.upstream_path(path))
    assert not endpoint.websocket
    assert of.session(endpoint, None) is None


def test_a_session_that_joins_another_names_it() -> None:
    of = provider("openai")
    attached = of.endpoint("GET", "/v1/live/sessions/live_1/attach")
    assert (attached.websocket, attached.stored, attached.object_id) == (True, True, "live_1")
    forked = of.endpoint("GET", "/v1/live/sessions/live_1/fork")
    assert (forked.websocket, forked.stored, forked.object_id) == (True, True, None)


# OpenAI


def test_modalities_and_what_the_cache_served_of_each_are_told_apart() -> None:
    found = openai(CREATED, BEGUN, done(USAGE))
    assert found.usage == SPLIT
    assert (found.model, found.quality, found.marks) == ("gpt-realtime-mini", "exact", ())
    assert json.loads(found.usage_raw) == USAGE


def test_responses_are_summed_and_a_cancelled_one_counts() -> None:
    session = opened(provider("openai"))
    found = exchanged(session, [CREATED, BEGUN, done(USAGE), BEGUN, done(USAGE, "cancelled")])
    assert found.usage == twice(SPLIT)
    assert found.prompt_tokens == 100  # the longest, not the sum: it decides on a long prompt's price
    assert session.running == (200, 100)
    assert found.finish_reason == "cancelled"


def test_the_model_is_the_sessions_else_what_the_query_named() -> None:
    assert openai(CREATED, done(USAGE), model="asked").model == "gpt-realtime-mini"
    assert openai(done(USAGE), model="asked").model == "asked"
    update = {"type": "session.update", "session": {"model": "updated"}}
    assert openai(done(USAGE), asked=[update]).model == "updated"
    assert openai(done(USAGE), asked=[update], model="asked").model == "asked"


def transcribed(usage: Json | None, item: str = "item_1") -> Json:
    return {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item,
        "transcript": "usage",
        "usage": usage,
    }


def updated(model: str, *, old: bool = False) -> Json:
    inner: Json = {"input_audio_transcription": {"model": model}}
    if not old:
        inner = {"audio": {"input": {"transcription": {"model": model}}}}
    return {"type": "session.updated", "session": {"type": "realtime", "model": "gpt-realtime", **inner}}


@pytest.mark.parametrize("old", [False, True])
def test_transcripts_are_billed_at_their_own_model(old: bool) -> None:
    by_time, by_token = (
        {"type": "duration", "seconds": 2.5},
        {
            "type": "tokens",
            "total_tokens": 35,
            "input_tokens": 26,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 26},
            "output_tokens": 9,
        },
    )
    found = openai(
        CREATED,
        updated("gpt-realtime-whisper", old=old),
        transcribed(by_time),
        done(USAGE),
        transcribed(by_time, "item_2"),
        updated("gpt-4o-transcribe", old=old),
        transcribed(by_token, "item_3"),
    )
    assert found.usage == SPLIT
    assert [(part.model, part.usage) for part in found.parts] == [
        ("gpt-realtime-whisper", {"seconds": 5000}),
        ("gpt-4o-transcribe", {"audio_input": 26, "output": 9}),
    ]
    assert found.marks == ()


def test_a_transcriber_that_only_the_caller_named_is_believed() -> None:
    asked = {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}}
    found = openai(CREATED, transcribed({"type": "duration", "seconds": 1}), asked=[asked])
    assert [(part.model, part.usage) for part in found.parts] == [("whisper-1", {"seconds": 1000})]
    assert found.quality == "exact"


def test_a_transcript_without_usage_leaves_a_mark() -> None:
    found = openai(CREATED, done(USAGE), transcribed(None))
    assert found.usage == SPLIT
    assert set(found.marks) == {"transcript_untold", "usage_untold"}
    assert openai(CREATED, transcribed(None)).quality == "missing"


@pytest.mark.parametrize("kind", ["session.updated", "transcription_session.updated"])
def test_a_session_that_only_transcribes_is_its_transcribers(kind: str) -> None:
    session: Json = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}}}
    if kind.startswith("transcription"):
        session = {"input_audio_transcription": {"model": "gpt-live-transcribe"}}
    found = openai({"type": kind, "session": session}, transcribed({"type": "duration", "seconds": 61}))
    assert (found.model, found.usage, found.parts) == ("gpt-live-transcribe", {"seconds": 61_000}, ())


def test_a_session_in_which_nothing_was_made_used_nothing() -> None:
    found = openai(CREATED, {"type": "rate_limits.updated"})
    assert (found.usage, found.quality, found.marks) == ({}, "exact", ())


@pytest.mark.parametrize(
    "heard",
    [
        [BEGUN],
        [BEGUN, done(None)],
        [BEGUN, done({})],
        [done(None, "cancelled")],
        [{"type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "hel"}],
    ],
)
def test_responses_of_which_none_told_its_usage_are_missing(heard: list[Json]) -> None:
    found = openai(CREATED, *heard)
    assert (found.usage, found.quality) == ({}, "missing")
    assert "usage_untold" in found.marks


def test_one_that_told_nothing_among_others_leaves_a_mark() -> None:
    found = openai(CREATED, BEGUN, done(USAGE), BEGUN)
    assert (found.usage, found.quality, found.marks) == (SPLIT, "exact", ("usage_untold",))


def test_a_failed_response_that_tells_nothing_used_nothing() -> None:
    failed = done(None, "failed")
    failed["response"]["status_details"] = {"type": "failed", "error": {"type": "server_error", "code": "busy"}}
    found = openai(CREATED, BEGUN, failed)
    assert (found.usage, found.quality, found.error) == ({}, "exact", "busy")


def test_an_error_that_the_session_survived_is_not_its_outcome() -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "code": "no_such_item", "message": "…"}}
    assert openai(CREATED, error).error == "no_such_item"
    assert openai(CREATED, error, BEGUN, done(USAGE)).error is None


@pytest.mark.parametrize(
    "usage", [{"input_tokens": "7", "output_tokens": 3.0, "new": [1]}, {"input_tokens": 7, "output_tokens": 3}]
)
def test_counts_may_be_written_otherwise(usage: Json) -> None:
    assert openai(CREATED, done(usage)).usage == {"input": 7, "output": 3}


@pytest.mark.parametrize("usage", ["many", [1, 2], 170])
def test_a_usage_that_cannot_be_read_is_no_zero(usage: Any) -> None:
    found = openai(CREATED, done(usage))
    assert found.quality == "missing"
    assert "unreadable" in found.marks


def test_a_translation_is_billed_by_its_length_which_nothing_tells() -> None:
    session = opened(provider("openai"), "/v1/realtime/translations", "gpt-realtime-translate")
    found = exchanged(session, [{"type": "session.output_audio.delta", "delta": "AAAA"}, {"type": "session.closed"}])
    assert (found.quality, found.complete, found.model) == ("missing", True, "gpt-realtime-translate")


def test_usage_after_large_messages_is_read_in_bounded_memory() -> None:
    session = opened(provider("openai"))
    sound = b'{"type":"response.output_audio.delta","delta":"' + b"UklG" * WHOLE_BYTES_MAX + b'"}'
    large = json.dumps({**done(USAGE), "pad": "x" * (2 * WHOLE_BYTES_MAX)}).encode()
    session.upstream(fragmented(sound, [1000, 70_000]) + frame(large))
    assert session.metered().usage == SPLIT


def test_whether_a_session_was_closed_is_told() -> None:
    assert not openai(CREATED).complete
    for side in ("upstream", "client"):
        session = opened(provider("openai"))
        getattr(session, side)(frame(b"\x03\xe8", CLOSE))
        assert session.metered().complete


def test_framing_without_sense_makes_what_follows_unknown() -> None:
    session = opened(provider("openai"))
    session.upstream(b"\xff\xff\xff")
    found = session.metered()
    assert (found.quality, found.complete, found.marks) == ("missing", False, ("unreadable",))


# Live


def live(*heard: Json, path: str = "/v1/live/sessions") -> Metered:
    return exchanged(opened(provider("openai"), path, "gpt-live-1"), heard)


def seconds(count: Any, kind: str = "session.usage.updated") -> Json:
    return {"type": kind, "usage": {"seconds": count}, "context_window": {"usage_ratio": 0.1}}


@pytest.mark.parametrize("path", ["/live", "/v1/live", "/v1/live/sessions"])
def test_seconds_of_a_live_session_are_cumulative(path: str) -> None:
    found = live(seconds(1), seconds(4.25), seconds("9.5", "session.closed"), path=path)
    assert (found.usage, found.model, found.quality, found.complete) == ({"seconds": 9500}, "gpt-live-1", "exact", True)
    assert json.loads(found.usage_raw) == {"seconds": "9.5"}


def test_what_a_live_session_delegates_is_billed_at_the_models_that_did_it() -> None:
    def event(kind: str, delegation: str, **response: Any) -> Json:
        inner = {
            "type": kind,
            "response": {"id": "resp", "model": "gpt-5.6", "status": kind.rpartition(".")[2], **response},
        }
        return {"type": "response.event", "delegation_id": delegation, "event": inner}

    usage = {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25}
    decision = {"decision": {"model": "decider", "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}}}
    found = live(
        {"type": "session.started", "session": {"id": "live_1", "model": "gpt-live-2"}},
        event("response.created", "a", usage=None),
        event("response.created", "b", usage=None),
        event("response.completed", "b", usage=usage),
        event("response.completed", "a", usage=usage),
        {"type": "decision.event", "event": {"type": "decision.completed", **decision}},
        seconds(2),
    )
    assert (found.model, found.usage) == ("gpt-live-2", {"seconds": 2000})
    assert [(part.model, part.usage) for part in found.parts] == [
        ("gpt-5.6", {"input": 40, "output": 10}),
        ("decider", {"input": 3, "output": 1}),
    ]
    assert found.marks == ()
    cut = live(seconds(2), event("response.created", "a", usage=None))
    assert (cut.usage, cut.marks) == ({"seconds": 2000}, ("usage_untold",))


def test_a_live_session_that_spoke_and_told_nothing_is_missing() -> None:
    assert live({"type": "session.output_audio.delta", "delta": "AA"}).quality == "missing"
    assert live({"type": "session.started", "session": {"id": "s"}}).quality == "exact"


# xAI


XAI_USAGE = {
    "input_tokens": 8,
    "input_token_details": {"text_tokens": 8, "audio_tokens": 0, "grok_tokens": 0},
    "output_tokens": 249,
    "output_token_details": {"text_tokens": 18, "audio_tokens": 231, "grok_tokens": 0},
    "total_tokens": 257,
    "output_audio_seconds": 4.6,
    "billable_audio_seconds": 2,
}


def test_xais_usage_stands_beside_the_response_and_its_seconds_are_summed() -> None:
    created = {"type": "session.created", "session": {"model": "grok-voice-latest"}}
    found = exchanged(
        opened(provider("xai")),
        [created, BEGUN, voiced(XAI_USAGE), transcribed(None), voiced(XAI_USAGE)],
    )
    assert found.usage == {"input": 16, "output": 36, "audio_output": 462, "seconds": 4000}
    assert (found.model, found.parts, found.marks) == ("grok-voice-latest", (), ())


def test_xais_tokens_without_seconds_are_marked() -> None:
    usage = {name: count for name, count in XAI_USAGE.items() if name != "billable_audio_seconds"}
    found = exchanged(opened(provider("xai")), [voiced(usage)])
    assert (found.usage["audio_output"], found.marks) == (231, ("seconds_untold",))


# Azure


def test_azures_deployments_are_named_by_their_models() -> None:
    of = installed(
        "azure", "azure", "https://r.openai.azure.com", Options({"talk": "gpt-realtime", "hear": "whisper-1"})
    )
    assert isinstance(of, Realtime)
    heard = [updated("hear"), transcribed({"type": "duration", "seconds": 1}), done(USAGE)]
    heard[0]["session"]["model"] = "talk"
    found = exchanged(opened(of, "/openai/realtime", "talk"), heard)
    assert (found.model, [part.model for part in found.parts]) == ("gpt-realtime", ["whisper-1"])
    assert exchanged(opened(of, "/openai/deployments/talk/realtime"), [done(USAGE)]).model == "gpt-realtime"


# Gemini


def turn(prompt: int, answer: int, thoughts: int = 0, *, complete: bool = True, **more: Any) -> Json:
    usage: Json = {"promptTokenCount": prompt, "responseTokenCount": answer, "totalTokenCount": prompt + answer}
    usage["promptTokensDetails"] = [
        {"modality": "TEXT", "tokenCount": prompt - 5},
        {"modality": "AUDIO", "tokenCount": 5},
    ]
    usage["responseTokensDetails"] = [{"modality": "AUDIO", "tokenCount": answer}]
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return {
        "serverContent": {"turnComplete": True} if complete else {"modelTurn": {}},
        "usageMetadata": {**usage, **more},
    }


SETUP = {"setup": {"model": "models/gemini-2.5-flash-native-audio-latest"}}
SPEAKS = {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "AA=="}}]}}}


def gemini(*heard: Json, asked: Iterable[Json] = (SETUP,), name: str = "gemini", kind: int = BINARY) -> Metered:
    path = GEMINI_PATH if name == "gemini" else VERTEX_PATH
    return exchanged(opened(provider(name), path), heard, asked, kind=kind)


@pytest.mark.parametrize("kind", [BINARY, TEXT])
def test_turns_are_summed_and_thoughts_are_outside_the_total(kind: int) -> None:
    found = gemini({"setupComplete": {}}, SPEAKS, turn(100, 40, 28), SPEAKS, turn(160, 20), kind=kind)
    assert found.usage == {"input": 250, "audio_input": 10, "audio_output": 60, "reasoning": 28}
    assert (found.model, found.quality, found.marks) == ("gemini-2.5-flash-native-audio-latest", "exact", ())
    assert found.prompt_tokens == 100 + 60


def test_thoughts_inside_the_total_are_not_counted_again() -> None:
    found = gemini(turn(100, 40, 28, totalTokenCount=168))
    assert (found.usage["reasoning"], found.marks) == (28, ())


def test_counts_that_are_restated_within_a_turn_count_once() -> None:
    found = gemini(SPEAKS, turn(100, 10, complete=False), SPEAKS, turn(100, 25, complete=False), turn(100, 40))
    assert found.usage == {"input": 95, "audio_input": 5, "audio_output": 40}


def test_a_tool_call_ends_a_step() -> None:
    call = {"toolCall": {"functionCalls": [{"name": "f"}]}, "usageMetadata": turn(100, 5)["usageMetadata"]}
    assert gemini(call, SPEAKS, turn(150, 40)).usage == {"input": 240, "audio_input": 10, "audio_output": 45}
    assert gemini({"toolCall": {}}, SPEAKS, turn(150, 40)).marks == ()


def test_usage_told_after_its_turn_counts_for_it() -> None:
    late = {"usageMetadata": turn(100, 40)["usageMetadata"]}
    found = gemini(SPEAKS, {"serverContent": {"turnComplete": True}}, late, SPEAKS, turn(100, 40))
    assert (found.usage["audio_output"], found.marks) == (80, ())


def test_a_turn_that_tells_nothing_leaves_a_mark() -> None:
    assert gemini(SPEAKS).quality == "missing"
    assert gemini(SPEAKS, {"serverContent": {"turnComplete": True}}).quality == "missing"
    assert gemini({"setupComplete": {}}, {"goAway": {"timeLeft": "10s"}}).quality == "exact"
    found = gemini(SPEAKS, turn(100, 40), SPEAKS)
    assert (found.usage["audio_output"], found.quality, found.marks) == (40, "exact", ("usage_untold",))


def test_a_turn_cut_after_its_usage_counts() -> None:
    assert gemini(SPEAKS, turn(100, 40, complete=False)).usage == {"input": 95, "audio_input": 5, "audio_output": 40}


def test_each_turn_that_searched_is_billed() -> None:
    def searching(*queries: str) -> Json:
        return {"serverContent": {"groundingMetadata": {"webSearchQueries": list(queries)}}}

    heard = [searching("a", "b"), turn(9, 4), turn(9, 4), searching("a"), turn(9, 4)]
    assert gemini(*heard).usage["grounded_prompt"] == 2
    assert gemini(*heard, asked=[{"setup": {"model": "models/gemini-3.8-live"}}]).usage["grounding_query"] == 3


def test_vertex_is_priced_where_the_models_name_says_it_is_served() -> None:
    def asked(location: str) -> list[Json]:
        return [{"setup": {"model": f"projects/p/locations/{location}/publishers/google/models/gemini-live-2.5-flash"}}]

    found = gemini(turn(9, 4, trafficType="ON_DEMAND"), asked=asked("us-central1"), name="vertex")
    assert (found.model, found.region, found.service_tier) == ("gemini-live-2.5-flash", "regional", "ON_DEMAND")
    assert gemini(turn(9, 4), asked=asked("global"), name="vertex").region == "global"
    bare = gemini(
        turn(9, 4, trafficType="PROVISIONED_THROUGHPUT"),
        asked=[{"setup": {"model": "publishers/google/models/gemini-live-2.5-flash"}}],
        name="vertex",
    )
    assert (bare.model, bare.region, bare.marks) == ("gemini-live-2.5-flash", None, ("provisioned",))


# Mistral


def test_a_transcription_as_it_is_spoken_is_told_at_its_end() -> None:
    session = opened(provider("mistral"), "/v1/audio/transcriptions/realtime", "voxtral-mini-transcribe-realtime-2602")
    usage = {"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13}
    heard = [
        {"type": "session.created", "session": {"request_id": "r", "model": "voxtral-mini-transcribe-realtime-2602"}},
        {"type": "transcription.text.delta", "text": "Hello"},
        {
            "type": "transcription.done",
            "model": "voxtral-mini-transcribe-realtime-2602",
            "text": "Hello",
            "usage": usage,
        },
    ]
    found = exchanged(session, heard)
    assert found.usage == {"input": 4, "output": 9, "seconds": 3000}
    assert (found.model, found.quality) == ("voxtral-mini-transcribe-realtime-2602", "exact")


# All


SCRIPTS = {
    "openai": [CREATED, BEGUN, done(USAGE), updated("whisper-1"), transcribed({"seconds": 2}), done(USAGE), BEGUN],
    "xai": [CREATED, voiced(XAI_USAGE), voiced(XAI_USAGE)],
    "gemini": [SPEAKS, turn(100, 40, 28), SPEAKS, turn(160, 20)],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_session_cut_at_every_byte_gives_the_same_usage(name: str) -> None:
    path = GEMINI_PATH if name == "gemini" else "/v1/realtime"
    sent = b"".join(
        fragmented(json.dumps(message).encode(), [3, 40], BINARY if name == "gemini" else TEXT, between=frame(b"", 0x9))
        for message in SCRIPTS[name]
    ) + frame(b"\x03\xe8", CLOSE)
    session = opened(provider(name), path)
    session.upstream(sent)
    whole = session.metered()
    assert whole.usage
    assert whole.complete
    for place in range(len(sent)):
        session = opened(provider(name), path)
        session.upstream(sent[:place])
        session.metered()  # asking in between changes nothing
        session.upstream(sent[place:])
        assert session.metered() == whole, place


WORDS = st.sampled_from(
    [
        "response.done",
        "response.created",
        "session.updated",
        "session.closed",
        "session.usage.updated",
        "response.event",
    ]
)
NAMES = st.sampled_from(
    [
        "type",
        "session",
        "response",
        "usage",
        "event",
        "model",
        "seconds",
        "setup",
        "usageMetadata",
        "serverContent",
        "input_tokens",
        "output_tokens",
        "promptTokenCount",
        "turnComplete",
        "toolCall",
        "status",
        "audio",
        "input",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def realtimes() -> list[tuple[Realtime, str]]:
    paths = (
        "/v1/realtime",
        "/v1/live",
        "/openai/realtime",
        GEMINI_PATH,
        VERTEX_PATH,
        "/v1/audio/transcriptions/realtime",
    )
    found = [(of, path) for of in PROVIDERS for path in paths if isinstance(of, Realtime)]
    return [(of, path) for of, path in found if of.endpoint("GET", of.upstream_path(path)).websocket]


@given(st.lists(st.dictionaries(NAMES, JSON, max_size=5) | JSON, max_size=6), st.binary(max_size=40))
def test_no_messages_whatever_break_a_session(messages: list[Any], rest: bytes) -> None:
    for of, path in realtimes():
        session = opened(of, path)
        for message in messages:
            session.client(frame(json.dumps(message).encode(), mask=KEY))
            session.upstream(frame(json.dumps(message).encode()))
            session.upstream(frame(rest))
        session.upstream(rest)
        session.client(rest)
        found = session.metered()
        assert all(count > 0 for count in found.usage.values())
        assert all(count >= 0 for count in session.running)


def joined(*heard: Json, call: str = "rtc_1", name: str = "openai") -> Metered:
    """A session that joins a call, as another one may at the same time."""
    of = provider(name)
    endpoint = msgspec.structs.replace(of.endpoint("GET", of.upstream_path("/v1/realtime")), object_id=call)
    session = of.session(endpoint, None)
    assert session is not None
    return exchanged(session, heard)


def response(name: str, usage: Json | None = None) -> Json:
    return {"type": "response.done", "response": {"id": name, "status": "completed", "usage": usage or USAGE}}


def transcript(item: str) -> Json:
    usage = {"type": "tokens", "input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    return {"type": "conversation.item.input_audio_transcription.completed", "item_id": item, "usage": usage}


def test_each_response_of_a_call_that_is_joined_is_a_bill_of_its_own() -> None:
    found = joined(CREATED, BEGUN, response("resp_1"), transcript("item_1"), response("resp_2"))
    assert (found.usage, found.parts, found.quality, found.marks) == ({}, (), "exact", ())
    assert [part.object_id for part in found.apart] == ["rtc_1#resp_1", "rtc_1#item_1", "rtc_1#resp_2"]
    first, heard, second = found.apart
    assert first.usage == second.usage == SPLIT
    assert (first.model, heard.model) == ("gpt-realtime-mini", "transcription")
    assert heard.usage == {"input": 9, "output": 2}
    assert first.objects == heard.objects == (Stored("rtc_1", "read"),)


def test_what_two_sessions_of_one_call_hear_has_the_same_names() -> None:
    early = joined(CREATED, response("resp_1"), response("resp_2"))
    late = joined(CREATED, response("resp_2"), response("resp_3"))
    assert early.apart[1] == late.apart[0]


def test_an_answer_of_a_joined_call_that_has_no_name_is_the_sessions_own() -> None:
    nameless = {"type": "response.done", "response": {"status": "completed", "usage": USAGE}}
    found = joined(CREATED, nameless, response("x" * 200))
    assert found.apart == ()
    assert found.usage == {meter: 2 * count for meter, count in SPLIT.items()}
    assert found.marks == ("responses_summed",)


def test_a_joined_call_of_a_deployment_is_billed_at_the_model_behind_it() -> None:
    azure = provider("azure")
    assert isinstance(azure, Configurable)
    known = azure.configured(Options(deployments={"voice": "gpt-realtime", "ears": "gpt-4o-transcribe"}))
    assert isinstance(known, Realtime)
    endpoint = msgspec.structs.replace(known.endpoint("GET", "/openai/v1/realtime"), object_id="rtc_1")
    session = known.session(endpoint, "voice")
    assert session is not None
    named = {"type": "session.updated", "session": {"audio": {"input": {"transcription": {"model": "ears"}}}}}
    found = exchanged(session, [named, response("resp_1"), transcript("item_1")])
    assert [part.model for part in found.apart] == ["gpt-realtime", "gpt-4o-transcribe"]
