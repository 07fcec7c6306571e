import pytest

from farebox.control.shield import HEADERS
from farebox.errors import KeeperUnavailable, LedgerError, QueryError


def error(answer):
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("GET", "/api/v1/nowhere", None, 404, "not_found"),
        ("DELETE", "/api/v1/usage", None, 405, "method_not_allowed"),
        ("POST", "/api/v1/keys", "{", 422, "invalid_request"),
        ("POST", "/api/v1/keys", '{"name":"x","nmae":1}', 422, "invalid_request"),
        ("POST", "/api/v1/keys", "[]", 422, "invalid_request"),
        ("GET", "/api/v1/keys/key_none", None, 404, "not_found"),
    ],
)
def test_every_error_has_the_one_shape(api, method, path, body, status, code):
    headers = {"content-type": "application/json"} if body else {}
    answer = api.ask(method, path, content=body, headers=headers)
    assert answer.status_code == status
    assert error(answer)["code"] == code


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (KeeperUnavailable("the keeper does not answer"), 503, "keeper_unavailable"),
        (QueryError("no such group"), 400, "invalid_query"),
        (LedgerError("the store is busy"), 503, "ledger_unavailable"),
    ],
)
def test_errors_of_the_keeper_keep_their_words(api, raised, status, code):
    api.keeper.answers["usage"] = raised
    answer = api.get("/api/v1/usage")
    assert answer.status_code == status
    assert error(answer)["code"] == code
    assert error(answer)["message"] == str(raised)
    assert (answer.headers.get("retry-after") == "1") == (status == 503)


def test_a_defect_says_nothing_of_the_inside(api):
    api.keeper.answers["usage"] = RuntimeError("secret /etc/path")
    answer = api.get("/api/v1/usage")
    assert answer.status_code == 500
    assert error(answer)["code"] == "internal_error"
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["limits", "customers", "plans"])
@pytest.mark.parametrize("body", [b'{"name": "\xff"}', b"[" * 100_000, b'{"amount": ' + b"9" * 5000 + b"}"])
def test_a_body_that_cannot_be_read_is_told_what_to_send(api, path, body):
    answer = api.ask("POST", f"/api/v1/{path}", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid_request")
    assert "send JSON in UTF-8" in error(answer)["message"]


def test_a_body_that_is_no_json_is_told_where_it_ends_to_be(api):
    answer = api.ask("POST", "/api/v1/plans", content=b'{"name": x}', headers={"content-type": "application/json"})
    assert error(answer)["message"] == "the body is no JSON: Expecting value at character 9"


def test_a_refused_body_is_not_repeated_in_the_answer(api):
    answer = api.ask("PUT", "/api/v1/providers/openai", json={"credential": ["sk-very-secret"]})
    assert answer.status_code == 422
    assert "very-secret" not in answer.text


def test_a_body_has_a_bound(api):
    answer = api.ask(
        "POST", "/api/v1/keys", content=b" " * (9 * 1024 * 1024), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert error(answer)["code"] == "body_too_large"


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/keys", "/nowhere", "/api/v1/docs"])
def test_every_answer_carries_the_security_headers(api, path):
    headers = api.get(path).headers
    for name, value in HEADERS:
        if (path, name) != ("/api/v1/docs", b"content-security-policy"):
            assert headers[name.decode()] == value.decode()
