"""Attribution on the wire: from headers, tags and body onto the event, and out of what the provider gets."""

import json
from collections.abc import Callable

import pytest
from running_worker import CHAT, Running, Upstream
from scripted import ask, call

from farebox.gateway.repeats import REMEMBERED_MAX, REMEMBERED_S, Repeats

Start = Callable[..., tuple[Running, Upstream]]
ALL = (
    "x-tenant-id: acme", "x-workspace-id: w1", "x-user-id: u1", "x-tier: pro", "x-feature: summarize", "x-task-id: k1",
    "x-session-id: s1", 'x-metering-tags: {"region":"eu","beta":true,"n":3}', "x-farebox-units: analyses=2, pages=1",
    "x-stainless-retry-count: 2",
)  # fmt: skip


def sent_body(upstream: Upstream, index: int = -1) -> bytes:
    return upstream.requests[index].split(b"\r\n\r\n", 1)[1]


def test_headers_and_tags_stand_on_the_event(gateway: Start) -> None:
    worker, upstream = gateway()
    assert ask(worker, call(worker, CHAT, *ALL)).status == 200
    [(head, _)] = worker.finished()
    assert (head.tenant, head.workspace, head.user, head.tier) == ("acme", "w1", "u1", "pro")
    assert (head.feature, head.task, head.session, head.retries) == ("summarize", "k1", "s1", 2)
    assert (head.tags, head.units) == ({"region": "eu", "beta": True, "n": 3}, {"analyses": 2, "pages": 1})
    assert sent_body(upstream) == CHAT
    assert b"x-stainless-retry-count: 2" in upstream.requests[0]


def test_precedence_holds_over_all_four_sources(gateway: Start) -> None:
    worker, _ = gateway()
    key = worker.new_key(bind={"tenant": "acme"})
    body = CHAT[:-1] + b',"user_id":"body","feature":"body","task_id":"body","tenant_id":"acme"}'
    data = call(worker, body, "x-user-id: header", 'x-farebox-tags: {"user_id":"tag","feature":"tag","x":"y"}')
    assert ask(worker, data.replace(worker.key.encode(), key.encode())).status == 200
    [(head, _)] = worker.finished()
    assert (head.tenant, head.user, head.feature, head.task) == ("acme", "header", "tag", "body")
    assert head.tags == {"x": "y"}


CONFLICTS = {
    "header": (("x-tenant-id: globex",), CHAT),
    "other header": (("x-customer-id: globex",), CHAT),
    "tag": (('x-metering-tags: {"customer":"globex"}',), CHAT),
    "body": ((), CHAT[:-1] + b',"tenant_id":"globex"}'),
    "escaped body": ((), CHAT[:-1] + b',"tenant\\u005fid":"globex"}'),
    "second of two in the body": ((), CHAT[:-1] + b',"tenant_id":"acme","tenant_id":"globex"}'),
    "body beside a lone surrogate": ((), CHAT[:-1] + b',"x":"\\ud83d","tenant_id":"globex"}'),
    "form": (("Content-Type: text/plain",), CHAT[:-1] + b',"tenant_id":"globex"}'),
}


