"""Logging in with an identity provider, against one on loopback."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from dashboard_site import Browser, Site
from fake_identity import CLIENT, FakeIdentity
from joserfc.jwk import OctKey, RSAKey

from farebox.dashboard.oidc import role_of
from farebox.errors import SettingsError
from farebox.settings import Oidc, Settings, check


@pytest.fixture
def identity():
    made = FakeIdentity()
    yield made
    made.close()


@pytest.fixture
def site(tmp_path, identity):
    oidc = Oidc(
        issuer=identity.issuer, client_id=CLIENT[0], client_secret=CLIENT[1], name="Acme", admins=("Ann@acme.com",),
        analysts=("@acme.com",),
    )  # fmt: skip
    made = Site(tmp_path, Settings(data=tmp_path, oidc=oidc))
    made.now_us = time.time_ns() // 1000
    yield made
    made.close()


def came_back(browser: Browser, identity: FakeIdentity, **changed: str):
    location = browser.get("/login/oidc?next=/customers").headers["location"]
    assert location.startswith(identity.issuer + "/authorize?")
    return browser.get("/login/oidc/callback", params={**identity.agree(location), **changed})


def test_who_the_provider_vouches_for_is_logged_in_with_the_role_of_the_settings(site, identity):
    browser = site.visitor()
    assert "Log in with Acme" in browser.get("/login").text
    answer = came_back(browser, identity)
    assert (answer.status_code, answer.headers["location"]) == (303, "/customers")
    assert browser.get("/").status_code == 200
    [user] = site.directory.users.list()
    assert (user.name, user.role, user.has_password) == ("ann@acme.com", "admin", False)
    identity.claims = {"email": "Bob@Acme.com"}
    came_back(site.visitor(), identity)
    assert site.directory.users.get("bob@acme.com").role == "analyst"


def test_a_second_login_is_the_same_user(site, identity):
    for _ in range(2):
        came_back(site.visitor(), identity)
    assert len(site.directory.users.list()) == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "eve@evil.test"},
        {"email": "ann@acme.com.evil.test"},
        {"email": None},
        {"email_verified": False},
        {"nonce": "another"},
        {"aud": "another"},
        {"iss": "https://evil.test"},
        {"exp": 1},
        {"at_hash": "wrong"},
    ],
)
def test_a_token_that_does_not_fit_lets_nobody_in(site, identity, claims):
    identity.claims = claims
    browser = site.visitor()
    assert came_back(browser, identity).status_code == 403
    assert browser.get("/").status_code == 303
    assert site.directory.users.list() == []


def test_a_token_signed_by_another_key_lets_nobody_in(site, identity):
    identity.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert came_back(site.visitor(), identity).status_code == 403


def test_a_token_signed_with_the_clients_secret_lets_nobody_in(site, identity):
    identity.algorithm, identity.key = "HS256", OctKey.import_key(CLIENT[1] * 3, {"kid": "one"})
    assert came_back(site.visitor(), identity).status_code == 403


def test_an_answer_to_another_login_lets_nobody_in(site, identity):
    browser = site.visitor()
    assert came_back(browser, identity, state="another").status_code == 403
    location = site.visitor().get("/login/oidc").headers["location"]
    stolen = identity.agree(location)
    assert site.visitor().get("/login/oidc/callback", params=stolen).status_code == 403
    assert site.directory.users.list() == []


def test_an_answer_works_once(site, identity):
    browser = site.visitor()
    location = browser.get("/login/oidc").headers["location"]
    answer = identity.agree(location)
    assert browser.get("/login/oidc/callback", params=answer).status_code == 303
    assert browser.get("/login/oidc/callback", params=answer).status_code == 403


def test_the_provider_is_told_the_address_that_browsers_use(site):
    location = site.visitor().get("/login/oidc").headers["location"]
    [callback] = parse_qs(urlsplit(location).query)["redirect_uri"]
    assert callback == "http://farebox.test/login/oidc/callback"


def test_a_provider_that_is_down_leaves_passwords(site, identity):
    identity.close()
    site.user("admin")
    answer = site.visitor().get("/login/oidc")
    assert answer.status_code == 503
    assert "log in with a password" in answer.text
    assert site.visitor().log_in("admin").status_code == 303
    identity.__init__()  # for the fixture's end


def test_an_admin_made_here_with_a_password_stays_one(site, identity):
    site.user("admin", "bob@acme.com")
    identity.claims = {"email": "bob@acme.com"}
    came_back(site.visitor(), identity)
    assert site.directory.users.get("bob@acme.com").role == "admin"


def test_without_a_provider_its_routes_are_not_there(tmp_path):
    site = Site(tmp_path)
    assert site.client.get("/login/oidc").status_code == 404
    assert site.client.get("/login/oidc/callback?code=1&state=1").status_code == 404
    site.close()


def test_a_name_goes_before_a_domain_and_admin_before_analyst():
    assert role_of("ann@acme.com", ("@acme.com",), ("ann@acme.com",)) == "analyst"
    assert role_of("bob@acme.com", ("@acme.com",), ("@acme.com",)) == "admin"
    assert role_of("bob@notacme.com", ("@acme.com",), ()) is None


def test_settings_that_let_nobody_in_are_refused():
    for oidc in (
        Oidc(issuer="http://id.example.com", client_id="f", admins=("@acme.com",)),
        Oidc(issuer="https://id.example.com", admins=("@acme.com",)),
        Oidc(issuer="https://id.example.com", client_id="f"),
    ):
        with pytest.raises(SettingsError):
            check(Settings(oidc=oidc))
