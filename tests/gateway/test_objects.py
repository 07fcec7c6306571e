"""Stored objects through the gateway: whose they are, who may name them, who is billed for them."""

import json
from collections.abc import Callable, Iterator

import pytest
from running_keeper import Keeper
from running_worker import CHAT, Answer, Running, Upstream
from scripted import ask, until
from storing_provider import BATCH_COST, RESPONSE_COST, StoringProvider

Start = Callable[..., tuple[Running, Upstream]]
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; '
    b'name="file"; filename="in.jsonl"\r\n\r\n%b\r\n--b--\r\n'
)


class Scene:
    """A worker, its keeper, a provider that stores, and keys of two tenants."""

    def __init__(self, gateway: Start, **settings: object) -> None:
        self.provider = StoringProvider()
        self.worker, self.upstream = gateway(self.provider.handler, **settings)
        self.keeper = Keeper(self.worker)
        self.acme = self.worker.new_key(bind={"tenant": "acme"}, allow_objects=True)
        self.globex = self.worker.new_key(bind={"tenant": "globex"}, allow_objects=True)
        self.plain = self.worker.new_key(bind={"tenant": "acme"})
        self.free = self.worker.key

    def call(self, key: str, method: str, path: str, body: object = None, *headers: str) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        name = path.partition("/")[0]
        target = f"/proxy/{path}" if name in ("anthropic", "gemini") else f"/proxy/openai/v1/{path}"
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"x-farebox-key: {key}", *headers]
        return ask(self.worker, "\r\n".join([*lines, f"Content-Length: {len(data)}"]).encode() + b"\r\n\r\n" + data)

    def make(self, key: str, path: str, body: object = None, *headers: str) -> str:
        made = self.call(key, "POST", path, body if body is not None else {}, *headers)
        assert made.status == 200, made.body
        return str(made.json["id"])

    def forget(self) -> None:
        """As another worker, or this one after a restart: it has seen nothing."""
        self.worker.worker.makers._tenants.clear()


@pytest.fixture
def scene(gateway: Start) -> Iterator[Scene]:
    found = Scene(gateway)
    yield found
    found.keeper.stop()


@pytest.fixture(params=["the worker that made them", "another worker"])
def seen(request: pytest.FixtureRequest, scene: Scene) -> Callable[[], None]:
    return scene.forget if request.param == "another worker" else lambda: None


def code(answer: Answer) -> str:
    return answer.json["farebox"]["code"]  # type: ignore[index,no-any-return]


def test_a_tenant_reaches_its_own_objects_and_nobody_elses(scene: Scene, seen: Callable[[], None]) -> None:
    file = scene.make(scene.acme, "files", FORM % b"{}")
    seen()
    assert scene.call(scene.acme, "GET", f"files/{file}").status == 200
    seen()
    sent = len(scene.upstream.requests)
    for method, path in [
        ("GET", f"files/{file}"),
        ("GET", f"files/{file}/content"),
        ("DELETE", f"files/{file}"),
        ("GET", f"files/%66ile-{file[5:]}"),
        ("GET", "files/file-unheard-of"),
        ("HEAD", f"files/{file}"),
    ]:
        refused = scene.call(scene.globex, method, path) if method != "HEAD" else None
        if refused is not None:
            assert refused.status == 404, path
            assert refused.json["error"]["type"] == "not_found_error" and code(refused) == "object_not_found"  # type: ignore[index]
    assert len(scene.upstream.requests) == sent, "nothing was forwarded"
    unheard = scene.call(scene.globex, "GET", "files/file-9").body.replace(b"file-9", b"X")
    theirs = scene.call(scene.globex, "GET", f"files/{file}").body.replace(file.encode(), b"X")
    assert unheard == theirs, "it cannot be told from one that does not exist"
    assert scene.call(scene.acme, "DELETE", f"files/{file}").status == 200
    assert scene.call(scene.acme, "GET", f"files/{file}").status == 404


def test_an_object_that_another_call_made_for_the_tenant_is_the_tenants(scene: Scene) -> None:
    file = scene.make(scene.free, "files", FORM % b"{}", "x-tenant-id: acme")
    assert scene.call(scene.acme, "GET", f"files/{file}").status == 200
    assert scene.call(scene.globex, "GET", f"files/{file}").status == 404
    assert scene.call(scene.free, "GET", f"files/{file}").status == 200, "a key that is bound to nobody sees all"


