"""Our signatures against AWS' own signer."""

from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers import sigv4
from farebox.providers.sigv4 import AwsCredential, credential, signature, signer_of

AT_US = 1_763_722_800_123_456
STAMP = "20251121T110000Z"
WHO = AwsCredential("AKIDEXAMPLE000000001", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

PATHS = [
    "/model/amazon.nova-micro-v1%3A0/converse",
    "/model/us.amazon.nova-2-lite-v1:0/converse-stream",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Ainference-profile%2Fus.anthropic.claude-v2%3A1/invoke",
    "/model/a%20b/invoke",
    "/model/~tilde-._/invoke",
    "/a//b/./c/../d/",
    "/",
    "/model/ünï/invoke".encode().decode("latin-1"),
    "/model/100%25/invoke",
]
QUERIES = ["", "b=2&a=1", "a=1&a=0", "flag", "flag=&x=%20y", "x=a%2Fb&x=a", "=v&k="]


def theirs(who: AwsCredential, method: str, url: str, headers: dict[str, str], body: bytes, service: str) -> str:
    request = AWSRequest(method, url, headers, body)
    request.context["timestamp"] = STAMP
    request.headers["X-Amz-Date"] = STAMP
    if who.session_token:
        request.headers["X-Amz-Security-Token"] = who.session_token
    signer = SigV4Auth(Credentials(who.access_key, who.secret_key, who.session_token or None), service, "eu-west-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.headers["Authorization"])


def ours(who: AwsCredential, method: str, path: str, query: str, host: str, body: bytes, **more: object) -> str:
    lines = dict(
        signature(
            who,
            "eu-west-1",
            "bedrock",
            method=method,
            path=path,
            query=query,
            host=host,
            body=body,
            at_us=AT_US,
            **more,
        )
    )
    assert lines["x-amz-date"] == STAMP
    return lines["authorization"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", QUERIES)
def test_it_is_the_signature_of_awss_signer(path: str, query: str) -> None:
    wire = path.encode("latin-1").decode("utf-8", "surrogateescape")
    url = f"https://bedrock-runtime.eu-west-1.amazonaws.com{wire}" + (f"?{query}" if query else "")
    host = "bedrock-runtime.eu-west-1.amazonaws.com"
    assert ours(WHO, "POST", path, query, host, b'{"a":1}') == theirs(WHO, "POST", url, {}, b'{"a":1}', "bedrock")


def test_a_session_is_signed_and_sent() -> None:
    who = AwsCredential(WHO.access_key, WHO.secret_key, "session/token==")
    url = "http://127.0.0.1:9001/model/m/invoke"
    assert ours(who, "POST", "/model/m/invoke", "", "127.0.0.1:9001", b"") == theirs(
        who, "POST", url, {}, b"", "bedrock"
    )


def test_further_headers_are_signed_with_their_spaces_folded() -> None:
    headers = {"x-amz-user-agent": "  a   b ", "content-type": "application/json"}
    url = "http://h:1/model/m/invoke?x=1"
    expected = theirs(WHO, "PUT", url, headers, b"body", "bedrock")
    assert ours(WHO, "PUT", "/model/m/invoke", "x=1", "h:1", b"body", headers=headers) == expected


NAMES = st.text(alphabet="abcXYZ019-._~:/ %ü@!$&'()*+,;=", min_size=1, max_size=30)


@given(st.lists(NAMES, min_size=1, max_size=4), st.binary(max_size=64), st.booleans())
def test_any_path_of_a_client_is_signed_as_awss_signer_would(parts: list[str], body: bytes, with_query: bool) -> None:
    path = "/" + "/".join(quote(part, safe="~") for part in parts)
    query = "k=" + quote(parts[0], safe="~") if with_query else ""
    url = f"https://h{path}" + (f"?{query}" if query else "")
    assert ours(WHO, "POST", path, query, "h", body) == theirs(WHO, "POST", url, {}, body, "bedrock")


def test_a_credential_is_two_or_three_parts() -> None:
    assert credential("AKIDEXAMPLE000000001:se/cret+") == AwsCredential("AKIDEXAMPLE000000001", "se/cret+")
    assert credential("ASIAEXAMPLE000000001:secret:to/k==") == AwsCredential(
        "ASIAEXAMPLE000000001", "secret", "to/k=="
    )  # fmt: skip
    for text in ("", "bedrock-api-key-YmVkcm9jaw", "ABSKQmVkcm9jaw==", "AKID:", ":secret", "a b:c"):
        assert credential(text) is None


def test_who_signed_is_found_in_the_header() -> None:
    scope = b"20251121/us-east-1/bedrock/aws4_request"
    head = b"AWS4-HMAC-SHA256 Credential=fbx_abc-_/" + scope + b", SignedHeaders=host, Signature=0"
    assert signer_of(head) == b"fbx_abc-_"
    assert signer_of(b"AWS4-HMAC-SHA256 nothing") == b""
    assert signer_of(b"Bearer AWS4-HMAC-SHA256") is None


def test_a_day_has_its_own_key() -> None:
    first = sigv4._signing_key("s", "20251121", "r", "bedrock")
    assert first != sigv4._signing_key("s", "20251122", "r", "bedrock")
