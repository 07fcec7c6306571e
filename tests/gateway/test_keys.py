"""Keys: found wherever an SDK puts its own, in force within a second, restricted as said; a stored credential leaves
only for its provider, and alone."""

import time
from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT, Answer, Running, Upstream, read_answer
from scripted import GEMINI_BODY, ask, call, until

from farebox.directory.rows import KeySpec

Start = Callable[..., tuple[Running, Upstream]]
OPENAI = "/proxy/openai/v1/chat/completions"
ANTHROPIC = "/proxy/anthropic/v1/messages"
GEMINI = "/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent"
MESSAGE = b'{"model":"claude-haiku-4-5","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}'


def send(
    worker: Running,
    *headers: str,
    path: str = OPENAI,
    body: bytes = CHAT,
    method: str = "POST",
    host: str = "localhost",
) -> Answer:
    """A call with exactly these headers: no key of its own."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, f"Content-Length: {len(body)}"]
    return ask(worker, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


def code(answer: Answer) -> str:
    return answer.json["farebox"]["code"]  # type: ignore[index,no-any-return]


PLACES: dict[str, tuple[str, str]] = {
    "bearer": (OPENAI, "Authorization: Bearer {}"),
    "bearer in capitals": (OPENAI, "AUTHORIZATION: BEARER {}"),
    "x-api-key": (ANTHROPIC, "x-api-key: {}"),
    "bearer at anthropic": (ANTHROPIC, "Authorization: Bearer {}"),
    "api-key": (OPENAI, "api-key: {}"),
    "x-goog-api-key": (GEMINI, "x-goog-api-key: {}"),
    "x-farebox-key": (OPENAI, "x-farebox-key: {}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_found_where_sdks_put_theirs_and_the_stored_credential_takes_its_place(
    gateway: Start, place: str
) -> None:
    path, line = PLACES[place]
    worker, upstream = gateway()
    assert send(worker, line.format(worker.key), path=path).status == 200
    [request] = upstream.requests
    assert b"fbx_" not in request and worker.key.encode() not in request
    assert request.count(b"sk-stored") == 1
    worker.finished(1)


@pytest.mark.parametrize("query", ["?key={}", "?alt=sse&key={}&x=1", "?k%65y={}&x=1", "?x=1&key=%66bx_{tail}"])
def test_a_key_in_the_query_is_found_and_never_forwarded(gateway: Start, query: str) -> None:
    worker, upstream = gateway()
    query = query.format(worker.key, tail=worker.key[4:])
    assert send(worker, path=GEMINI + query, body=GEMINI_BODY).status == 200
    line = upstream.requests[0].split(b"\r\n")[0]
    assert b"fbx_" not in upstream.requests[0] and worker.key[4:].encode() not in upstream.requests[0]
    assert b"key=" not in line and b"%65y" not in line
    assert (b"x=1" in line) == ("x=1" in query)


@pytest.mark.parametrize(
    ("path", "line", "shape"),
    [
        (OPENAI, "Authorization: Bearer fbx_nonsense", ("error", "type")),
        (OPENAI, "Authorization: Bearer sk-the-providers-own", ("error", "type")),
        (OPENAI, "X-Nothing: 1", ("error", "type")),
        (ANTHROPIC, "x-api-key: fbx_nonsense", ("error", "type")),
        (GEMINI, "x-goog-api-key: fbx_nonsense", ("error", "status")),
        (GEMINI + "?key=fbx_nonsense", "X-Nothing: 1", ("error", "status")),
        (OPENAI, "x-farebox-key: ", ("error", "type")),
        (OPENAI, "Authorization: Bearer fbx_caf\xe9", ("error", "type")),
        ("/v1/chat/completions", "Authorization: Bearer fbx_nonsense", ("error", "type")),
    ],
)
def test_who_is_unknown_gets_401_in_the_providers_shape_and_nothing_is_forwarded_or_recorded(
    gateway: Start, path: str, line: str, shape: tuple[str, str]
) -> None:
    worker, upstream = gateway()
    answer = send(worker, line, path=path)
    assert answer.status == 401 and code(answer) == "invalid_key"
    assert shape[1] in answer.json[shape[0]]  # type: ignore[operator]
    assert upstream.connections == 0 and worker.records() == []


def test_a_valid_key_beside_an_unknown_named_one_does_not_help(gateway: Start) -> None:
    worker, _ = gateway()
    assert send(worker, "x-farebox-key: fbx_unknown", f"Authorization: Bearer {worker.key}").status == 401


def test_a_key_given_twice_is_ambiguous(gateway: Start) -> None:
    worker, upstream = gateway()
    line = f"Authorization: Bearer {worker.key}"
    assert send(worker, line, line).status == 400
    assert upstream.connections == 0


def test_revocation_and_expiry_are_in_force_within_a_second(gateway: Start) -> None:
    worker, _ = gateway()
    row, key = worker.directory.keys.create(KeySpec(name="short"))
    assert until(lambda: send(worker, f"Authorization: Bearer {key}").status == 200, 1)
    worker.directory.keys.revoke(row.id)
    assert until(lambda: send(worker, f"Authorization: Bearer {key}").status == 401, 1)
    _, brief = worker.directory.keys.create(KeySpec(name="brief", expires_at_us=int((time.time() + 1.2) * 1e6)))
    assert until(lambda: send(worker, f"Authorization: Bearer {brief}").status == 200, 1)
    assert until(lambda: send(worker, f"Authorization: Bearer {brief}").status == 401, 2)
    assert send(worker, f"Authorization: Bearer {worker.key}").status == 200


def test_a_new_credential_is_in_force_within_a_second(gateway: Start) -> None:
    worker, upstream = gateway()
    worker.directory.providers.set("openai", credential="sk-rotated")
    assert until(lambda: ask(worker, call(worker, CHAT)) and b"sk-rotated" in upstream.requests[-1], 2)


REFUSED = {
    "another provider": ({"providers": ("anthropic",)}, OPENAI, CHAT, "route_not_allowed"),
    "another model": ({"models": ("gpt-4.1-nano", "o*")}, OPENAI, CHAT, "model_not_allowed"),
    "no model": ({"models": ("gpt-*",)}, OPENAI, b'{"messages":[]}', "model_not_allowed"),
    "no JSON": ({"models": ("gpt-*",)}, OPENAI, b"model=gpt-4", "model_not_allowed"),
    "a model that is no text": ({"models": ("gpt-*",)}, OPENAI, b'{"model":["gpt-4.1"]}', "model_not_allowed"),
    "a model in the path": ({"models": ("gpt-*",)}, GEMINI, GEMINI_BODY, "model_not_allowed"),
    "another route": ({"routes": ("/v1/embeddings",)}, OPENAI, CHAT, "route_not_allowed"),
    "an escaped route": ({"routes": ("/v1/embed*",)}, "/proxy/openai/v1/ch%61t/completions", CHAT, "route_not_allowed"),
    "an admin route": ({}, "/proxy/openai/v1/organization/projects", b"{}", "route_not_allowed"),
    "an escaped admin route": ({}, "/proxy/openai/v1/%6frganization/projects", b"{}", "route_not_allowed"),
    "a doubly escaped admin route": ({}, "/proxy/openai/v1/%256frganization/x", b"{}", "route_not_allowed"),
    "stored objects": ({"bind": {"tenant": "acme"}}, "/proxy/openai/v1/files", b"{}", "route_not_allowed"),
    "an unknown route": ({"bind": {"tenant": "acme"}}, "/proxy/openai/v1/novel", b"{}", "route_not_allowed"),
    "a missing dimension": ({"require": ("user", "feature")}, OPENAI, CHAT, "attribution_missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_key_may_not_is_refused_recorded_and_not_forwarded(gateway: Start, what: str) -> None:
    spec, path, body, expected = REFUSED[what]
    worker, upstream = gateway()
    key = worker.new_key(**spec)
    answer = send(worker, f"Authorization: Bearer {key}", path=path, body=body)
    assert answer.status in (400, 403) and code(answer) == expected
    assert upstream.connections == 0
    [(kind, head, tail)] = worker.records()
    assert kind == 4 and tail is not None and not isinstance(head, str)
    assert (tail.state, tail.error, tail.cost) == ("refused", expected, None)
    assert head.tenant == spec.get("bind", {}).get("tenant")


def test_what_a_key_may_passes(gateway: Start) -> None:
    worker, _ = gateway()
    key = worker.new_key(
        providers=("openai",), models=("gpt-4.1*",), routes=("/v1/chat/*",), require=("user",), bind={"tenant": "acme"}
    )
    assert send(worker, f"Authorization: Bearer {key}", "x-user-id: u1").status == 200
    [(head, _)] = worker.finished()
    assert (head.tenant, head.user) == ("acme", "u1")


def test_a_key_with_allow_objects_may_make_them(gateway: Start) -> None:
    worker, _ = gateway()
    key = worker.new_key(bind={"tenant": "acme"}, allow_objects=True)
    assert send(worker, f"Authorization: Bearer {key}", path="/proxy/openai/v1/files", body=b"x").status == 200
    other = send(worker, f"Authorization: Bearer {key}", path="/proxy/openai/v1/files", method="GET", body=b"")
    assert other.status == 403, "it would list what other tenants made"


def test_without_a_credential_nothing_is_sent_and_it_says_what_to_do(gateway: Start) -> None:
    worker, upstream = gateway(providers__openai={"base_url": "http://127.0.0.1:9"})
    answer = ask(worker, call(worker, CHAT))
    assert answer.status == 424 and code(answer) == "no_credential"
    assert b"farebox providers set openai" in answer.body
    assert upstream.connections == 0


def test_an_unknown_provider_is_a_404(gateway: Start) -> None:
    worker, _ = gateway()
    for path in ("/proxy/nobody/v1/x", "/api/proxy/nobody/v1/x", "/proxy/", "/proxy/%6fpenai/v1/models"):
        assert send(worker, f"Authorization: Bearer {worker.key}", path=path).status == 404
    assert worker.records() == []


def test_both_prefixes_and_a_left_out_version_lead_to_the_same_route(gateway: Start) -> None:
    worker, upstream = gateway()
    for path in (
        "/proxy/openai/v1/chat/completions", "/api/proxy/openai/v1/chat/completions",
        "/proxy/openai/chat/completions", "/api/proxy/openai/chat/completions?a=b",
    ):  # fmt: skip
        assert send(worker, f"Authorization: Bearer {worker.key}", path=path).status == 200
    lines = [request.split(b"\r\n")[0] for request in upstream.requests]
    assert lines == [b"POST /v1/chat/completions HTTP/1.1"] * 3 + [b"POST /v1/chat/completions?a=b HTTP/1.1"]


def test_open_access_needs_no_key_but_refuses_browsers_and_strange_hosts(gateway: Start) -> None:
    worker, upstream = gateway(server__auth="open")
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{worker.port}", "10.1.2.3", "[::1]:80", "LOCALHOST"):
        assert send(worker, host=host).status == 200, host
    count = len(upstream.requests)
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "8.8.8.8", "[2001:db9::1]", ""):
        assert send(worker, host=host).status in (400, 403), host
    assert send(worker, "Origin: http://localhost").status == 403
    assert send(worker, "Authorization: Bearer fbx_unknown").status == 401
    assert len(upstream.requests) == count
    assert {head.key_id for head, _ in worker.finished(count)} == {None}
    assert len(worker.records()) == 2 * count, "a stranger's refusal was recorded"


def test_a_browsers_navigation_is_refused_and_cookies_stay_here(gateway: Start) -> None:
    worker, upstream = gateway()
    answer = ask(worker, call(worker, CHAT, "Sec-Fetch-Mode: Navigate"))
    assert answer.status == 403
    assert upstream.connections == 0
    assert ask(worker, call(worker, CHAT, "Cookie: session=s3cret", "Sec-Fetch-Mode: cors")).body == ANSWER
    assert b"s3cret" not in upstream.requests[0]


def test_farebox_and_attribution_headers_stay_here(gateway: Start) -> None:
    own = (
        "x-tenant-id: t", "X-Customer-Id: t", "x-workspace-id: w", "x-user-id: u", "x-tier: pro", "x-feature: f",
        "x-task-id: k", "x-session-id: s", 'x-metering-tags: {"a":"b"}', "x-farebox-units: analyses=2",
        "x-farebox-anything: 1",
    )  # fmt: skip
    worker, upstream = gateway()
    assert ask(worker, call(worker, CHAT, *own, "X-Kept: 1")).status == 200
    sent = upstream.requests[0].lower()
    assert not any(line.split(":")[0].lower().encode() in sent for line in own)
    assert b"x-kept: 1" in sent


def test_health_and_pages_while_the_control_plane_is_down(gateway: Start) -> None:
    worker, _ = gateway()
    assert send(worker, path="/healthz", method="GET", body=b"").json == {"status": "ok"}
    assert send(worker, path="/readyz", method="GET", body=b"").status == 200
    for path in ("/", "/api/v1/usage", "/metrics"):
        with worker.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = read_answer(sock)
            assert answer.status == 502
            assert answer.json["error"]["code"] == "control_unavailable"  # type: ignore[index]
    assert send(worker, path="/api/v1/events", body=b"x" * 500_000).status == 502