@pytest.mark.parametrize("path", ["files", "batches", "vector_stores", "chat/completions", "responses", "assistants"])
def test_lists_and_unknown_routes_are_closed_to_bound_keys(scene: Scene, path: str) -> None:
    for key, method, target in [
        (scene.acme, "GET", path),
        (scene.acme, "POST", "novel/route"),
        (scene.acme, "GET", "novel/route"),
        (scene.acme, "PUT", f"{path}/x"),
        (scene.plain, "GET", f"{path}/x"),
    ]:
        answer = scene.call(key, method, target)
        assert (answer.status, code(answer)) == (403, "route_not_allowed"), (method, target)
    assert scene.upstream.requests == []


def references_to(file: str, response: str) -> dict[str, tuple[str, object]]:
    content = [{"role": "user", "content": [{"type": "input_file", "file_id": file}]}]
    return {
        "an earlier response": ("responses", {"model": "gpt-4.1-mini", "previous_response_id": response}),
        "a file": ("responses", {"model": "gpt-4.1-mini", "input": content}),
        "a file in a chat": ("chat/completions", {"messages": [{"content": [{"file": {"file_id": file}}]}]}),
        "a conversation": ("responses", {"conversation": {"id": response}}),
        "a conversation by its id": ("responses", {"conversation": response}),
        "an item": ("responses", {"input": [{"type": "item_reference", "id": response}]}),
        "an item without a type": ("responses", {"input": [{"id": response}]}),
        "reasoning that only the provider has": ("responses", {"input": [{"type": "reasoning", "id": response}]}),
        "a batch's input": ("batches", {"input_file_id": file, "endpoint": "/v1/chat/completions"}),
        "a vector store": ("responses", {"tools": [{"type": "file_search", "vector_store_ids": [file]}]}),
        "a container": ("responses", {"tools": [{"type": "code_interpreter", "container": file}]}),
        "a container's files": ("responses", {"tools": [{"container": {"type": "auto", "file_ids": [file]}}]}),
        "training": ("fine_tuning/jobs", {"training_file": file}),
        "an escaped name": ("responses", b'{"previous_\\u0072esponse_id":"%b"}' % response.encode()),
        "a name given twice": (
            "responses", b'{"previous_response_id":"%b","previous_response_id":null}' % response.encode()
        ),
        "another encoding": ("responses", json.dumps({"previous_response_id": response}).encode("utf-16")),
        "a line of a batch's input": (
            "files", FORM % json.dumps({"body": {"previous_response_id": response}}).encode()
        ),
        "a message's file": ("anthropic/v1/messages", {"messages": [{"content": [{"source": {"file_id": file}}]}]}),
        "a batch of messages": ("anthropic/v1/messages/batches", {"requests": [{"params": {"container": file}}]}),
        "a cache": ("gemini/v1beta/models/gemini-2.5-flash:generateContent", {"cachedContent": file}),
    }  # fmt: skip


@pytest.mark.parametrize("what", references_to("", ""))
def test_a_call_that_names_anothers_object_is_answered_as_if_there_were_none(scene: Scene, what: str) -> None:
    file = scene.make(scene.acme, "files", FORM % b"{}")
    response = scene.make(scene.acme, "responses", {"model": "gpt-4.1-mini", "background": True})
    path, body = references_to(file, response)[what]
    sent = len(scene.upstream.requests)
    refused = scene.call(scene.globex, "POST", path, body)
    assert (refused.status, code(refused)) == (404, "object_not_found")
    assert len(scene.upstream.requests) == sent
    assert scene.keeper.events()[-1]["state"] == "refused"
    if path.startswith(("anthropic", "gemini")):
        return  # the object is one of OpenAI's
    assert scene.call(scene.acme, "POST", path, body).status == 200
    assert scene.call(scene.free, "POST", path, body).status == 200


def test_an_unbound_or_inference_only_key_needs_no_permission_to_go_on_with_its_own(scene: Scene) -> None:
    response = scene.make(scene.plain, "responses", {"model": "gpt-4.1-mini"})
    again = {"model": "gpt-4.1-mini", "previous_response_id": response}
    assert scene.call(scene.plain, "POST", "responses", again).status == 200
    assert scene.call(scene.plain, "GET", f"responses/{response}").status == 403


