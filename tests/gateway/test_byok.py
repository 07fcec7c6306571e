"""Bring your own key: the caller's credential passes unchanged, is marked, and never meets the stored one."""

from collections.abc import Callable

import pytest
from running_worker import CHAT, Running, Upstream
from scripted import GEMINI_BODY, ask

Start = Callable[..., tuple[Running, Upstream]]
GEMINI = "/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent"


def send(worker: Running, path: str, *headers: str, body: bytes = CHAT):  # type: ignore[no-untyped-def]
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}"]
    return ask(worker, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


OWN = {
    "openai": ("/proxy/openai/v1/chat/completions", "AUTHORIZATION: Bearer sk-own", CHAT),
    "anthropic": ("/proxy/anthropic/v1/messages", "X-Api-Key: sk-own", CHAT),
    "gemini": (GEMINI, "x-goog-api-key: sk-own", GEMINI_BODY),
    "v1": ("/v1/chat/completions", "Authorization: Bearer sk-own", CHAT),
}


@pytest.mark.parametrize("where", OWN)
def test_the_callers_credential_passes_as_it_came(gateway: Start, where: str) -> None:
    path, line, body = OWN[where]
    worker, upstream = gateway()
    assert send(worker, path, f"x-farebox-key: {worker.key}", line, "X-Kept: 1", body=body).status == 200
    [request] = upstream.requests
    assert line.encode() + b"\r\n" in request
    assert b"sk-stored" not in request and b"fbx_" not in request
    [(head, _)] = worker.finished()
    assert head.byok and head.key_id


def test_a_credential_in_the_query_passes_too(gateway: Start) -> None:
    worker, upstream = gateway()
    assert send(worker, GEMINI + "?key=AIza-own&x=1", f"x-farebox-key: {worker.key}", body=GEMINI_BODY).status == 200
    assert b"?key=AIza-own&x=1 HTTP" in upstream.requests[0] and b"sk-stored" not in upstream.requests[0]
    assert worker.finished()[0][0].byok


@pytest.mark.parametrize("nothing", ["X-Other: 1", "Authorization: Bearer ", "x-api-key:"])
def test_without_one_the_stored_credential_is_used(gateway: Start, nothing: str) -> None:
    worker, upstream = gateway()
    assert send(worker, OWN["openai"][0], f"x-farebox-key: {worker.key}", nothing).status == 200
    assert upstream.requests[0].count(b"sk-stored") == 1
    assert not worker.finished()[0][0].byok


def test_a_credential_beside_a_farebox_key_in_its_place_is_dropped(gateway: Start) -> None:
    worker, upstream = gateway()
    assert send(worker, OWN["openai"][0], f"Authorization: Bearer {worker.key}", "api-key: sk-own").status == 200
    assert send(worker, GEMINI + "?key=AIza-own", f"x-goog-api-key: {worker.key}", body=GEMINI_BODY).status == 200
    assert send(worker, GEMINI + "?k%65y=AIza-own", f"x-goog-api-key: {worker.key}", body=GEMINI_BODY).status == 200
    for request in upstream.requests:
        assert request.count(b"sk-stored") == 1
        assert b"sk-own" not in request and b"AIza" not in request
    assert not any(head.byok for head, _ in worker.finished(3))


def test_admin_routes_are_open_to_the_callers_own_credential_only(gateway: Start) -> None:
    worker, upstream = gateway()
    path = "/proxy/openai/v1/organization/projects"
    assert send(worker, path, f"x-farebox-key: {worker.key}", "Authorization: Bearer sk-admin").status == 200
    assert send(worker, path, f"x-farebox-key: {worker.key}").status == 403
    assert len(upstream.requests) == 1


def test_restrictions_and_bindings_hold_with_ones_own_credential(gateway: Start) -> None:
    worker, upstream = gateway()
    key = worker.new_key(models=("o3",), bind={"tenant": "acme"})
    line = f"x-farebox-key: {key}"
    assert send(worker, OWN["openai"][0], line, "Authorization: Bearer sk-own").status == 403
    assert send(worker, "/proxy/openai/v1/files", line, "Authorization: Bearer sk-own").status == 403
    assert upstream.connections == 0


def test_open_access_with_ones_own_credential(gateway: Start) -> None:
    worker, upstream = gateway(server__auth="open")
    assert send(worker, OWN["openai"][0], "Authorization: Bearer sk-own").status == 200
    assert b"Bearer sk-own" in upstream.requests[0] and b"sk-stored" not in upstream.requests[0]
    assert worker.finished()[0][0].byok
