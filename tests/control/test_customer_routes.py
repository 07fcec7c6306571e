"""Plans, customers and revenue over the API."""

from typing import Any

import pytest
from control_api import NOW_US, Api

from farebox.core.events import iso_us

TODAY = iso_us(NOW_US)[:10]
PRO = {"name": "pro", "price": "29.00", "included": {"analyses": 100}, "expected_ai_cost": "8"}


def set_plan(api: Api, status: int = 201, **fields: Any) -> Any:
    answer = api.ask("POST", "/api/v1/plans", json={**PRO, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def set_customer(api: Api, status: int = 201, **fields: Any) -> Any:
    answer = api.ask("POST", "/api/v1/customers", json={"tenant": "acme", **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
def pro(api: Api) -> Any:
    return set_plan(api)


def test_a_plan_is_answered_as_it_is_kept(api: Api) -> None:
    made = set_plan(api, valid_from="2026-01-01")
    [version] = made.pop("versions")
    assert version.pop("valid_from") == "2026-01-01"
    assert version.pop("entered_at") == made.pop("created_at") == made.pop("changed_at")
    fields = {
        "price": "29.00",
        "period": "month",
        "seats": None,
        "included": {"analyses": 100},
        "overage_price": {},
        "other_cogs": "0.00",
        "expected_ai_cost": "8.00",
    }
    assert made == {"name": "pro", **fields}
    assert version == fields


def test_a_plan_changes_from_a_day_on_and_is_listed_and_removed(api: Api, pro: Any) -> None:
    changed = api.ask("PATCH", "/api/v1/plans/pro", json={"price": "39", "valid_from": "2099-01-01"}).json()
    assert [version["price"] for version in changed["versions"]] == ["29.00", "39.00"]
    assert changed["price"] == "29.00"
    assert set_plan(api, status=200)["versions"] == changed["versions"]
    assert api.get("/api/v1/plans").json()["data"] == [api.get("/api/v1/plans/pro").json()]
    assert api.ask("PATCH", "/api/v1/plans/gold", json={}).status_code == 404
    assert api.ask("DELETE", "/api/v1/plans/pro").json()["removed_at"]
    assert api.get("/api/v1/plans").json()["data"] == []
    assert len(api.get("/api/v1/plans?removed=true").json()["data"]) == 1


def test_a_customer_is_answered_as_it_is_kept(api: Api, pro: Any) -> None:
    made = set_customer(
        api, name="Acme", owner_email="ann@acme.com", started_on="2026-02-03", billing_anchor=15, plan="pro",
        source="google", medium="cpc", campaign="spring", attributes={"region": "eu"},
    )  # fmt: skip
    [held] = made.pop("subscriptions")
    assert held.pop("entered_at") == made.pop("created_at") == made.pop("changed_at")
    assert held == {"plan": "pro", "from": "2026-02-03"}
    assert made == {
        "tenant": "acme",
        "name": "Acme",
        "owner_email": "ann@acme.com",
        "plan": "pro",
        "started_on": "2026-02-03",
        "billing_anchor": 15,
        "source": "google",
        "medium": "cpc",
        "campaign": "spring",
        "attributes": {"region": "eu"},
    }


def test_customers_are_changed_listed_filtered_and_removed(api: Api, pro: Any) -> None:
    set_customer(api, plan="pro", source="google")
    set_customer(api, tenant="globex")
    assert set_customer(api, status=200, name="Acme")["plan"] == "pro"
    changed = api.ask("PATCH", "/api/v1/customers/acme", json={"plan": None, "name": None}).json()
    assert (changed["plan"], changed["name"], changed["source"]) == (None, "", "google")
    assert api.ask("PATCH", "/api/v1/customers/initech", json={}).status_code == 404
    api.ask("PATCH", "/api/v1/customers/globex", json={"plan": "pro", "plan_from": TODAY})
    for question in ("plan=pro", "limit=1&cursor=acme"):
        assert [row["tenant"] for row in api.get(f"/api/v1/customers?{question}").json()["data"]] == ["globex"]
    assert [row["tenant"] for row in api.get("/api/v1/customers?source=google").json()["data"]] == ["acme"]
    assert api.ask("DELETE", "/api/v1/customers/globex").json()["removed_at"]
    assert [row["tenant"] for row in api.get("/api/v1/customers").json()["data"]] == ["acme"]
    assert len(api.get("/api/v1/customers?removed=true").json()["data"]) == 2


def test_revenue_is_booked_once_and_shown_by_month(api: Api, pro: Any) -> None:
    set_customer(api, plan="pro", started_on="2026-11-01")
    path = "/api/v1/customers/acme/revenue"
    form = {"month": "2026-12", "amount": "40.50", "external_id": "inv_1"}
    booked = api.ask("POST", path, json=form)
    assert (booked.status_code, booked.json()["amount"]) == (201, "40.50")
    assert api.ask("POST", path, json=form).status_code == 200
    assert api.ask("POST", path, json={**form, "amount": "41"}).status_code == 409
    assert api.ask("POST", path, json={"month": "2026-12", "amount": "-0.50"}).status_code == 201
    answer = api.get(path).json()
    assert [entry["amount"] for entry in answer["data"]] == ["40.50", "-0.50"]
    months = {row["month"]: row for row in answer["meta"]["months"]}
    assert months["2026-12"] == {"month": "2026-12", "revenue": "40.00", "adjustments": {}, "closed": False}
    assert months["2026-11"]["revenue"] == "29.00"
    assert api.get(f"{path}?as_of=2020-01-01").json() == {"data": [], "next_cursor": None, "meta": {"months": []}}
    assert api.get("/api/v1/customers/globex/revenue").status_code == 404


def test_many_lines_are_taken_each_whole_or_not_at_all(api: Api, pro: Any) -> None:
    lines = [
        {"tenant": "acme", "plan": "pro", "revenue": [{"month": "2026-11", "amount": "5"}]},
        {"tenant": "globex", "plan": "gold"},
        {"tenant": "initech", "owner_email": "nobody"},
    ]
    strict = api.ask("POST", "/api/v1/customers/import", json={"lines": lines, "all_or_none": True}).json()["data"]
    assert [row["error"] is None for row in strict] == [True, False, False]
    assert api.get("/api/v1/customers").json()["data"] == []
    taken = api.ask("POST", "/api/v1/customers/import", json={"lines": lines}).json()["data"]
    assert [(row["created"], row["booked"]) for row in taken] == [(True, 1), (False, 0), (False, 0)]
    assert "no plan 'gold'" in taken[1]["error"]
    assert "e-mail" in taken[2]["error"]
    again = api.ask("POST", "/api/v1/customers/import", json={"lines": lines[:1]}).json()["data"]
    assert again == [{"tenant": "acme", "created": False, "changed": False, "booked": 0, "error": None}]


def test_a_line_that_cannot_be_read_spoils_no_other(api: Api, pro: Any) -> None:
    lines: list[Any] = [{"tenant": "x" * 300}, {"tenant": "acme"}, {"tenant": 5}, "acme", {"tenant": "b", "nmae": "B"},
                        {"tenant": "c", "revenue": [{"month": "2026-11", "amount": 29.5}]}]  # fmt: skip
    answer = api.ask("POST", "/api/v1/customers/import", json={"lines": lines})
    assert answer.status_code == 200
    rows = answer.json()["data"]
    assert [row["error"] is None for row in rows] == [False, True, False, False, False, False]
    assert "tenant: String should have at most 256" in rows[0]["error"]
    assert (rows[1]["tenant"], rows[4]["tenant"], rows[2]["tenant"]) == ("acme", "b", "")
    assert "nmae" in rows[4]["error"] and '"29.50"' in rows[5]["error"]
    assert [row["tenant"] for row in api.get("/api/v1/customers").json()["data"]] == ["acme"]


@pytest.mark.parametrize("price", [29.5, True, [29]])
def test_an_amount_that_is_no_text_is_asked_for_as_text(api: Api, price: object) -> None:
    answer = api.ask("POST", "/api/v1/plans", json={"name": "pro", "price": price})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == 'price: give an amount as text, such as "29.50"'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("plans", {"name": "pro", "price": "1,000"}),
        ("plans", {"name": "pro", "period": "week"}),
        ("plans", {"name": "pro", "valid_from": "tomorrow"}),
        ("customers", {"tenant": "acme", "plan_from": "2026-11-01"}),
        ("customers", {"tenant": "acme", "billing_anchor": 40}),
        ("customers/acme/revenue", {"month": "2026-13", "amount": "1"}),
        ("customers/acme/revenue", {"month": "2026-11", "amount": "ten"}),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: Api, path: str, body: dict[str, object]) -> None:
    set_customer(api)
    answer = api.ask("POST", f"/api/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_books")


def test_only_an_admin_writes(api: Api) -> None:
    for path, body in (("plans", PRO), ("customers", {"tenant": "acme"}), ("customers/import", {"lines": [PRO]})):
        assert api.ask("POST", f"/api/v1/{path}", "analyst", json=body).status_code == 403
        assert api.ask("POST", f"/api/v1/{path}", "ingest", json=body).status_code == 403
    assert api.get("/api/v1/customers", "ingest").status_code == 403


def test_who_changed_a_customer_is_in_the_log(api: Api, pro: Any) -> None:
    set_customer(api, plan="pro", name="Acme")
    plan, said = api.directory.audit(2)
    assert (said.action, said.subject, said.detail) == ("customer.set", "acme", {"name": "Acme"})
    assert (plan.action, plan.detail["plan"]) == ("customer.plan", "pro")
    assert said.by.endswith(" admin")


def test_a_tenant_whose_name_has_slashes_is_reached_by_its_name(api):
    name = "acme/eu/1"
    assert api.ask("POST", "/api/v1/customers", json={"tenant": name, "name": "Acme"}).status_code == 201
    for spelled in (name, name.replace("/", "%2F")):
        assert api.get(f"/api/v1/customers/{spelled}").json()["tenant"] == name
        assert api.get(f"/api/v1/customers/{spelled}/revenue").status_code == 200
    booked = {"month": "2026-10", "amount": "5", "external_id": "x1"}
    assert api.ask("POST", f"/api/v1/customers/{name}/revenue", json=booked).status_code == 201
    assert api.ask("PATCH", f"/api/v1/customers/{name}", json={"name": "A"}).json()["name"] == "A"
    assert api.ask("DELETE", f"/api/v1/customers/{name}").status_code == 200
