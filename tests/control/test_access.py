import pytest
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts

from farebox.control.access import (
    FAILURES_PER_MINUTE,
    MAY,
    SOURCES_MAX,
    Failures,
    Needs,
    Public,
    bearer,
    declared,
    undeclared,
)

PUBLIC = {
    "/api/webhooks/stripe",
    "/api/webhooks/stripe/customers",
    "/",
    "/healthz",
    "/readyz",
    "/api/v1/docs",
    "/api/v1/openapi.json",
}


def routes(api):
    for route in iter_route_contexts(api.app.routes):
        for method in sorted(route.methods or ()):
            yield method, route.path, declared(route)


def path_of(route):
    return route.replace("{", "").replace("}", "")


def test_every_route_declares_who_may_call_it(api):
    assert undeclared(api.app) == []
    assert {path for _, path, need in routes(api) if isinstance(need, Public)} == PUBLIC
    assert all(need.reason for _, _, need in routes(api) if isinstance(need, Public))


def test_a_route_without_a_role_is_found(api):
    stray = APIRouter()
    stray.get("/stray")(lambda: None)
    api.app.include_router(stray)
    assert undeclared(api.app) == ["/stray"]


def test_no_route_answers_without_a_token_or_with_a_role_too_small(api):
    walked = 0
    for method, path, need in routes(api):
        if not isinstance(need, Needs):
            continue
        walked += 1
        api.now_s += 60
        assert api.ask(method, path_of(path), None).status_code == 401, (method, path)
        for role in MAY:
            answer = api.ask(method, path_of(path), role)
            assert (answer.status_code == 403) == (need.role not in MAY[role]), (method, path, role, answer.text)
    assert walked > 15


SENT = (
    "/api/v1/events", "/api/v1/outcomes", "/api/v1/authorize", "/api/v1/otlp/v1/traces", "/api/v1/v1/traces",
)  # fmt: skip
"""What senders of events may post: it changes nothing that was there."""
ASKED_BY_POST = {"/api/v1/simulate"}
"""Questions that are too long for a query string: they change nothing."""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_only_an_admin_changes_anything(api, method):
    needed = {
        need.role
        for name, path, need in routes(api)
        if name == method and isinstance(need, Needs) and path not in (*ASKED_BY_POST, *SENT)
    }
    assert needed == {"admin"}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer fba_", "Bearer fba_unknown", "Basic fba_x", "Bearer fbx_key", "Bearer " + "fba_" * 99],
)
def test_anything_but_a_valid_token_is_401_and_says_how_to_get_one(api, header):
    answer = api.ask("GET", "/api/v1/keys", None, headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert error["code"] == "invalid_token"
    assert "farebox tokens create" in error["message"]


def test_a_revoked_token_ends_at_once(api):
    row = next(row for row in api.directory.tokens.list() if row.role == "analyst")
    assert api.get("/api/v1/keys").status_code == 200
    api.directory.tokens.revoke(row.id)
    assert api.get("/api/v1/keys").status_code == 401


def test_failed_attempts_are_slowed_down_and_a_valid_token_still_passes(api):
    wrong = {"authorization": "Bearer fba_wrong"}
    codes = [api.ask("GET", "/api/v1/keys", None, headers=wrong).status_code for _ in range(FAILURES_PER_MINUTE + 2)]
    assert codes == [401] * FAILURES_PER_MINUTE + [429] * 2
    assert api.get("/api/v1/keys").status_code == 200
    api.now_s += 60
    assert api.ask("GET", "/api/v1/keys", None, headers=wrong).status_code == 401


def test_the_table_of_failures_is_bounded():
    failures = Failures()
    for number in range(SOURCES_MAX + 100):
        failures.add(f"10.0.0.{number}", 0)
    assert len(failures._counts) <= SOURCES_MAX + 1


def test_the_scheme_of_a_token_is_bearer_in_any_case():
    assert bearer("bearer fba_x") == "fba_x"
    assert bearer("Token fba_x") is None
    assert bearer(None) is None