@pytest.mark.parametrize("source", CONFLICTS)
def test_a_bound_tenant_cannot_be_contradicted_from_anywhere(gateway: Start, source: str) -> None:
    headers, body = CONFLICTS[source]
    worker, upstream = gateway()
    key = worker.new_key(bind={"tenant": "acme"})
    answer = ask(worker, call(worker, body, *headers).replace(worker.key.encode(), key.encode()))
    assert answer.status == 403
    assert answer.json["farebox"]["code"] == "attribution_conflict"  # type: ignore[index]
    assert upstream.connections == 0
    [(kind, head, _)] = worker.records()
    assert kind == 4 and not isinstance(head, str) and head.tenant == "acme"


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "tags that are no JSON": (("x-metering-tags: region=eu",), "invalid_tags"),
    "tags that are a list": (("x-metering-tags: []",), "invalid_tags"),
    "nested tags": (('x-metering-tags: {"a":{}}',), "invalid_tags"),
    "33 tags": (("x-metering-tags: " + json.dumps({f"k{n}": n for n in range(33)}),), "invalid_tags"),
    "a long key": (("x-metering-tags: " + json.dumps({"k" * 65: 1}),), "invalid_tags"),
    "a long value": (("x-metering-tags: " + json.dumps({"k": "v" * 257}),), "invalid_tags"),
    "a control character": (('x-metering-tags: {"k":"\\u0007"}',), "invalid_tags"),
    "a huge number": (('x-metering-tags: {"k":1' + "0" * 40 + "}",), "invalid_tags"),
    "a long user": (("x-user-id: " + "u" * 257,), "invalid_tags"),
    "odd units": (("x-farebox-units: many",), "invalid_tags"),
    "one header twice": (("x-user-id: a", "X-User-Id: a"), "invalid_request"),
    "tags twice": (('x-metering-tags: {"a":1}', 'x-metering-tags: {"a":1}'), "invalid_request"),
    "two names that differ": (("x-tenant-id: a", "x-customer-id: b"), "invalid_request"),
    "two tag headers that differ": (('x-metering-tags: {"a":1}', 'x-farebox-tags: {"a":2}'), "invalid_tags"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_malformed_is_refused_before_anything_is_spent(gateway: Start, what: str) -> None:
    headers, code = BAD[what]
    worker, upstream = gateway()
    answer = ask(worker, call(worker, CHAT, *headers))
    assert answer.status == 400 and answer.json["farebox"]["code"] == code  # type: ignore[index]
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.connections == 0
    assert [kind for kind, _, _ in worker.records()] == [4]


def test_two_names_that_agree_are_one(gateway: Start) -> None:
    worker, _ = gateway()
    headers = ("x-tenant-id: a", "x-customer-id: a", 'x-metering-tags: {"a":1}', 'x-farebox-tags: {"a":1,"b":2}')
    assert ask(worker, call(worker, CHAT, *headers)).status == 200
    [(head, _)] = worker.finished()
    assert (head.tenant, head.tags) == ("a", {"a": 1, "b": 2})


SPLICED = {
    b'{"user_id":"u1","model":"gpt-4.1-mini"}': b'{"model":"gpt-4.1-mini"}',
    b'{"model":"gpt-4.1-mini","user_id":"u1"}': b'{"model":"gpt-4.1-mini"}',
    b' {\n  "model" : "gpt-4.1-mini",\n  "user_id" :\t"u1" ,\n  "n" : 1.50e0\n}\n': (
        b' {\n  "model" : "gpt-4.1-mini" ,\n  "n" : 1.50e0\n}\n'
    ),
    b'{"user_id":"u1"}': b"{}",
    b'{"model":"m","user_id":"u0","user_id":"u1"}': b'{"model":"m"}',
    b'{"user\\u005fid":"u1","a":{"user_id":"kept"}}': b'{"a":{"user_id":"kept"}}',
    b'{"user_id":"u1","x":"\\ud83d lone"}': b'{"x":"\\ud83d lone"}',
    b'{"user_id":"u1","x":12345678901234567890.1234567890e-400}': b'{"x":12345678901234567890.1234567890e-400}',
    b'{"user_id":"u1","feature":null,"user":"kept"}': b'{"user":"kept"}',
    b'{"user_id":"u1","metadata":{"user_id":"kept"},"safety_identifier":"kept"}': (
        b'{"metadata":{"user_id":"kept"},"safety_identifier":"kept"}'
    ),
}


@pytest.mark.parametrize("body", SPLICED, ids=range(len(SPLICED)))
def test_our_fields_leave_the_body_and_every_other_byte_stays(gateway: Start, body: bytes) -> None:
    worker, upstream = gateway()
    assert ask(worker, call(worker, body)).status == 200
    left = sent_body(upstream)
    assert left.split() == SPLICED[body].split(), left
    assert b'"kept"' in left or b"kept" not in body
    assert worker.finished()[0][0].user == "u1"


ODD = [
    b"", b" ", b"null", b"[]", b'"text"', b"{", b"{}", b"not json", b"\xff\xfe", b"[" * 5000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"user_id":"u","user_id":"u","a":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"user_id":"u","a":"' + b"\\ud83d" * 1000 + b'"}',
    b'{"model":' + b"9" * 5000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_an_odd_body_is_the_providers_to_judge_or_refused_cleanly(gateway: Start, body: bytes) -> None:
    worker, upstream = gateway()
    answer = ask(worker, call(worker, body))
    assert answer.status in (200, 400)
    if answer.status == 200 and b"user_id" not in body:
        assert sent_body(upstream) == body


def test_a_models_name_has_a_bound(gateway: Start) -> None:
    worker, upstream = gateway()
    for body, path in (
        (CHAT.replace(b"gpt-4.1-mini", b"m" * 100_000), "/proxy/openai/v1/chat/completions"),
        (CHAT.replace(b"gpt-4.1-mini", b"groq/" + b"m" * 100_000), "/v1/chat/completions"),
        (b"{}", f"/proxy/gemini/v1beta/models/{'m' * 5000}:generateContent"),
    ):
        answer = ask(worker, call(worker, body, path=path))
        assert answer.status == 400 and answer.json["farebox"]["code"] == "invalid_request"  # type: ignore[index]
    assert upstream.connections == 0
    assert all(kind == 4 for kind, _, _ in worker.records())


def test_refusals_carry_who_called_as_far_as_it_is_known(gateway: Start) -> None:
    worker, _ = gateway()
    key = worker.new_key(models=("o3",))
    data = call(worker, CHAT, *ALL).replace(worker.key.encode(), key.encode())
    assert ask(worker, data).status == 403
    [(kind, head, tail)] = worker.records()
    assert kind == 4 and not isinstance(head, str) and tail is not None
    assert (head.tenant, head.user, head.operation, head.provider) == ("acme", "u1", "chat", "openai")
    assert (tail.state, tail.status, tail.error) == ("refused", 403, "model_not_allowed")


def test_a_path_that_climbs_is_recorded_as_refused(gateway: Start) -> None:
    worker, _ = gateway()
    assert ask(worker, call(worker, CHAT, path="/proxy/openai/v1/../admin")).status == 400
    assert [kind for kind, _, _ in worker.records()] == [4]


OTHER = CHAT.replace(b"gpt-4.1-mini", b"gpt-4.1-nano")
REPEATS = {
    "the same idempotency key": ([("Idempotency-Key: k1",)] * 3, [0, 1, 2]),
    "another idempotency key": ([("Idempotency-Key: k1",), ("Idempotency-Key: k2",)], [0, 0]),
    "the same request id": ([("X-Request-Id: r1",), ("X-Request-Id: r1",)], [0, 1]),
    "an id that the proxy in between renews": (
        [("Idempotency-Key: k1", "X-Request-Id: r1"), ("X-Request-Id: r2", "Idempotency-Key: k1")], [0, 1],
    ),
    "no id": ([(), ()], [0, 0]),
    "an SDK that counts": ([("X-Request-Id: r1", "x-stainless-retry-count: 2"), ("X-Request-Id: r1",)], [2, 1]),
    "AWS' SDKs": ([("amz-sdk-request: attempt=1; max=3",), ("amz-sdk-request: ttl=x; attempt=3; max=3",)], [0, 2]),
    "AWS' header, said oddly": ([("amz-sdk-request: attempt=-1",), ("amz-sdk-request: attempt=9999",)], [0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("how", REPEATS)
def test_a_request_that_comes_again_is_recorded_as_a_retry(gateway: Start, how: str) -> None:
    headers, expected = REPEATS[how]
    worker, upstream = gateway()
    for lines in headers:
        assert ask(worker, call(worker, CHAT, *lines)).status == 200
    assert [head.retries for head, _ in worker.finished(len(headers))] == expected
    assert all(line.encode() in upstream.requests[-1] for line in headers[-1])


def test_one_request_id_on_several_calls_makes_no_retries(gateway: Start) -> None:
    """Apps pass on the id of the request that they serve."""
    worker, _ = gateway()
    for body in (CHAT, OTHER, CHAT.replace(b"{", b"{ ", 1)):
        assert ask(worker, call(worker, body, "X-Request-Id: r1")).status == 200
    assert [head.retries for head, _ in worker.finished(3)] == [0, 0, 0]


def test_what_was_seen_is_forgotten() -> None:
    repeats = Repeats()
    assert repeats.count("k", b"r1", "/p", b"{}", 0.0) == 0
    assert repeats.count("k", b"r1", "/p", b"{}", REMEMBERED_S) == 1
    assert repeats.count("k", b"r1", "/p", b"{}", 2 * REMEMBERED_S + 1) == 0
    assert repeats.count("other", b"r1", "/p", b"{}", 2 * REMEMBERED_S + 1) == 0
    for number in range(2 * REMEMBERED_MAX):
        repeats.count("k", b"%d" % number, "/p", b"{}", 2 * REMEMBERED_S + 2)
    assert repeats.count("k", b"r1", "/p", b"{}", 2 * REMEMBERED_S + 2) == 0
