"""POST /otlp/v1/traces: what exporters send, who may, what is booked and what is said of the rest."""

import gzip
import zlib
from typing import Any

import msgspec
import pytest
from control_api import Api, FakeKeeper
from otlp_making import CHAT, in_json, in_protobuf, span

from farebox.directory.rows import KeySpec

PATH = "/api/v1/otlp/v1/traces"
PROTOBUF = {"content-type": "application/x-protobuf"}
SECRET = "what is the password of the vault"


class Booking(FakeKeeper):
    """Accepts every event once."""

    def __init__(self) -> None:
        super().__init__()
        self.booked: dict[str, Any] = {}

    async def call(self, method: str, params: Any = None, *, timeout_s: float = 30) -> Any:
        if method != "post" or method in self.answers:
            return await super().call(method, params, timeout_s=timeout_s)
        self.asked.append((method, params))
        verdicts = []
        for head, tail in params["events"]:
            before = self.booked.setdefault(head[0], (head, tail))
            verdict = "accepted" if before[0] is head else "duplicate" if before == (head, tail) else "conflict"
            verdicts.append({"id": head[0], "verdict": verdict})
        return verdicts


@pytest.fixture
def api(tmp_path: Any) -> Any:
    made = Api(tmp_path, keeper=Booking())
    yield made
    made.close()


def key_of(api: Api, **spec: Any) -> dict[str, str]:
    _, secret = api.directory.keys.create(KeySpec(name="app", **spec))
    return {"authorization": f"Bearer {secret}"}


def booked(api: Api) -> list[Any]:
    return list(api.keeper.booked.values())  # type: ignore[attr-defined]


def send(api: Api, *spans: Any, role: str | None = "ingest", **options: Any) -> Any:
    return api.ask("POST", PATH, role, json=in_json(spans), **options)


def test_calls_are_booked_once_from_either_encoding_at_either_address(api: Api) -> None:
    found = send(api, span(1, CHAT), span(2, {"http.request.method": "GET"}))
    assert (found.status_code, found.json()) == (200, {})
    body = in_protobuf([span(1, CHAT), span(3, CHAT)])
    again = api.ask("POST", "/api/v1/v1/traces", "ingest", content=body, headers=PROTOBUF)
    assert (again.status_code, again.content, again.headers["content-type"]) == (200, b"", PROTOBUF["content-type"])
    assert len(booked(api)) == 2


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_bodies_may_be_compressed(api: Api, pack: Any) -> None:
    packed = {**PROTOBUF, "content-encoding": "gzip" if pack is gzip.compress else "deflate"}
    body = pack(in_protobuf([span(1, CHAT)]))
    assert api.ask("POST", PATH, "ingest", content=body, headers=packed).status_code == 200
    assert len(booked(api)) == 1
    for broken in (body[:-9], b"no", b""):
        refused = api.ask("POST", PATH, "ingest", content=broken, headers=packed)
        assert (refused.status_code, refused.content[:2]) == (400, b"\x08\x03")


def test_a_body_that_unpacks_without_end_is_refused(api: Api) -> None:
    bomb = gzip.compress(bytes(33 * 1024 * 1024))
    found = api.ask("POST", PATH, "ingest", content=bomb, headers={**PROTOBUF, "content-encoding": "gzip"})
    assert found.status_code == 413
    assert b"unpacks to at most" in found.content


def test_a_farebox_keys_bindings_hold_for_each_span(api: Api) -> None:
    bound = key_of(api, bind={"tenant": "acme"})
    assert send(api, span(1, CHAT), role=None, headers=bound).json() == {}
    assert booked(api)[0][0][11] == "acme"
    other = send(api, span(2, {**CHAT, "farebox.tenant": "globex"}), span(3, CHAT), role=None, headers=bound)
    said = other.json()["partialSuccess"]
    assert (other.status_code, said["rejectedSpans"]) == (200, "1")
    assert "bound to tenant 'acme'" in said["errorMessage"]
    assert len(booked(api)) == 2
    required = key_of(api, require=["user"])
    assert (
        "requires user"
        in send(api, span(4, CHAT), role=None, headers=required).json()["partialSuccess"]["errorMessage"]
    )


def test_only_senders_of_events_may(api: Api) -> None:
    assert send(api, span(1, CHAT), role="analyst").status_code == 403
    assert send(api, span(1, CHAT), role=None).status_code == 401
    assert send(api, span(1, CHAT), role=None, headers={"authorization": "Bearer fbx_nobody"}).status_code == 401
    assert booked(api) == []


