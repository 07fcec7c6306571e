import pytest

from farebox.core.origins import checked_base_url, checked_frame, is_private_host
from farebox.errors import SettingsError


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("https://api.openai.com", "https://api.openai.com"),
        ("https://api.openai.com/", "https://api.openai.com"),
        ("HTTPS://API.OpenAI.com/v1/", "https://api.openai.com/v1"),
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://[::1]:9001/x", "http://[::1]:9001/x"),
        ("http://10.0.0.7:8000/some/prefix", "http://10.0.0.7:8000/some/prefix"),
        ("http://ollama_host:11434", "http://ollama_host:11434"),
    ],
)
def test_a_base_url_is_an_origin_with_an_optional_path_prefix(given: str, plain: str) -> None:
    assert checked_base_url(given) == plain
    assert checked_base_url(plain) == plain


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.openai.com",
        "ftp://x",
        "http://",
        "https://user@host",
        "https://u:p@host/",
        "https://host/?q=1",
        "https://host/#x",
        "https://host?",
        "https://host/a/../b",
        "https://host:99999",
        "https://ho st",
        "https://host\\@evil",
        "https://host/\r\nx: y",
        "https://hóst",
        "http://[::1",
    ],
)
def test_what_is_no_plain_origin_is_refused(given: str) -> None:
    with pytest.raises(SettingsError):
        checked_base_url(given)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "100.100.100.200",
        "168.63.129.16",
        "metadata.google.internal",
        "metadata.google.internal.",
        "METADATA.google.internal",
        "metadata",
        "instance-data.ec2.internal",
        "2852039166",
        "0xa9fea9fe",
        "0251.254.169.254",
        "169.254.43518",
    ],
)
def test_metadata_addresses_are_refused_in_any_spelling(host: str) -> None:
    with pytest.raises(SettingsError):
        checked_base_url(f"http://{host}/latest")


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("192.168.0.4", True),
        ("fd12::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("8.8.8.8", False),
        ("example.internal", False),
    ],
)
def test_only_loopback_and_private_addresses_may_be_open(host: str, private: bool) -> None:
    assert is_private_host(host) is private


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("https://App.Acme.com/", "https://app.acme.com"),
        ("https://*.acme.com", "https://*.acme.com"),
        ("https://acme.com:8443", "https://acme.com:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_a_site_that_shows_a_frame_is_an_origin(text: str, site: str) -> None:
    assert checked_frame(text) == site


@pytest.mark.parametrize(
    "text",
    ["", "*", "https://*", "https:", "acme.com", "http://acme.com", "https://acme.com/path", "https://a;b", "'self'",
     "https://a b", "https://a\nb", "https://u@a.com", "data:", "https://*.*.com", "https://ä.com"],
)  # fmt: skip
def test_anything_else_shows_no_frame(text: str) -> None:
    with pytest.raises(SettingsError, match="is no site"):
        checked_frame(text)
