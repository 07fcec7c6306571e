"""Rules as they are written, channels' addresses as they are judged, and when to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.alert_rules import BY_KIND, KINDS, SpendSpike, fields, read_spec, shown_spec
from farebox.core.alert_text import _TEXTS
from farebox.core.backoff import LONGEST_S, delay_s
from farebox.core.channel_urls import REFUSED_PARAMETERS, check_apprise_url, check_webhook_url, hosts_of, url_hint
from farebox.core.origins import is_public_address
from farebox.errors import InvalidAlert


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_defaults_a_meaning_for_each_number_and_words(kind: str) -> None:
    spec = read_spec(kind, {})
    assert read_spec(kind, shown_spec(spec)) == spec
    assert set(fields(BY_KIND[kind])) == set(shown_spec(spec))
    assert all(fields(BY_KIND[kind]).values())
    assert spec.about
    assert kind in _TEXTS


def test_words_of_a_command_line_are_read_as_numbers() -> None:
    spec = read_spec("spend_spike", {"factor": "4", "per": "tag.region", "span": None})
    assert spec == SpendSpike(factor=4.0, per="tag.region")


@pytest.mark.parametrize(
    ("kind", "written", "says"),
    [
        ("everything", {}, "limit_projected"),
        ("limit", {"shares": [1]}, "it has limits"),
        ("error_rate", {"share": 2}, "share"),
        ("error_rate", {"per": "day"}, "tag.NAME"),
        ("error_rate", {"per": "planet"}, "tag.NAME"),
        ("error_rate", {"again": "never"}, "again"),
        ("spend_spike", {"least_usd": "ten"}, "decimal"),
        ("spend_spike", {"least_usd": "-1"}, "below zero"),
        ("provider_down", {"calls": 1}, "calls"),
        ("margin", {"shares": [0]}, "above 0"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_what_to_write(kind: str, written: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidAlert, match=says):
        read_spec(kind, written)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "exec://rm", "dbus://", "syslog://", "json://host/hidden", "xml://host", "form://host",
        "jsons://host", "apprise://host/token", "windows://", "macosx://", "custom://x", "https://example.com/hidden",
        "http://hooks.slack.com/hidden", "https://hooks.slack.com.evil.example/hidden", "mailto:someone@example.com",
        "FILE:///etc/passwd", "slack", "", "slack://a b", "mmost://169.254.169.254/hidden",
        "ntfy://metadata.google.internal/x", "mailtos://u:p@example.com?smtp=169.254.169.254",
        "matrix://[::ffff:169.254.169.254]/x",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(url: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        check_apprise_url(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(REFUSED_PARAMETERS))
def test_parameters_that_read_files_or_lead_elsewhere_are_refused(name: str) -> None:
    for url in (f"slack://a/b/c?{name}=x", f"slack://a/b/c?x=1&{name.upper()}=x", f"slack://a/b/c?{name}"):
        with pytest.raises(InvalidAlert, match=name):
            check_apprise_url(url)


def test_a_name_that_people_try_is_told_the_right_one() -> None:
    with pytest.raises(InvalidAlert, match="workflows://"):
        check_apprise_url("msteams://a/b")
    with pytest.raises(InvalidAlert, match="kind webhook"):
        check_apprise_url("https://example.com")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "ftp://example.com", "https://", "https://u:p@example.com", "https://example.com/#x",
        "https://169.254.169.254/", "https://metadata.google.internal/", "https://10.0.0.1/", "https://127.0.0.1/",
        "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://100.64.0.1/", "https://0.0.0.0/",
        "https://example.com:x/", "https://[::1/",
    ],
)  # fmt: skip
def test_a_webhook_is_https_and_public(url: str) -> None:
    with pytest.raises(InvalidAlert):
        check_webhook_url(url, allow_private=False)


def test_a_webhook_may_be_near_where_that_is_allowed_but_never_a_metadata_service() -> None:
    for url in ("http://127.0.0.1:8080/x", "https://10.0.0.1/", "http://hooks.internal/"):
        assert check_webhook_url(url, allow_private=True) == url
    for url in ("http://169.254.169.254/", "https://[fd00:ec2::254]/"):
        with pytest.raises(InvalidAlert, match="metadata"):
            check_webhook_url(url, allow_private=True)


def test_a_hint_tells_channels_apart_and_gives_nothing_away() -> None:
    assert url_hint("https://hooks.example:8443/secret?key=secret", "webhook") == "https://hooks.example/…"
    assert url_hint("slack://TokenA12/TokenB123/TokenC1234567890123456", "apprise") == "slack://…3456"
    assert url_hint("mailtos://user:password@example.com?to=me@example.com", "apprise") == "mailtos://…"


def test_hosts_are_those_that_are_connected_to() -> None:
    assert hosts_of("slack://TokenA/TokenB/TokenC") == []
    assert hosts_of("mailtos://u:p@example.com?smtp=mail.example.com") == ["example.com", "mail.example.com"]


def test_wrapped_private_addresses_are_private() -> None:
    from ipaddress import ip_address

    assert is_public_address(ip_address("93.184.216.34"))
    for text in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "224.0.0.1", "240.0.0.1"):
        assert not is_public_address(ip_address(text)), text


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_pauses_grow_and_have_a_bound(attempts: int, chance: float) -> None:
    pause = delay_s(attempts, chance)
    assert 0 < pause <= LONGEST_S * 1.25
    assert delay_s(attempts + 1, chance) >= pause


def test_twelve_attempts_take_most_of_a_day() -> None:
    assert 15 < sum(delay_s(attempts, 0.5) for attempts in range(1, 12)) / 3600 < 24