def test_no_prompt_and_no_answer_reaches_the_ledger(api: Api) -> None:
    names = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt.0.content", "gen_ai.system_instructions",
             "input.value", "llm.input_messages.0.message.content", "traceloop.entity.input")  # fmt: skip
    content = {**dict.fromkeys(names, SECRET), "gen_ai.tool.definitions": [SECRET]}
    events = [{"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": SECRET}}]
    send(api, span(1, {**CHAT, **content}, events=events, name=SECRET, status={"code": 2, "message": SECRET}))
    assert len(booked(api)) == 1
    assert SECRET not in repr(api.keeper.asked)


def test_a_frameworks_span_is_not_booked_beside_its_clients_also_over_requests(api: Api) -> None:
    send(api, span(2, CHAT, parent=1))
    send(api, span(1, CHAT))
    assert [head[0][-1] for head, _ in booked(api)] == ["2"]


def test_a_call_without_counts_is_booked_and_marked(api: Api) -> None:
    send(api, span(1, {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m"}))
    [(_, tail)] = booked(api)
    assert "no_usage" in repr(tail)


def test_calls_that_went_through_this_gateway_are_not_booked_again(api: Api) -> None:
    through = {"server.address": "testserver", "server.port": 80}
    assert send(api, span(1, {**CHAT, **through}), span(2, {**CHAT, "server.address": "api.openai.com"})).json() == {}
    assert [head[0][-1] for head, _ in booked(api)] == ["2"]


def test_what_cannot_be_booked_is_counted_and_holds_nothing_up(api: Api) -> None:
    send(api, span(1, CHAT))
    found = send(
        api,
        span(1, {**CHAT, "gen_ai.usage.input_tokens": 5000}),
        span(2, {**CHAT, "farebox.tenent": "acme"}),
        span(3, {"gen_ai.operation.name": "dream", "gen_ai.usage.output_tokens": 5}),
        span(4, CHAT),
    )
    said = found.json()["partialSuccess"]
    assert (found.status_code, said["rejectedSpans"]) == (200, "3")
    assert "3 of 4 spans cannot be booked. The first: span" in said["errorMessage"]
    assert "'dream' is not known" in said["errorMessage"]
    assert len(booked(api)) == 2


def test_many_spans_are_booked_in_batches(api: Api) -> None:
    assert send(api, *(span(number, CHAT) for number in range(1, 2502))).json() == {}
    assert [len(params["events"]) for method, params in api.keeper.asked if method == "post"] == [1000, 1000, 501]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b"", 415),
        ({}, b"", 415),
        ({**PROTOBUF, "content-encoding": "br"}, b"", 415),
        (PROTOBUF, b"\xff", 400),
        ({"content-type": "application/json; charset=utf-8"}, b"[]", 400),
        (PROTOBUF, b"x" * (9 * 1024 * 1024), 413),
    ],
)
def test_requests_that_cannot_be_read_are_refused_for_good(api: Api, headers: Any, body: bytes, status: int) -> None:
    found = api.ask("POST", PATH, "ingest", content=body, headers=headers)
    assert found.status_code == status
    assert booked(api) == []


def test_while_the_keeper_is_away_exporters_are_told_to_try_again_and_then_all_is_booked(api: Api) -> None:
    from farebox.errors import KeeperUnavailable

    api.keeper.answers["post"] = KeeperUnavailable("the keeper does not answer")
    body = in_protobuf([span(2, CHAT, parent=1), span(1, CHAT)])
    found = api.ask("POST", PATH, "ingest", content=body, headers=PROTOBUF)
    assert (found.status_code, found.headers["retry-after"], found.content[:2]) == (503, "1", b"\x08\x0e")
    del api.keeper.answers["post"]
    assert api.ask("POST", PATH, "ingest", content=body, headers=PROTOBUF).status_code == 200
    assert len(booked(api)) == 1


def test_the_address_that_is_documented_is_in_the_description_and_the_other_is_not(api: Api) -> None:
    paths = api.app.openapi()["paths"]
    assert paths[PATH]["post"]["x-farebox-role"] == "ingest"
    assert "/api/v1/v1/traces" not in paths
    assert msgspec.json.encode(paths[PATH]["post"]["requestBody"])
