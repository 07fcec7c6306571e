import pytest

from farebox.core.queries import EventsQuery, UsageQuery
from farebox.errors import NotFound

ROWS = [
    {"tenant": "acme", "calls": 3, "spend": "1.250000000000", "avg_cost": None},
    {"tenant": None, "calls": 1, "spend": "0.000000000000", "avg_cost": "0.000000000000"},
]
ANSWER = {"columns": ["tenant", "calls", "spend", "avg_cost"], "rows": ROWS, "meta": {"estimated_share": "0"}}


def test_usage_asks_the_keeper_what_the_query_string_says(api):
    api.keeper.answers["usage"] = ANSWER
    answer = api.get("/api/v1/usage?group_by=tenant,feature&group_by=day&tier=free&tag.region=eu&limit=5&order=-calls")
    assert answer.status_code == 200
    body = answer.json()
    assert body["data"] == ROWS
    assert body["next_cursor"] is None
    assert body["meta"]["columns"] == ANSWER["columns"]
    query = api.keeper.last("usage")
    assert isinstance(query, UsageQuery)
    assert query.group_by == ("tenant", "feature", "day")
    assert query.where == {"tier": ("free",), "tag.region": ("eu",)}
    assert (query.limit, query.order) == (5, "-calls")


def test_usage_as_csv_leaves_an_unknown_empty(api):
    api.keeper.answers["usage"] = ANSWER
    answer = api.get("/api/v1/usage?group_by=tenant&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines() == [
        "tenant,calls,spend,avg_cost",
        "acme,3,1.250000000000,",
        ",1,0.000000000000,0.000000000000",
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("tennant=acme", "did you mean tenant"),
        ("limit=1001", "give 1 to 1000"),
        ("since=yesterday", "30d"),
        ("measures=spent", "no measure"),
        ("format=xml", "json or csv"),
    ],
)
def test_a_question_that_cannot_be_asked_never_reaches_the_keeper(api, query, words):
    answer = api.get(f"/api/v1/usage?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_query"
    assert words in answer.json()["error"]["message"]
    assert api.keeper.asked == []


@pytest.mark.parametrize(
    "path", ["keys", "limits", "plans", "customers", "providers", "prices", "routes", "alerts", "channels", "tokens"]
)
def test_a_number_of_rows_with_thousands_of_digits_is_only_too_large(api, path):
    for text in ("9" * 5000, "0", "x"):
        answer = api.ask("GET", f"/api/v1/{path}?limit={text}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_query")
        assert len(answer.json()["error"]["message"]) < 100
    assert api.get(f"/api/v1/verify?sample={'9' * 5000}").status_code == 400


def test_events_come_with_the_cursor_of_the_next_page(api):
    api.keeper.answers["events"] = {"data": [{"id": "b"}, {"id": "a"}], "next_cursor": "a"}
    answer = api.get("/api/v1/events?limit=2&cursor=c&streaming=true")
    assert answer.json() == {"data": [{"id": "b"}, {"id": "a"}], "next_cursor": "a"}
    assert api.keeper.last("events") == EventsQuery(where={"streaming": ("true",)}, limit=2, cursor="c")


def test_one_event_is_its_own_fields_with_the_evidence_beside_them(api):
    api.keeper.answers["event"] = {
        "event": {"id": "0193", "cost_usd": "0.000412800000"},
        "attempts": [{"id": "0193"}],
        "arithmetic": [{"meter": "input", "count": 112, "rate": "0.40", "amount": "0.000044800000"}],
        "corrections": [],
    }
    body = api.get("/api/v1/events/0193").json()
    assert body["id"] == "0193"
    assert body["arithmetic"][0]["meter"] == "input"
    assert set(body) == {"id", "cost_usd", "attempts", "arithmetic", "corrections"}


def test_an_event_that_is_not_there_is_404(api):
    api.keeper.answers["event"] = NotFound("there is no event 0193")
    assert api.get("/api/v1/events/0193").status_code == 404
    assert api.get(f"/api/v1/events/{'x' * 65}").status_code == 404


def test_flush_answers_once_the_keeper_has(api):
    assert api.get("/api/v1/flush").json()["flushed"] is True
    assert api.keeper.asked == [("flush", None)]
