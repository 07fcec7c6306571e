"""Plain curl against the gateway: attribution by headers, tags and body, and what is refused unspent."""

import json
import shutil
import subprocess
import time
from typing import Any, NamedTuple

import pytest
from evidence import expect_metered, new_mark, truth
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not installed")
CHAT = "/proxy/openai/v1/chat/completions"


class Reply(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def curl(server: Farebox, path: str, *arguments: str, data: bytes | None = None) -> Reply:
    """POST (where there is data) or GET; the status and the body as it came."""
    assert CURL is not None
    command = [CURL, "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", "--write-out", "\n%{http_code}"]
    if data is not None:
        command += ["--data-binary", "@-", "--header", "content-type: application/json"]
    for argument in arguments:
        command += ["--header", argument]
    done = subprocess.run([*command, server.url + path], input=data or b"", capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    body, _, status = done.stdout.rpartition(b"\n")
    return Reply(int(status), body)


def chat(mark: str, **fields: object) -> bytes:
    content = directive(mark, input=50, output=10)
    return json.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": content}], **fields}).encode()


def bearer(key: Key) -> str:
    return f"authorization: Bearer {key.secret}"


@pytest.fixture(scope="module")
def acme_key(server: Farebox) -> Key:
    """A key bound to the tenant acme."""
    return server.key("acme", "--bind", "tenant=acme")


def test_headers_attribute_a_call(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    reply = curl(
        server, CHAT, bearer(key), f"x-task-id: {mark}", "x-tenant-id: acme", "x-workspace-id: w1", "x-user-id: u_77",
        "x-tier: pro", "x-feature: summarize", "x-session-id: s9",
        'x-metering-tags: {"region":"eu","seats":3,"beta":true}', data=chat(mark),
    )  # fmt: skip
    assert reply.status == 200
    assert reply.json["usage"]["total_tokens"] == 60
    expect_metered(
        server, simulated, mark, tenant="acme", workspace="w1", user="u_77", tier="pro", feature="summarize",
        session="s9", tags={"region": "eu", "seats": 3, "beta": True},
    )  # fmt: skip


def test_other_header_names_are_taken(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    reply = curl(server, CHAT, bearer(key), f"x-task-id: {mark}", "x-customer-id: acme", data=chat(mark))
    assert reply.status == 200
    expect_metered(server, simulated, mark, tenant="acme")


def test_headers_go_before_tags_and_tags_before_the_body(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    mark = new_mark()
    tags = 'x-metering-tags: {"tenant":"from-tags","feature":"from-tags","plan":"x"}'
    body = chat(mark, tenant_id="from-body", feature="from-body", user_id="from-body")
    assert (
        curl(server, CHAT, bearer(key), f"x-task-id: {mark}", "x-tenant-id: from-header", tags, data=body).status == 200
    )
    expect_metered(server, simulated, mark, tenant="from-header", feature="from-tags", user="from-body")


def test_body_fields_attribute_and_are_taken_out_again(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    mark = new_mark()
    plain = chat(mark, temperature=0.5)
    body = plain[:-1] + b', "tenant_id": "acme", "feature" : "translate","task_id":"%s"}' % mark.encode()
    assert curl(server, CHAT, bearer(key), data=body).status == 200
    served = truth(simulated, mark)
    assert json.loads(served.body) == json.loads(plain)
    assert served.body.startswith(plain[:-1])
    expect_metered(server, simulated, mark, tenant="acme", feature="translate")


def test_fields_that_the_provider_knows_stay(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    body = chat(mark, user="u_5")
    assert curl(server, CHAT, bearer(key), f"x-task-id: {mark}", data=body).status == 200
    assert truth(simulated, mark).body == body
    expect_metered(server, simulated, mark, user="u_5")


def test_an_unchanged_body_arrives_byte_for_byte(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    body = chat(mark).replace(b'"model": ', b'"model"\t:\n  ')
    assert curl(server, CHAT, bearer(key), f"x-task-id: {mark}", data=body).status == 200
    assert truth(simulated, mark).body == body


def test_the_version_prefix_may_be_left_out_and_the_other_mount_works(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    for path in ("/proxy/openai/chat/completions", "/api/proxy/openai/v1/chat/completions", "/v1/chat/completions"):
        mark = new_mark()
        assert curl(server, path, bearer(key), f"x-task-id: {mark}", data=chat(mark)).status == 200
        assert truth(simulated, mark).path == "/v1/chat/completions"


def test_a_bound_dimension_fills_in_what_is_missing(
    server: Farebox, simulated: SimulatedProviders, acme_key: Key
) -> None:
    mark = new_mark()
    assert curl(server, CHAT, bearer(acme_key), f"x-task-id: {mark}", data=chat(mark)).status == 200
    expect_metered(server, simulated, mark, tenant="acme")


@pytest.mark.parametrize("source", ["header", "tags", "body"])
def test_contradicting_a_bound_dimension_is_403(
    server: Farebox, simulated: SimulatedProviders, acme_key: Key, source: str
) -> None:
    mark = new_mark()
    header = {"header": "x-tenant-id: globex", "tags": 'x-metering-tags: {"customer":"globex"}'}.get(
        source, "x-tier: a"
    )
    body = chat(mark, **({"tenant_id": "globex"} if source == "body" else {}))
    reply = curl(server, CHAT, bearer(acme_key), header, data=body)
    assert (reply.status, reply.json["error"]["code"]) == (403, "attribution_conflict")
    assert simulated.served(mark) == []


def test_a_header_given_twice_is_400(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    reply = curl(server, CHAT, bearer(key), "x-tenant-id: acme", "x-tenant-id: acme", data=chat(mark))
    assert reply.status == 400
    assert simulated.served(mark) == []


@pytest.mark.parametrize(
    "tags", ["{", "[]", '{"a":{"b":1}}', '{"a":null}', json.dumps({f"k{i}": i for i in range(33)})]
)
def test_malformed_tags_are_400_before_anything_is_spent(
    server: Farebox, simulated: SimulatedProviders, key: Key, tags: str
) -> None:
    mark = new_mark()
    reply = curl(server, CHAT, bearer(key), f"x-metering-tags: {tags}", data=chat(mark))
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_tags")
    assert simulated.served(mark) == []


def test_without_a_key_401_and_nothing_is_forwarded(server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    reply = curl(server, CHAT, data=chat(mark))
    assert reply.status == 401
    assert reply.json["error"]["code"] == "invalid_key"
    assert simulated.served(mark) == []


def test_a_revoked_key_is_refused_within_a_second(server: Farebox, simulated: SimulatedProviders) -> None:
    key = server.key("short-lived")
    mark = new_mark()
    assert curl(server, CHAT, bearer(key), data=chat(mark)).status == 200
    server.cli("keys", "revoke", key.id)
    deadline = time.monotonic() + 1
    while (status := curl(server, CHAT, bearer(key), data=chat(new_mark())).status) == 200:
        assert time.monotonic() < deadline
    assert status == 401


def test_the_key_in_each_providers_own_place(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    gemini = json.dumps({"contents": [{"parts": [{"text": directive(input=5)}]}]}).encode()
    path = "/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    assert curl(server, f"{path}?key={key.secret}", data=gemini).status == 200
    assert curl(server, path, f"x-goog-api-key: {key.secret}", data=gemini).status == 200
    served = [served for served in simulated.served() if served.provider == "gemini"][-2:]
    assert all(key.secret not in repr(request) for request in served)
    mark = new_mark()
    message = json.dumps(json.loads(chat(mark)) | {"model": "claude-haiku-4-5", "max_tokens": 64}).encode()
    arguments = (f"x-api-key: {key.secret}", "anthropic-version: 2023-06-01", f"x-task-id: {mark}")
    assert curl(server, "/proxy/anthropic/v1/messages", *arguments, data=message).status == 200
    expect_metered(server, simulated, mark, provider="anthropic")


def test_gemini_array_framing_is_metered(server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    text = directive(mark, input=40, output=20, reasoning=9, chunk_ms=1)
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": text}]}]}).encode()
    path = "/proxy/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    reply = curl(server, path, f"x-goog-api-key: {key.secret}", f"x-task-id: {mark}", data=body)
    assert len(reply.json) > 2
    expect_metered(server, simulated, mark)


def test_a_compressed_answer_is_metered_while_the_client_gets_the_original_bytes(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    mark = new_mark()
    content = directive(mark, input=50, output=10, gzip=True)
    body = json.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": content}]}).encode()
    reply = curl(server, CHAT, bearer(key), f"x-task-id: {mark}", "accept-encoding: gzip", data=body)
    assert reply.body[:2] == b"\x1f\x8b"
    expect_metered(server, simulated, mark)


def test_a_stream_that_the_provider_cuts_is_kept_with_an_estimate(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    assert CURL is not None
    mark = new_mark()
    content = directive(mark, input=50, output=40, cut_after=6)
    fields = {"model": "gpt-4.1-mini", "stream": True, "messages": [{"role": "user", "content": content}]}
    headers = (bearer(key), f"x-task-id: {mark}", "content-type: application/json")
    command = [CURL, "-sN", "--noproxy", "*", *(word for header in headers for word in ("-H", header))]
    command += ["-d", json.dumps(fields), server.url + CHAT]
    done = subprocess.run(command, capture_output=True, timeout=30)
    assert done.returncode != 0
    assert b"[DONE]" not in done.stdout
    truth(simulated, mark)
    event = server.the_event(task=mark)
    assert (event["state"], event["cost_source"]) == ("upstream_error", "estimated")
    assert event["cost_usd"] > "0"