INNOCENT: dict[str, object] = {
    "metadata": {"metadata": {"file_id": "x"}},
    "a tool's schema": {"tools": [{"parameters": {"properties": {"file_id": {"type": "string"}}}}]},
    "a tool's input": {"messages": [{"content": [{"type": "tool_use", "input": {"file_id": "x"}}]}]},
    "a function's arguments": {"contents": [{"parts": [{"functionCall": {"args": {"container": "x"}}}]}]},
    "text": {"input": 'say {"previous_response_id": "x"}'},
    "a page elsewhere": {"fileData": {"fileUri": "https://youtu.be/x"}},
    "nothing": {"previous_response_id": None, "conversation": "", "vector_store_ids": []},
    "encrypted reasoning": {"input": [{"type": "reasoning", "id": "x", "encrypted_content": "abc"}]},
    "an item with its content": {"input": [{"type": "message", "id": "x", "role": "assistant", "content": "hi"}]},
    "a call and its result": {"input": [{"type": "function_call", "id": "x", "name": "f", "arguments": "{}"}]},
}


@pytest.mark.parametrize("what", INNOCENT)
def test_what_only_looks_like_an_object_passes(scene: Scene, what: str) -> None:
    assert scene.call(scene.globex, "POST", "responses", INNOCENT[what]).status == 200


def test_a_body_that_may_name_objects_and_cannot_be_read_is_refused(scene: Scene) -> None:
    broken = b'{"previous_response_id":"x",,}'
    packed = (b"x", "Content-Encoding: gzip")
    deep = b'{"previous_response_id":' + b"[" * 200_000
    for body, *headers in ((broken,), packed, (deep,)):
        answer = scene.call(scene.acme, "POST", "responses", body, *headers)  # type: ignore[arg-type]
        assert (answer.status, code(answer)) == (400, "invalid_request")
    assert scene.upstream.requests == []


def test_while_the_keeper_is_down_what_is_not_known_is_refused_and_nothing_is_open(gateway: Start) -> None:
    scene = Scene(gateway, server__objects_wait_s=0.3)
    file = scene.make(scene.acme, "files", FORM % b"{}")
    scene.keeper.stop()
    scene.forget()
    for key in (scene.acme, scene.globex):
        answer = scene.call(key, "GET", f"files/{file}")
        assert (answer.status, code(answer)) == (503, "objects_unavailable")
        assert answer.headers["retry-after"] == "1"
    assert scene.call(scene.acme, "POST", "chat/completions", CHAT).status == 200, "other calls do not notice"
    scene.keeper = Keeper(scene.worker)
    assert scene.call(scene.acme, "GET", f"files/{file}").status == 200
    scene.keeper.stop()


def test_a_keeper_that_hangs_is_waited_for_in_bounds_and_callers_may_leave(gateway: Start) -> None:
    scene = Scene(gateway, server__objects_wait_s=0.5)
    with scene.keeper.ledger._ingesting:
        assert scene.call(scene.acme, "GET", "files/file-1").status == 503
        sock = scene.worker.connect()
        sock.sendall(b"GET /proxy/openai/v1/files/file-1 HTTP/1.1\r\nHost: localhost\r\nx-farebox-key: ")
        sock.sendall(scene.acme.encode() + b"\r\n\r\n")
        assert until(lambda: scene.worker.worker.exchanges)
        sock.close()
        assert until(lambda: not scene.worker.worker.exchanges)
    assert scene.upstream.requests == []
    scene.keeper.stop()


def test_a_background_response_is_billed_once_to_its_maker_whoever_polls(
    scene: Scene, seen: Callable[[], None]
) -> None:
    asked = {"model": "gpt-4.1-mini", "background": True}
    response = scene.make(scene.free, "responses", asked, "x-tenant-id: acme", "x-user-id: u_1", "x-feature: report")
    for key in (scene.free, scene.acme, scene.free, scene.free):
        seen()
        assert scene.call(key, "GET", f"responses/{response}", None).status == 200
    scene.call(scene.free, "POST", f"responses/{response}/cancel", {}, "x-tenant-id: ops")
    assert scene.keeper.spend() == {"acme": RESPONSE_COST}
    [billed] = [event for event in scene.keeper.events() if event["cost_usd"] not in (None, "0.000000000000")]
    assert (billed["tenant"], billed["user"], billed["feature"]) == ("acme", "u_1", "report")


