"""Key files of service accounts, and what the token server may answer."""

import json

import pytest
from fake_google import EMAIL, key_file

from farebox.errors import DirectoryError
from farebox.providers import google_accounts
from farebox.providers.google_accounts import granted, one_line, refusal, service_account

GOOGLE = "https://oauth2.googleapis.com/token"


def test_a_key_file_is_kept_on_one_line_and_says_who_it_is() -> None:
    text = key_file(GOOGLE)
    assert "\n" in text
    kept = one_line(text)
    assert "\n" not in kept and json.loads(kept) == json.loads(text)
    account = service_account(kept)
    assert (account.client_email, account.project_id) == (EMAIL, "example-project")
    assert "PRIVATE" not in repr(account)


def test_other_credentials_are_left_alone() -> None:
    for credential in ("AIzaSyExample", "ya29.token", '{"access_key_id":"AKIA"}'):
        assert one_line(credential) == credential


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type":"service_account"}', "no service account"),
        ('{"type":"authorized_user","client_email":"a","private_key":"b"}', "authorized_user"),
        ('{"type":', "no service account"),
    ],
)
def test_json_that_is_no_key_file_is_refused_in_words_without_secrets(text: str, said: str) -> None:
    with pytest.raises(DirectoryError, match=said):
        one_line(text)


@pytest.mark.parametrize(
    ("token_uri", "trusted", "taken"),
    [
        (GOOGLE, False, True),
        ("https://accounts.google.com/o/oauth2/token", False, True),
        ("http://oauth2.googleapis.com/token", False, False),
        ("https://oauth2.googleapis.com.evil.example/token", False, False),
        ("https://tokens.example/token", False, False),
        ("https://tokens.example/token", True, True),
        ("http://tokens.example/token", True, False),
        ("http://127.0.0.1:9000/token", True, True),
        ("http://127.0.0.1:9000/token", False, False),
        ("https://169.254.169.254/token", True, False),
        ("file:///etc/passwd", True, False),
        ("", True, False),
    ],
)
def test_assertions_go_to_google_unless_the_file_says_otherwise(token_uri: str, trusted: bool, taken: bool) -> None:
    text = key_file(token_uri, token_uri_trusted=trusted)
    if taken:
        assert service_account(text).token_uri == token_uri
        return
    with pytest.raises(DirectoryError, match="token_uri"):
        service_account(text)


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}', "ya29.x"),
        (b'{"access_token":"ya29.x","expires_in":"3599"}', "ya29.x"),
        (b'{"access_token":"ya29.x"}', "ya29.x"),
        (b'{"access_token":"","expires_in":3599}', None),
        (b'{"access_token":"a\\r\\nx-evil: 1","expires_in":3599}', None),
        (b'{"access_token":"ya29.x","expires_in":0}', None),
        (b'{"id_token":"eyJ"}', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_a_grant_is_a_token_that_can_stand_in_a_header(body: bytes, token: str | None) -> None:
    found = granted(body)
    assert (found.access_token if found else None) == token
    assert "ya29" not in repr(found)


def test_a_refusal_is_one_bounded_line() -> None:
    body = json.dumps({"error": "invalid_grant", "error_description": "Invalid\nJWT " + "x" * 900}).encode()
    assert refusal(body).startswith("invalid_grant: Invalid JWT") and len(refusal(body)) <= 200
    assert refusal(b"<html>") == ""


def test_the_assertion_says_what_google_asks_for() -> None:
    account = service_account(key_file(GOOGLE))
    head, claims = google_accounts.unsigned(account, 1_790_000_000).split(b".")
    assert b"=" not in head + claims
