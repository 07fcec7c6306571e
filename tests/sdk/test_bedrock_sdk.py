"""boto3's bedrock-runtime client, unchanged but for its endpoint, against a small service that speaks the wire format
and checks each signature with AWS' own signer."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from certificates import Authority
from event_stream import chunk, converse, exception
from running_worker import Running

HELD = ("AKIAFAREBOXHELD00001", "held/secret+key", "held-session-token==")
REGION = "eu-west-1"
CONVERSE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]
USAGE = {"inputTokens": 12, "outputTokens": 7, "totalTokens": 119, "cacheReadInputTokens": 100}
INVOKED = {"generation": "hi", "prompt_token_count": 9, "generation_token_count": 4, "stop_reason": "stop"}
METRICS = {"inputTokenCount": 9, "outputTokenCount": 4}


class Service(BaseHTTPRequestHandler):
    """A region of Bedrock. What it was called with stands in `seen`."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]] = []
    streams: dict[str, bytes] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        problem = signature_problem(self, body)
        self.seen.append({"path": self.path, "headers": dict(self.headers), "body": body, "problem": problem})
        if problem:
            self._json(403, {"message": problem}, ("x-amzn-errortype", "InvalidSignatureException:http://aws/"))
            return
        model, _, action = unquote(self.path).removeprefix("/model/").rpartition("/")
        if model == "throttled":
            self._json(429, {"message": "Too many requests"}, ("x-amzn-errortype", "ThrottlingException:http://aws/"))
        elif action == "converse":
            answer = {"output": {"message": {"role": "assistant", "content": [{"text": "hello there"}]}}}
            facts = {"stopReason": "end_turn", "usage": USAGE, "metrics": {"latencyMs": 1}}
            self._json(200, {**answer, **facts, "serviceTier": {"type": "default"}})
        elif action == "invoke":
            self._json(200, INVOKED, *((f"X-Amzn-Bedrock-{n}-Token-Count", str(c)) for n, c in TOKENS.items()))
        else:
            self._stream(self.streams.get(model) or STREAMS[action])

    def _json(self, status: int, content: object, *headers: tuple[str, str]) -> None:
        self._send(status, json.dumps(content).encode(), ("content-type", "application/json"), *headers)

    def _stream(self, data: bytes) -> None:
        self._send(200, data, ("content-type", "application/vnd.amazon.eventstream"))

    def _send(self, status: int, data: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("content-length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


TOKENS = {"Input": 9, "Output": 4}
STREAMS = {
    "converse-stream": converse("hel", "lo", usage=USAGE),
    "invoke-with-response-stream": chunk({"generation": "hi"})
    + chunk({"generation": "", "stop_reason": "stop", "amazon-bedrock-invocationMetrics": METRICS}),
}


def signature_problem(call: BaseHTTPRequestHandler, body: bytes) -> str | None:
    """What AWS would find wrong with a request's credential."""
    given = call.headers.get("authorization", "")
    if given == "Bearer bedrock-api-key-held":
        return None
    if not given.startswith("AWS4-HMAC-SHA256 "):
        return f"no signature: {given}"
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    wanted = {"host", "x-amz-date", *(name.lower() for name in call.headers if name.lower().startswith("x-amz-"))}
    if not wanted <= set(signed):
        return f"not signed: {wanted - set(signed)}"
    request = AWSRequest(
        "POST",
        f"http://{call.headers['host']}{call.path}",
        {name: call.headers[name] for name in signed if name not in ("host", "x-amz-date", "x-amz-security-token")},
        body,
    )
    request.context["timestamp"] = call.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(*HELD), "bedrock", REGION)
    request.headers["X-Amz-Date"] = call.headers["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = call.headers["x-amz-security-token"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    expected = signer.signature(text, request)
    return None if given.endswith(f"Signature={expected}") else "the signature does not match"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def running(data: Path, upstream: str, credential: str, **changes: object) -> Running:
    entry = {"base_url": upstream, "credential": credential, "region": REGION}
    return Running(data, upstream, providers__bedrock=entry, **changes)


@pytest.fixture(scope="module")
def signing(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A worker that holds an AWS access key with a session token. It speaks https: boto3 sends bearer tokens nowhere
    else."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    certificate, key = (str(path) for path in authority.leaf())
    data = tmp_path_factory.mktemp("signing")
    worker = running(data, upstream, ":".join(HELD), server__tls_cert=certificate, server__tls_key=key)
    TRUSTED[worker.port] = str(authority.ca_file)
    yield worker
    worker.stop()


@pytest.fixture
def seen() -> list[dict[str, Any]]:
    Service.seen.clear()
    return Service.seen


TRUSTED: dict[int, str] = {}
"""What to trust at the ports that speak https."""


def options(worker: Running) -> dict[str, Any]:
    trusted = TRUSTED.get(worker.port)
    return {
        "endpoint_url": f"{'https' if trusted else 'http'}://localhost:{worker.port}/proxy/bedrock",
        "verify": trusted,
        "region_name": "us-east-1",
        "config": Config(retries={"total_max_attempts": 1}),
    }


def client(worker: Running, access_key: str = "AKIDEXAMPLEOFCALLERS", key: str | None = None) -> Any:
    """A boto3 client that signs with what it has; with `key` it also sends a Farebox key in a header of its own."""
    made = boto3.client(
        "bedrock-runtime",
        aws_access_key_id=access_key,
        aws_secret_access_key="the-callers-own",
        aws_session_token="the-callers-session",
        **options(worker),
    )
    if key is not None:
        made.meta.events.register("before-send.*", lambda request, **_: request.headers.update({"x-farebox-key": key}))
    return made


def bearer(worker: Running, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", worker.key)
    return boto3.client("bedrock-runtime", **options(worker))


@pytest.fixture(params=["bearer", "access key id", "header"])
def bedrock(request: pytest.FixtureRequest, signing: Running, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client in each of the ways in which it can carry a Farebox key."""
    if request.param == "bearer":
        return bearer(signing, monkeypatch)
    if request.param == "header":
        return client(signing, key=signing.key)
    return client(signing, access_key=signing.key)


def last(worker: Running, before: int) -> Any:
    """The tail of the one event since then."""
    return worker.finished(before + 1)[-1][1]


def count(worker: Running) -> int:
    return sum(1 for kind, *_ in worker.records() if kind == 2)


def test_converse(bedrock: Any, signing: Running, seen: list[dict[str, Any]]) -> None:
    before = count(signing)
    answer = bedrock.converse(modelId=CONVERSE, messages=MESSAGES, inferenceConfig={"maxTokens": 64})
    assert answer["output"]["message"]["content"] == [{"text": "hello there"}]
    tail = last(signing, before)
    assert tail.usage == {"input": 12, "cache_read": 100, "output": 7}
    assert (tail.model_billed, tail.service_tier, tail.cost_source) == (CONVERSE, "default", "computed")
    assert tail.cost == 12 * 1_100_000 + 100 * 110_000 + 7 * 5_500_000
    assert seen[-1]["problem"] is None
    assert signing.key not in repr(seen) and "the-callers" not in repr(seen)


def test_converse_stream(bedrock: Any, signing: Running, seen: list[dict[str, Any]]) -> None:
    before = count(signing)
    stream = bedrock.converse_stream(modelId=CONVERSE, messages=MESSAGES)["stream"]
    kinds = [next(iter(item)) for item in stream]
    assert kinds[-2:] == ["messageStop", "metadata"]
    tail = last(signing, before)
    assert tail.usage == {"input": 12, "cache_read": 100, "output": 7}
    assert tail.state == "done"


def test_invoke_model(bedrock: Any, signing: Running, seen: list[dict[str, Any]]) -> None:
    before = count(signing)
    body = json.dumps({"prompt": "hello", "max_gen_len": 10})
    answer = bedrock.invoke_model(modelId="meta.llama3-1-70b-instruct-v1:0", body=body)
    assert json.loads(answer["body"].read()) == INVOKED
    assert last(signing, before).usage == {"input": 9, "output": 4}
    assert seen[-1]["body"] == body.encode()


def test_invoke_model_with_response_stream(bedrock: Any, signing: Running, seen: list[dict[str, Any]]) -> None:
    before = count(signing)
    answer = bedrock.invoke_model_with_response_stream(modelId="meta.llama3-1-70b-instruct-v1:0", body=b"{}")
    texts = [json.loads(item["chunk"]["bytes"])["generation"] for item in answer["body"]]
    assert texts == ["hi", ""]
    assert last(signing, before).usage == {"input": 9, "output": 4}


def test_an_inference_profile_by_its_arn(signing: Running, seen: list[dict[str, Any]]) -> None:
    before = count(signing)
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CONVERSE}"
    client(signing, access_key=signing.key).converse(modelId=arn, messages=MESSAGES)
    tail = last(signing, before)
    assert (tail.model_billed, tail.cost_source) == (CONVERSE, "computed")
    assert seen[-1]["problem"] is None and "%3A" in seen[-1]["path"]


def test_the_services_throttling_passes_through(signing: Running) -> None:
    before = count(signing)
    bedrock = client(signing, access_key=signing.key)
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.converse(modelId="throttled", messages=MESSAGES)
    tail = last(signing, before)
    assert (tail.status, tail.state, tail.error, tail.cost) == (429, "upstream_error", "ThrottlingException", 0)


def test_an_exception_inside_a_stream_is_the_sdks_and_an_error_in_the_event(signing: Running) -> None:
    before = count(signing)
    begun = converse("hel")[: converse("hel").index(b"contentBlockStop")]
    Service.streams["broken"] = whole_messages(begun) + exception("modelStreamErrorException", "it broke")
    stream = client(signing, access_key=signing.key).converse_stream(modelId="broken", messages=MESSAGES)["stream"]
    with pytest.raises(ClientError, match="modelStreamErrorException"):
        list(stream)
    tail = last(signing, before)
    assert (tail.state, tail.error) == ("upstream_error", "modelStreamErrorException")


def whole_messages(data: bytes) -> bytes:
    """As many whole messages as `data` begins with."""
    position = 0
    while position + 4 <= len(data) and (size := int.from_bytes(data[position : position + 4])) <= len(data) - position:
        position += size
    return data[:position]


def test_an_unknown_key_is_an_error_of_the_sdks(signing: Running, seen: list[dict[str, Any]]) -> None:
    bedrock = client(signing, access_key="fbx_" + "0" * 43)
    with pytest.raises(ClientError) as caught:
        bedrock.converse(modelId=CONVERSE, messages=MESSAGES)
    assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"
    assert "farebox keys create" in caught.value.response["Error"]["Message"]
    assert seen == []


def test_a_key_that_may_not_call_bedrock_is_denied_access(signing: Running, seen: list[dict[str, Any]]) -> None:
    bedrock = client(signing, access_key=signing.new_key(providers=("openai",)))
    with pytest.raises(bedrock.exceptions.AccessDeniedException):
        bedrock.converse(modelId=CONVERSE, messages=MESSAGES)
    assert seen == []


def test_a_held_api_key_goes_as_a_bearer_token(upstream: str, tmp_path: Path, seen: list[dict[str, Any]]) -> None:
    worker = running(tmp_path, upstream, "bedrock-api-key-held")
    client(worker, access_key=worker.key).converse(modelId=CONVERSE, messages=MESSAGES)
    headers = {name.lower(): value for name, value in seen[-1]["headers"].items()}
    assert headers["authorization"] == "Bearer bedrock-api-key-held"
    assert not any(name.startswith("x-amz-") for name in headers)
    worker.stop()


def test_a_callers_own_signature_without_a_held_credential_is_refused_with_what_to_do(
    upstream: str, tmp_path: Path, seen: list[dict[str, Any]]
) -> None:
    worker = running(tmp_path, upstream, "")
    bedrock = client(worker, key=worker.key)
    with pytest.raises(bedrock.exceptions.ValidationException, match="can not be passed on"):
        bedrock.converse(modelId=CONVERSE, messages=MESSAGES)
    assert seen == []
    worker.stop()
