"""Limits at the gateway: who passes, who is refused and how, and what the books say then."""

import json
import threading
import time
from collections.abc import Callable

import pytest
from limits_scene import ACME, Scene, farebox
from running_keeper import Keeper
from running_worker import ANSWER, CHAT, CHAT_COST, answering, response
from scripted import ask, play, until


def test_a_subject_that_has_used_its_limit_up_is_refused_and_nobody_else(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit(where={"tier": "free"}, window="day", time_zone="Europe/Berlin")
    assert found.statuses(4) == [200, 200, 200, 429]
    refused = found.call()
    assert farebox(refused) | {"reset_at": None, "message": None} == {
        "code": "limit_exceeded", "limit_id": limit, "per": "user", "subject": "acme/u_1", "amount": 3,
        "unit": "requests", "used": 3, "held": 0, "window": "day", "reset_at": None, "message": None,
    }  # fmt: skip
    assert refused.json["error"]["code"] == "limit_exceeded"  # type: ignore[index,call-overload]
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["x-farebox-limit"] == limit
    reset = refused.headers["x-farebox-reset-at"]
    assert reset == farebox(refused)["reset_at"]
    assert reset.endswith(("T00:00:00+01:00", "T00:00:00+02:00"))
    assert 0 < int(refused.headers["retry-after"]) <= 25 * 3600
    assert found.call("x-tenant-id: acme", "x-user-id: u_2", "x-tier: free").status == 200
    assert found.call("x-tenant-id: globex", "x-user-id: u_1", "x-tier: free").status == 200
    assert found.statuses(5, "x-tenant-id: acme", "x-user-id: u_1", "x-tier: pro") == [200] * 5
    assert len(found.upstream.requests) == 10
    assert found.used(limit) == 3
    refusals = [event for event in found.keeper.events() if event["state"] == "refused"]
    assert {event["limits"]["refused_by"] for event in refusals} == {limit}
    assert {event["cost_usd"] for event in refusals} <= {None, "0.000000000000"}


def test_dollars_are_counted_as_they_settle(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit("tenant", f"{3 * CHAT_COST / 10**12:.12f} usd")
    assert found.statuses(4) == [200, 200, 200, 429]
    assert farebox(found.call())["used"] == "0.000036"
    assert found.used(limit) == "0.000036"
    assert found.keeper.spend() == {"acme": 3 * CHAT_COST}


@pytest.mark.parametrize(
    ("path", "body", "at"),
    [
        ("/proxy/openai/v1/responses", b'{"model":"gpt-4.1-mini","input":"hi"}', ("error", "code", "limit_exceeded")),
        (
            "/proxy/anthropic/v1/messages", b'{"model":"claude-haiku-4-5","max_tokens":5,"messages":[]}',
            ("error", "type", "rate_limit_error"),
        ),
        (
            "/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent", b'{"contents":[]}',
            ("error", "status", "RESOURCE_EXHAUSTED"),
        ),
        ("/proxy/groq/openai/v1/chat/completions", CHAT, ("error", "code", "limit_exceeded")),
    ],
)  # fmt: skip
def test_a_refusal_has_the_shape_of_the_provider_that_was_called(
    scene: Callable[..., Scene], path: str, body: bytes, at: tuple[str, str, str]
) -> None:
    found = scene()
    found.limit(amount="0 requests", message="{tier}: {used} of {amount} until {reset_at}")
    answer = found.call(body=body, path=path)
    outer, inner, value = at
    assert answer.status == 429
    assert answer.json[outer][inner] == value  # type: ignore[index]
    told = farebox(answer)
    assert told["message"] == f"free: 0 requests of 0 requests until {told['reset_at']}"
    assert found.upstream.requests == []


def test_what_never_starts_anew_names_no_time_to_ask_again(scene: Callable[..., Scene]) -> None:
    found = scene()
    found.limit(amount="0 requests", window="lifetime")
    answer = found.call()
    assert (answer.status, answer.headers["x-should-retry"], farebox(answer)["reset_at"]) == (429, "false", None)
    assert not {"retry-after", "x-farebox-reset-at"} & set(answer.headers)


def test_warn_and_dry_run_let_calls_pass_and_tell(scene: Callable[..., Scene]) -> None:
    found = scene()
    warns = found.limit("tenant", "1 requests", action="warn", warn_at=[0.5])
    dry = found.limit("user", "2 requests", action="dry_run")
    assert found.statuses(3) == [200, 200, 200]
    assert found.call().headers["x-farebox-warning"] == f"{warns} 3.00"
    assert until(lambda: found.used(warns) == 4)
    shown = [event["limits"] for event in found.keeper.events()]
    assert [dry in limits["dry_run"] for limits in shown] == [False, False, True, True]
    assert all({warns, dry} == set(limits["admitted"]) for limits in shown)
    assert warns in shown[-1]["warned"]


def test_a_downgraded_call_is_served_by_the_other_model_and_tells_what_it_saved(scene: Callable[..., Scene]) -> None:
    nano = ANSWER.replace(b"gpt-4.1-mini-2025-04-14", b"gpt-4.1-nano-2025-04-14")
    found = scene(answering(response(), response(nano)))
    limit = found.limit(amount="1 requests", action="downgrade", model="gpt-4.1-nano")
    assert found.statuses(1) == [200]
    answer = found.call()
    assert (answer.status, answer.headers["x-farebox-model-requested"]) == (200, "gpt-4.1-mini")
    assert json.loads(found.upstream.requests[1].partition(b"\r\n\r\n")[2])["model"] == "gpt-4.1-nano"
    event = found.keeper.events()[-1]
    assert (event["model_requested"], event["model_billed"]) == ("gpt-4.1-mini", "gpt-4.1-nano-2025-04-14")
    assert event["limits"]["downgraded_by"] == limit
    # gpt-4.1-nano is $0.10 and $0.40 a million tokens, a quarter of gpt-4.1-mini's
    assert event["saved_usd"] == f"{CHAT_COST * 3 // 4 / 10**12:.12f}"


def test_a_throttled_subject_passes_so_often_a_minute(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit(amount="1 requests", action="throttle", rate=2)
    while time.time() % 60 > 50:
        time.sleep(0.5)
    assert found.statuses(4) == [200, 200, 200, 429]
    refused = found.call()
    assert (refused.headers["x-should-retry"], refused.headers["x-farebox-limit"]) == ("true", limit)
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_all_limits_must_admit_or_nothing_is_held(scene: Callable[..., Scene]) -> None:
    found = scene()
    wide, narrow = found.limit("tenant", "10 requests"), found.limit("user", "2 requests")
    assert found.statuses(5) == [200, 200, 429, 429, 429]
    assert (found.used(wide), found.used(narrow)) == (2, 2)


def test_a_strict_limit_bounds_the_answer_by_what_is_left(scene: Callable[..., Scene]) -> None:
    found = scene()
    # Room for the prompt's bytes at $0.40 a million tokens and for 50 tokens of output at $1.60.
    amount = len(CHAT) * 400_000 + 50 * 1_600_000
    found.limit("tenant", f"{amount / 10**12:.12f} usd", strict=True)
    answer = found.call()
    assert (answer.status, answer.headers["x-farebox-max-tokens"]) == (200, "50")
    sent = json.loads(found.upstream.requests[0].partition(b"\r\n\r\n")[2])
    assert sent == {**json.loads(CHAT), "max_completion_tokens": 50}
    bounded = found.call(body=CHAT[:-1] + b',"max_tokens":20}')
    assert (bounded.status, "x-farebox-max-tokens" in bounded.headers) == (200, False)
    while (answer := found.call()).status == 200:
        assert int(answer.headers["x-farebox-max-tokens"]) >= 16
    assert farebox(answer)["code"] == "limit_exceeded"
    assert sum(found.keeper.spend().values()) <= amount


def test_a_strict_limit_refuses_what_cannot_be_bounded_unless_told_otherwise(scene: Callable[..., Scene]) -> None:
    found = scene()
    searching = CHAT[:-1] + b',"web_search_options":{"search_context_size":"low"}}'
    limit = found.limit("tenant", "1 usd", strict=True)
    answer = found.call(body=searching)
    assert (answer.status, farebox(answer)["code"]) == (422, "unbounded_call")
    found.worker.directory.limits.change(limit, {"allow_unbounded": True})
    found.in_force()
    assert found.call(body=searching).status == 200


def test_a_model_without_a_price_is_refused_where_dollars_count(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit("tenant", "1 usd")
    unknown = CHAT.replace(b"gpt-4.1-mini", b"gpt-of-tomorrow")
    answer = found.call(body=unknown)
    assert (answer.status, farebox(answer)["code"]) == (402, "unpriced_model")
    found.worker.directory.limits.change(limit, {"unpriced": "pass"})
    found.in_force()
    assert found.call(body=unknown).status == 200


def test_a_customers_key_is_told_shares_and_never_dollars(scene: Callable[..., Scene]) -> None:
    found = scene()
    found.limit("tenant", f"{CHAT_COST / 10**12:.12f} usd", message="{used} of {amount}")
    key = found.worker.new_key(audience="customer")
    headers = ("x-tenant-id: acme", f"x-farebox-key: {key}")
    assert found.call(*headers).status == 200
    told = found.call(*headers)
    assert {name: farebox(told)[name] for name in ("amount", "unit", "used", "message")} == {
        "amount": 100, "unit": "percent", "used": 100, "message": "100 % of 100 %",
    }  # fmt: skip
    assert b"usd" not in told.body
    assert b"0.0000" not in told.body


def test_calls_with_the_callers_own_credential_count_only_where_a_limit_says_so(scene: Callable[..., Scene]) -> None:
    found = scene()

    def calls() -> list[int]:
        lines = [
            "POST /proxy/openai/v1/chat/completions HTTP/1.1", "Host: localhost", "x-tenant-id: acme",
            f"x-farebox-key: {found.worker.key}", "Authorization: Bearer sk-of-the-caller",
            f"Content-Length: {len(CHAT)}",
        ]  # fmt: skip
        return [ask(found.worker, "\r\n".join(lines).encode() + b"\r\n\r\n" + CHAT).status for _ in range(3)]

    price = f"{CHAT_COST / 10**12:.12f} usd"
    limit = found.limit("tenant", price)
    assert calls() == [200, 200, 200]
    found.worker.directory.limits.change(limit, {"include_byok": True})
    found.in_force()
    assert calls() == [200, 429, 429]


def test_named_units_count_calls_that_are_done(scene: Callable[..., Scene]) -> None:
    failed = response(b'{"error":{"message":"x"}}', status=b"500 Internal Server Error")
    found = scene(answering(failed, response()))
    limit = found.limit("tenant", "3 analyses")
    two = (*ACME, "x-farebox-units: analyses=2")
    assert found.statuses(3, *two) == [500, 200, 429]
    assert found.used(limit, tenant="acme") == 2
    assert found.statuses(2) == [200, 200], "calls without such units are none of its business"
    assert found.call(*ACME, "x-farebox-units: analyses=1").status == 200


def test_who_is_stopped_by_live_calls_alone_may_ask_again(scene: Callable[..., Scene]) -> None:
    go = threading.Event()
    found = scene(play(lambda _peer: go.wait(10), response()))
    limit = found.limit("user", "1 requests")
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(found.call().status))
    first.start()
    assert until(lambda: len(found.upstream.requests) == 1)
    busy = found.call()
    assert until(lambda: bool(found.keeper.explain(tenant="acme", user="u_1")[0]["holders"][0]["calls"]))
    [holder] = found.keeper.explain(tenant="acme", user="u_1")[0]["holders"]
    go.set()
    first.join(10)
    assert (farebox(busy)["code"], busy.headers["retry-after"], busy.headers["x-should-retry"]) == (
        "limit_busy", "1", "true",
    )  # fmt: skip
    assert (answers, holder["open_calls"], holder["calls"][0]["held"]) == ([200], 1, 1)
    assert holder["calls"][0]["event_id"] == found.keeper.events()[0]["id"]
    assert farebox(found.call())["code"] == "limit_exceeded"
    assert found.used(limit) == 1


def test_what_is_changed_or_removed_is_in_force_within_a_second(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit(amount="1 requests")
    assert found.statuses(2) == [200, 429]

    def within_a_second(status: int) -> None:
        began = time.monotonic()
        while found.call().status != status:
            assert time.monotonic() - began < 5
            time.sleep(0.02)

    found.worker.directory.limits.change(limit, {"amount": "1000 requests"})
    within_a_second(200)
    found.worker.directory.limits.change(limit, {"amount": "2 requests"})
    within_a_second(429)
    found.worker.directory.limits.remove(limit)
    within_a_second(200)
    assert found.statuses(3) == [200, 200, 200]


def test_a_new_limit_knows_what_was_spent_before_it(scene: Callable[..., Scene]) -> None:
    found = scene()
    assert found.statuses(3) == [200, 200, 200]
    assert until(lambda: found.keeper.spend() == {"acme": 3 * CHAT_COST})
    found.limit("user", "4 requests")
    assert found.statuses(2) == [200, 429]
    found.limit("tenant", f"{6 * CHAT_COST / 10**12:.12f} usd")
    assert found.statuses(4, "x-tenant-id: acme", "x-user-id: u_2") == [200, 200, 429, 429]


def test_a_header_left_out_evades_nothing(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit("user", "2 requests")
    assert found.statuses(3, "x-tenant-id: acme") == [200, 200, 429]
    assert farebox(found.call("x-tenant-id: acme"))["subject"] == "acme/(none)"
    assert found.used(limit, tenant="acme") == 2


def test_without_the_authority_some_calls_pass_unchecked_strict_ones_wait_and_the_blocked_stay_so(
    scene: Callable[..., Scene],
) -> None:
    found = scene(limits__grace=2)
    limit = found.limit("user", "1 requests")
    assert found.statuses(2) == [200, 429]
    found.limit("feature", "1 usd", strict=True, where={"feature": "report"})
    found.keeper.stop()
    assert found.call().status == 429, "known to be blocked"
    other = ("x-tenant-id: acme", "x-user-id: u_2")
    assert found.statuses(3, *other) == [200, 200, 429]
    strict = found.call("x-tenant-id: acme", "x-user-id: u_1", "x-feature: report", path="/proxy/openai/v1/completions")
    assert strict.status == 429
    found.keeper = Keeper(found.worker, ticking=True)
    found.in_force()
    events = found.keeper.events()
    assert [event["limits"]["unchecked"] for event in events if event["state"] == "done"] == [False, True, True]
    assert until(
        lambda: found.used(limit, tenant="acme", user="u_2") == 2
    )  # what passed unchecked is counted all the same
    assert farebox(found.call(*other))["code"] == "limit_exceeded"


def test_a_restarted_authority_knows_all_that_was_spent(scene: Callable[..., Scene]) -> None:
    found = scene()
    limit = found.limit("user", "5 requests")
    assert found.statuses(3) == [200] * 3
    found.keeper.stop()
    found.keeper = Keeper(found.worker, ticking=True)
    found.in_force()
    assert found.statuses(3) == [200, 200, 429]
    assert found.used(limit) == 5


def test_a_thousand_callers_at_once_do_not_pass_a_limit(scene: Callable[..., Scene]) -> None:
    found = scene()
    found.limit("tenant", "60 requests")
    found.limit("user", "7 requests")
    counts = {200: 0, 429: 0}
    lock = threading.Lock()

    def calls(user: int) -> None:
        for _ in range(12):
            status = found.call("x-tenant-id: acme", f"x-user-id: u_{user % 10}").status
            with lock:
                counts[status] += 1

    threads = [threading.Thread(target=calls, args=(user,)) for user in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == {200: 60, 429: 180}


def test_nobody_is_refused_while_there_is_room_however_many_call_at_once(scene: Callable[..., Scene]) -> None:
    found = scene()
    for per in ("tenant", "user", "feature"):
        found.limit(per, "1000 usd")
        found.limit(per, "100000 requests", window="day")
    refused: list[bytes] = []

    def calls(number: int) -> None:
        for turn in range(25):
            who = f"x-user-id: u_{(number * turn) % 17}", f"x-tenant-id: t_{turn % 3}", "x-feature: chat"
            answer = found.call(*who)
            if answer.status != 200:
                refused.append(answer.body)

    threads = [threading.Thread(target=calls, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert refused == []
