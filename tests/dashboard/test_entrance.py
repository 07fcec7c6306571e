"""The way in: passwords, links, sessions, cookies, forged forms."""

import re

import pytest
from dashboard_site import NOW_US, PASSWORD, Site

from farebox.dashboard.app import roles
from farebox.dashboard.cookies import FORM_FIELD, form_token, own_path
from farebox.settings import Dashboard, Settings
from farebox.settings.table import Alerts


def test_without_a_session_every_page_leads_to_the_login_and_back(site):
    for path in ("/", "/customers?period=7d", "/calls/1"):
        answer = site.client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
    assert site.client.get("/customers?period=7d").headers["location"] == "/login?next=%2Fcustomers%3Fperiod%3D7d"


def test_files_answer_401_in_json_without_a_session(site):
    for ending in ("json", "csv"):
        answer = site.client.get(f"/customers.{ending}")
        assert answer.status_code == 401
        assert "log in" in answer.json()["error"]["message"]


def test_a_password_opens_the_page_that_was_asked_for(site):
    site.user("admin")
    browser = site.visitor()
    answer = browser.log_in("admin", next="/customers?period=7d")
    assert (answer.status_code, answer.headers["location"]) == (303, "/customers?period=7d")
    assert browser.get("/customers").status_code == 200


@pytest.mark.parametrize("elsewhere", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:x", "/a\nb", ""])
def test_a_login_never_leads_to_another_server(elsewhere):
    assert own_path(elsewhere) == "/"


def test_unknown_users_and_wrong_passwords_get_the_same_answer(site):
    site.user("admin")
    site.directory.users.create("no-password", "admin")
    answers = []
    for name in ("admin", "nobody", "no-password"):
        answer = site.visitor().log_in(name, "not the password")
        assert answer.status_code == 401
        text = answer.text.replace(f'value="{name}"', "")
        answers.append(re.sub(f'name="{FORM_FIELD}" value="[0-9a-f]+"', "", text))
    assert len(set(answers)) == 1


def test_after_too_many_wrong_passwords_even_the_right_one_waits(tmp_path):
    site = Site(tmp_path, Settings(data=tmp_path, dashboard=Dashboard(failures_max=3)))
    site.user("admin")
    browser = site.visitor()
    assert [browser.log_in("admin", "wrong").status_code for _ in range(3)] == [401, 401, 401]
    answer = browser.log_in("admin")
    assert answer.status_code == 429
    assert "wait" in answer.text
    site.close()


def test_failures_at_one_account_count_from_every_address(tmp_path):
    site = Site(tmp_path, Settings(data=tmp_path, dashboard=Dashboard(failures_max=2)))
    site.user("admin")
    site.user("analyst")
    for name in ("nobody", "somebody"):
        site.visitor().log_in(name, "wrong")
    assert site.visitor().log_in("analyst").status_code == 429  # this address has guessed at others
    site.close()


def test_a_session_is_kept_hashed_and_its_cookie_is_out_of_reach_for_scripts(site):
    browser = site.logged_in()
    cookie = browser.client.cookies["farebox"]
    assert cookie.startswith("fbs_")
    raw = b"".join(path.read_bytes() for path in site.parts.settings.data.glob("directory.sqlite3*"))
    assert cookie.encode() not in raw
    site.user("analyst")
    other = site.visitor()
    said = other.log_in("analyst").headers.get_list("set-cookie")
    session = next(line for line in said if line.startswith("farebox="))
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Path=/" in session
    assert "Secure" not in session


def test_by_https_cookies_are_bound_to_this_host_and_browsers_are_told_to_stay(tmp_path):
    site = Site(tmp_path, Settings(data=tmp_path, alerts=Alerts(dashboard_url="https://farebox.test")))
    site.user("admin")
    answer = site.visitor().log_in("admin")
    session = next(line for line in answer.headers.get_list("set-cookie") if line.startswith("__Host-farebox="))
    assert "Secure" in session
    assert "Domain" not in session
    assert "max-age=" in answer.headers["strict-transport-security"]
    site.close()


def test_logging_out_ends_the_session_on_the_server(site):
    browser = site.logged_in()
    stolen = browser.client.cookies["farebox"]
    assert browser.send("/", "/logout").status_code == 303
    browser.client.cookies.set("farebox", stolen)
    assert browser.get("/").status_code == 303


def test_a_session_ends_with_its_time(tmp_path):
    site = Site(tmp_path, Settings(data=tmp_path, dashboard=Dashboard(session_days=1)))
    browser = site.logged_in()
    site.now_us = NOW_US + 23 * 3600 * 1_000_000
    assert browser.get("/help").status_code == 200
    site.now_us = NOW_US + 25 * 3600 * 1_000_000
    assert browser.get("/help").status_code == 303
    site.close()


def test_sessions_are_listed_and_each_can_be_ended(site):
    mine = site.logged_in("admin")
    theirs = site.logged_in("analyst")
    assert "this one" in mine.get("/settings").text
    their_id = next(
        row.id for row in site.directory.sessions.list() if row.user_id != site.directory.users.get("admin").id
    )
    assert mine.send("/settings", "/settings/sessions/end", session=their_id).status_code == 303
    assert theirs.get("/").status_code == 303


def test_an_analyst_can_end_no_session_but_their_own(site):
    site.logged_in("admin")
    theirs = site.logged_in("analyst")
    admin_id = site.directory.users.get("admin").id
    [admins] = site.directory.sessions.list(admin_id)
    assert theirs.send("/settings", "/settings/sessions/end", session=admins.id).status_code == 422
    assert site.directory.sessions.list(admin_id) == [admins]


def test_every_page_and_every_action_declares_a_role(site):
    declared = roles()
    public = {
        "/login",
        "/login/link/{secret}",
        "/login/oidc",
        "/login/oidc/callback",
        "/logout",
        "/theme",
        "/static/{name}",
        "/portal",
        "/pricing",
        "/purchase/success",
    }
    inner = site.app._app
    assert {route.path for route in inner.routes} == set(declared) | public
    assert set(declared.values()) == {"admin", "analyst"}


def test_an_analyst_can_change_nothing(site):
    browser = site.logged_in("analyst")
    for path, role in roles().items():
        if role == "admin":
            answer = browser.send("/help", path)
            assert answer.status_code == 403, path
            assert "needs the role admin" in answer.text
    assert "Make a key" not in browser.get("/keys").text


def test_a_form_without_its_token_is_refused_and_does_nothing(site):
    browser = site.logged_in()
    for fields in ({}, {FORM_FIELD: ""}, {FORM_FIELD: "0" * 64}):
        answer = browser.client.post("/keys/create", data={"name": "forged", **fields})
        assert answer.status_code == 403
    assert site.directory.keys.list() == []


def test_a_form_from_another_origin_is_refused_even_with_its_token(site):
    browser = site.logged_in()
    for headers in (
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = browser.send("/keys", "/keys/create", headers=headers, name="forged")
        assert answer.status_code == 403, headers
    assert site.directory.keys.list() == []
    own = {"origin": "http://farebox.test", "sec-fetch-site": "same-origin"}
    assert browser.send("/keys", "/keys/create", headers=own, name="own").status_code == 200


def test_the_token_of_one_session_is_of_no_use_to_another(site):
    one, other = site.logged_in("admin", "one"), site.logged_in("admin", "other")
    answer = one.client.post("/keys/create", data={FORM_FIELD: other.token("/keys"), "name": "forged"})
    assert answer.status_code == 403


def test_a_login_form_is_bound_to_the_browser_that_got_it(site):
    site.user("admin")
    victim, attacker = site.visitor(), site.visitor()
    fields = {FORM_FIELD: attacker.token("/login"), "name": "admin", "password": PASSWORD}
    assert victim.client.post("/login", data=fields).status_code == 403


def test_a_login_without_a_visitors_cookie_is_refused_whatever_token_it_brings(site):
    site.user("admin")
    fields = {FORM_FIELD: form_token(""), "name": "admin", "password": PASSWORD}
    answer = site.visitor().client.post("/login", data=fields)
    assert answer.status_code == 403
    assert "Send this form again" in answer.text and "role" not in answer.text


def test_the_first_link_makes_an_admin_once(site):
    secret = site.directory.users.first_link()
    page = f"/login/link/{secret}"
    browser = site.visitor()
    assert "Make the first admin" in browser.get(page).text
    assert "Make the first admin" in browser.get(page).text  # a preview of the address spoils nothing
    answer = browser.send(page, page, name="Ann@Acme.com", password=PASSWORD)
    assert answer.status_code == 303
    assert browser.get("/").status_code == 200
    [user] = site.directory.users.list()
    assert (user.name, user.role) == ("ann@acme.com", "admin")
    assert site.visitor().get(page).status_code == 404
    assert site.directory.users.first_link() is None


def test_a_link_ends_after_an_hour(site):
    secret = site.directory.users.first_link()
    site.now_us += 3600 * 1_000_000
    assert site.client.get(f"/login/link/{secret}").status_code == 404


def test_a_short_password_is_refused_and_leaves_the_link_usable(site):
    page = f"/login/link/{site.directory.users.first_link()}"
    browser = site.visitor()
    answer = browser.send(page, page, name="ann", password="short")
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.text
    assert 'value="ann"' in answer.text
    assert browser.send(page, page, name="ann", password=PASSWORD).status_code == 303


def test_a_new_password_ends_the_sessions_of_the_old_one(site):
    browser = site.logged_in()
    page = f"/login/link/{site.directory.users.make_link('admin')}"
    other = site.visitor()
    assert other.send(page, page, password="another long password").status_code == 303
    assert browser.get("/").status_code == 303
    assert site.visitor().log_in("admin").status_code == 401
    assert site.visitor().log_in("admin", "another long password").status_code == 303


def test_a_link_to_enter_asks_for_nothing_and_works_once(site):
    site.directory.users.create("demo", "admin")
    page = f"/login/link/{site.directory.users.make_link('demo', 'enter')}"
    browser = site.visitor()
    assert browser.send(page, page).status_code == 303
    assert browser.get("/").status_code == 200
    assert site.visitor().get(page).status_code == 404


def test_a_removed_user_is_out_at_once_and_the_last_admin_stays(site):
    admin, analyst = site.logged_in("admin"), site.logged_in("analyst")
    fields = {"user": site.directory.users.get("analyst").id}
    assert admin.send("/settings", "/settings/users/remove", **fields).status_code == 303
    assert analyst.get("/").status_code == 303
    answer = admin.send("/settings", "/settings/users/role", user=site.directory.users.get("admin").id, role="analyst")
    assert answer.status_code == 422
    assert "last admin" in answer.text


def test_a_role_taken_away_is_gone_with_the_next_request(site):
    site.logged_in("admin", "first")
    second = site.logged_in("admin", "second")
    site.directory.users.set_role("second", "analyst", by="test")
    assert second.send("/help", "/keys/create", name="late").status_code == 403
    assert site.directory.keys.list() == []


def test_the_theme_is_kept_in_a_cookie(site):
    browser = site.logged_in()
    answer = browser.send("/help", "/theme", theme="dark", next="/help")
    assert answer.headers["location"] == "/help"
    assert 'data-theme="dark"' in browser.get("/help").text
    browser.send("/help", "/theme", theme='"><script>')
    assert 'data-theme="auto"' in browser.get("/help").text


def test_changes_are_logged_under_who_made_them(site):
    browser = site.logged_in("admin", "ann@acme.com")
    browser.send("/keys", "/keys/create", name="app")
    entry = site.directory.audit(1)[0]
    assert entry.action == "key.create"
    assert entry.by.endswith("ann@acme.com")