def test_a_batch_is_billed_once_to_who_made_it_by_the_lines_of_its_results(scene: Scene) -> None:
    file = scene.make(scene.free, "files", FORM % b"{}", "x-tenant-id: uploader")
    batch = scene.make(scene.free, "batches", {"input_file_id": file}, "x-tenant-id: acme", "x-feature: nightly")
    done = scene.call(scene.free, "GET", f"batches/{batch}", None, "x-tenant-id: ops")
    results = f"files/{done.json['output_file_id']}/content"
    for _ in range(3):
        assert scene.call(scene.free, "GET", results, None, "x-tenant-id: ops").status == 200
    assert scene.call(scene.acme, "GET", results).status == 200, "its results are its maker's"
    assert scene.call(scene.globex, "GET", results).status == 404
    assert scene.keeper.spend() == {"acme": BATCH_COST}
    assert {event["feature"] for event in scene.keeper.events() if "billed_to_maker" in event["marks"]} == {"nightly"}


def test_anthropics_batch_is_billed_once_to_who_made_it(scene: Scene) -> None:
    batch = scene.make(scene.acme, "anthropic/v1/messages/batches", {"requests": []})
    for key in (scene.free, scene.acme, scene.free):
        assert scene.call(key, "GET", f"anthropic/v1/messages/batches/{batch}/results").status == 200
    assert scene.call(scene.globex, "GET", f"anthropic/v1/messages/batches/{batch}/results").status == 404
    refused = scene.call(scene.globex, "POST", f"anthropic/v1/messages/batches/{batch}/cancel", {})
    assert refused.status == 404 and refused.json["type"] == "error"
    assert scene.keeper.spend().keys() == {"acme"}


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def join(scene: Scene, key: str, query: str) -> Answer:
    """The answer to a handshake that joins a call. This provider has no sessions: whatever reaches it gets its 404."""
    lines = [f"GET /proxy/openai/v1/realtime?{query} HTTP/1.1", "Host: localhost", f"x-farebox-key: {key}", *UPGRADE]
    return ask(scene.worker, ("\r\n".join(lines) + "\r\n\r\n").encode())


def test_a_sideband_connection_joins_no_call_but_its_tenants(scene: Scene, seen: Callable[[], None]) -> None:
    begun = scene.call(scene.plain, "POST", "realtime/calls", b"v=0", "Content-Type: application/sdp")
    assert begun.status == 201
    call_id = begun.headers["location"].rpartition("/")[2]
    seen()
    sent = len(scene.upstream.requests)
    for query in (f"call_id={call_id}", f"model=gpt-realtime&call%5Fid={call_id}", "call_id=rtc_other", "call_id="):
        refused = join(scene, scene.globex, query)
        assert (refused.status, code(refused)) == (404, "object_not_found"), query
    ended = scene.call(scene.globex, "POST", f"realtime/calls/{call_id}/hangup")
    assert (ended.status, code(ended)) == (404, "object_not_found")
    assert len(scene.upstream.requests) == sent, "nothing was forwarded"
    own = join(scene, scene.plain, f"call_id={call_id}")
    assert own.status == 404 and "farebox" not in own.json
    free = join(scene, scene.free, "call_id=rtc_other")
    assert free.status == 404 and "farebox" not in free.json
    assert len(scene.upstream.requests) == sent + 2


def test_objects_of_a_callers_own_account_are_kept_apart(scene: Scene) -> None:
    own = "Authorization: Bearer sk-own"
    file = scene.make(scene.acme, "files", FORM % b"{}")
    assert scene.call(scene.acme, "GET", f"files/{file}", None, own).status == 404
    assert scene.call(scene.acme, "GET", f"files/{file}").status == 200


def test_an_upload_that_is_looked_through_is_bounded(gateway: Start) -> None:
    scene = Scene(gateway, server__body_bytes_max=300_000)
    assert scene.call(scene.acme, "POST", "files", FORM % (b"x" * 280_000)).status == 200
    assert scene.call(scene.acme, "POST", "files", FORM % (b"x" * 310_000)).status == 413
    assert scene.call(scene.free, "POST", "files", FORM % (b"x" * 310_000)).status == 200
    scene.keeper.stop()
