"""What an app may rely on around its calls: limits, tasks, contexts, and a Farebox that is away."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from evidence import expect_metered, new_mark
from harness import Farebox as Server
from harness import Key, directive
from scripted import until

import farebox
from farebox import Farebox, LimitExceeded, tracked_call
from farebox.client.calls import Call
from farebox.client.context import LimitWarning, Scope
from farebox.client.door import UNASKED, Door, Permit
from farebox.client.farebox import default
from farebox.demo.simulated import SimulatedProviders
from farebox.errors import FareboxError, Unreachable

MODEL = "gpt-4.1-mini"


@pytest.fixture
def client(simulated: SimulatedProviders) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulated.base_url("openai") + "/v1", api_key="sk-own", max_retries=0) as made:
        yield made


def params(mark: str, **orders: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": directive(mark, input=12, output=9, **orders)}]}


def limit(server: Server, tenant: str, amount: str, **more: object) -> str:
    """Set a limit for a tenant of the test's own; it is in force once an authorization meets it."""
    body = {"per": "tenant", "subject": tenant, "amount": amount, "window": "day", **more}
    headers = {"authorization": f"Bearer {server.token}"}
    made = httpx.post(f"{server.url}/api/v1/limits", json=body, headers=headers, trust_env=False)
    assert made.status_code < 300, made.text
    limit_id: str = made.json()["id"]

    def known() -> bool:
        found = server.api("/limits/explain", tenant=tenant)["limits"]
        return any(entry["limit_id"] == limit_id for entry in found)

    assert until(known)
    return limit_id


def test_a_call_over_its_limit_raises_and_is_not_sent(
    fb: Farebox, server: Server, simulated: SimulatedProviders, client: openai.OpenAI
) -> None:
    tenant = new_mark("tenant")
    limit_id = limit(server, tenant, "1 requests", message="upgrade to go on")
    fb.tracked_call(client, params(new_mark()), tenant_id=tenant)
    assert fb.flush()
    server.flush()
    mark = new_mark()
    with pytest.raises(LimitExceeded) as refused:
        fb.tracked_call(client, params(mark), tenant_id=tenant)
    error = refused.value
    assert (error.limit_id, error.used, error.amount, error.message) == (limit_id, 1, 1, "upgrade to go on")
    assert str(error.reset_at).endswith("T00:00:00Z")
    with fb.context(tenant_id=tenant), pytest.raises(LimitExceeded):
        client.chat.completions.create(**params(mark))
    assert simulated.served(mark) == []


def test_warnings_reach_whoever_wants_them(
    connect: Callable[..., Farebox], server: Server, key: Key, client: openai.OpenAI
) -> None:
    tenant = new_mark("tenant")
    limit_id = limit(server, tenant, "1 requests", action="warn")
    told: list[LimitWarning] = []
    budget: list[LimitWarning] = []
    fb = connect(server, key, on_limit_warning=told.append)
    fb.tracked_call(client, params(new_mark()), tenant_id=tenant)
    assert fb.flush()
    assert until(lambda: server.api("/limits/explain", tenant=tenant)["limits"][0]["used"] == 1)
    fb.tracked_call(client, params(new_mark()), tenant_id=tenant, on_budget_warning=budget.append)
    assert [(warning.limit_id, warning.share) for warning in told] == [(limit_id, 1.0)]
    assert budget == told


def test_a_callback_that_fails_stops_no_call(fb: Farebox, caplog: pytest.LogCaptureFixture) -> None:
    def fails(warning: LimitWarning) -> None:
        raise ZeroDivisionError

    fb.warn(Scope(on_warning=fails), LimitWarning("lim_1", 0.9))
    assert "on_limit_warning failed" in caplog.text


def test_by_way_of_the_gateway_a_call_is_attributed_warned_of_and_metered_once(
    connect: Callable[..., Farebox], server: Server, simulated: SimulatedProviders, key: Key
) -> None:
    tenant, mark = new_mark("tenant"), new_mark()
    limit(server, tenant, "1 requests", action="warn")
    told: list[LimitWarning] = []
    fb = connect(server, key, on_limit_warning=told.append)
    with openai.OpenAI(base_url=f"{server.url}/proxy/openai/v1", api_key=key.secret, max_retries=0) as client:
        fb.tracked_call(client, params(new_mark()), tenant_id=tenant)
        assert until(lambda: bool(fb.tracked_call(client, params(new_mark()), tenant_id=tenant)) and bool(told))
        fb.tracked_call(client, params(mark), tenant_id=tenant, user_id="u_1", task_id=mark)
    expect_metered(server, simulated, mark, tenant=tenant, user="u_1")


def test_a_downgraded_call_is_sent_to_the_other_model(
    fb: Farebox, server: Server, simulated: SimulatedProviders, client: openai.OpenAI
) -> None:
    tenant, mark = new_mark("tenant"), new_mark()
    limit_id = limit(server, tenant, "0 requests", action="downgrade", model="gpt-4.1-nano")
    fb.tracked_call(client, params(mark), tenant_id=tenant, task_id=mark)
    assert fb.flush()
    event = expect_metered(server, simulated, mark, model_requested=MODEL)
    assert event["model_billed"].startswith("gpt-4.1-nano")
    assert event["limits"]["downgraded_by"] == limit_id


def test_a_strict_limit_shortens_the_answer_to_what_surely_fits(
    fb: Farebox, server: Server, simulated: SimulatedProviders, client: openai.OpenAI
) -> None:
    tenant, mark = new_mark("tenant"), new_mark()
    limit(server, tenant, "400 tokens", strict=True)
    fb.tracked_call(client, {**params(mark), "max_tokens": 1000}, tenant_id=tenant)
    (served,) = simulated.served(mark)
    sent = json.loads(served.body)
    assert 16 <= sent["max_tokens"] == 400 - len(json.dumps({**sent, "max_tokens": 1000}, separators=(",", ":")))


def test_a_customers_key_cannot_call_for_another(
    connect: Callable[..., Farebox], server: Server, simulated: SimulatedProviders, client: openai.OpenAI
) -> None:
    bound = connect(server, server.key(new_mark("key"), "--bind", "tenant=acme"))
    mark = new_mark()
    with pytest.raises(FareboxError, match="attribution_conflict"):
        bound.tracked_call(client, params(mark), tenant_id="globex")
    assert simulated.served(mark) == []
    bound.tracked_call(client, params(mark), task_id=mark)
    assert bound.flush()
    expect_metered(server, simulated, mark, tenant="acme")


def test_each_tracked_call_is_made_for_the_key_that_it_names_whoever_wrapped_the_client(
    fb: Farebox, connect: Callable[..., Farebox], server: Server, simulated: SimulatedProviders, client: openai.OpenAI
) -> None:
    fb.wrap(client)
    bound = connect(server, server.key(new_mark("key"), "--bind", "tenant=acme"))
    whole, streamed, own = new_mark(), new_mark(), new_mark()
    with pytest.raises(FareboxError, match="attribution_conflict"):
        bound.tracked_call(client, params(whole), tenant_id="globex")
    bound.tracked_call(client, params(whole), task_id=whole)
    for _ in bound.tracked_call(client, {**params(streamed), "stream": True}, task_id=streamed):
        pass
    with fb.context(task_id=own):
        client.chat.completions.create(**params(own))
    assert bound.flush()
    assert fb.flush()
    expect_metered(server, simulated, whole, tenant="acme")
    expect_metered(server, simulated, streamed, tenant="acme")
    expect_metered(server, simulated, own, tenant=None)


def test_params_that_are_no_arguments_are_refused_in_words(fb: Farebox, client: openai.OpenAI) -> None:
    with pytest.raises(FareboxError, match="params is a str: give the SDK's arguments by name"):
        fb.tracked_call(client, "hello")  # type: ignore[arg-type]


def test_a_task_groups_its_calls_and_says_how_it_ended(fb: Farebox, server: Server, client: openai.OpenAI) -> None:
    tenant = new_mark("tenant")
    fb.wrap(client)
    with fb.task("done", tenant_id=tenant, feature="extract") as task:
        client.chat.completions.create(**params(new_mark()))
        client.chat.completions.create(**params(new_mark()))
        task.succeeded(value_usd="1.50")
    with pytest.raises(ZeroDivisionError), fb.task("broken", tenant_id=tenant):
        client.chat.completions.create(**params(new_mark()))
        raise ZeroDivisionError
    assert fb.flush()
    found = server.events(tenant=tenant)
    assert sorted((event["task"], event["feature"]) for event in found) == [
        ("broken", None), ("done", "extract"), ("done", "extract"),
    ]  # fmt: skip


def test_a_providers_error_is_the_sdks_own_and_costs_nothing(
    fb: Farebox, server: Server, client: openai.OpenAI
) -> None:
    mark = new_mark()
    with pytest.raises(openai.APIStatusError):
        fb.tracked_call(client, params(mark, status=429), tenant_id="acme", task_id=mark)
    assert fb.flush()
    event = server.the_event(task=mark)
    assert (event["state"], event["status"], event["cost_usd"]) == ("upstream_error", 429, "0.000000000000")


def test_a_provider_that_is_away_costs_nothing_and_one_that_does_not_answer_at_least_the_prompt(
    fb: Farebox, server: Server, simulated: SimulatedProviders
) -> None:
    marks = [new_mark(), new_mark()]
    nobody = openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key="k", max_retries=0)
    with nobody as client, pytest.raises(openai.APIConnectionError):
        fb.tracked_call(client, params(marks[0]), tenant_id="acme", task_id=marks[0])
    base_url = simulated.base_url("openai") + "/v1"
    hurried = openai.OpenAI(base_url=base_url, api_key="k", max_retries=0, timeout=0.3)
    with hurried as client, pytest.raises(openai.APITimeoutError):
        fb.tracked_call(client, params(marks[1], delay_ms=5000), tenant_id="acme", task_id=marks[1])
    assert fb.flush()
    away, slow = server.the_event(task=marks[0]), server.the_event(task=marks[1])
    assert (away["state"], away["cost_usd"]) == ("upstream_error", "0.000000000000")
    assert (slow["state"], slow["cost_source"]) == ("timeout", "estimated")
    assert list(slow["usage"]) == ["input"]


def test_the_sdks_own_retries_are_events_of_their_own_and_told_as_such(
    fb: Farebox, server: Server, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    trying = openai.OpenAI(base_url=simulated.base_url("openai") + "/v1", api_key="k", max_retries=1)
    with trying as client, pytest.raises(openai.APIStatusError):
        fb.tracked_call(client, params(mark, status=500), tenant_id="acme", task_id=mark)
    assert fb.flush()
    assert [event["retries"] for event in server.events(task=mark)][::-1] == [0, 1]


def test_a_stream_that_is_left_early_is_metered_as_far_as_it_came(
    fb: Farebox, server: Server, client: openai.OpenAI
) -> None:
    mark = new_mark()
    stream = fb.tracked_call(client, {**params(mark, chunk_ms=5), "stream": True}, tenant_id="acme", task_id=mark)
    next(iter(stream))
    stream.close()
    assert fb.flush()
    event = server.the_event(task=mark)
    assert (event["state"], event["cost_source"]) == ("client_closed", "estimated")


def test_nothing_of_prompts_or_answers_leaves_the_process(simulated: SimulatedProviders, tmp_path: Path) -> None:
    asked: list[object] = []

    class Listening(Farebox):
        def permit(self, call: Call) -> Permit:
            asked.append(call.question())
            return Permit()

        def post(self, call: Call) -> None:
            asked.append(call.event())

    fb = Listening("http://127.0.0.1:1", "fbx_none", spool=tmp_path)
    with anthropic.Anthropic(base_url=simulated.base_url("anthropic"), api_key="own") as client:
        answer = fb.tracked_call(
            client,
            {"model": "claude-haiku-4-5", "max_tokens": 10, "system": "be secret", "messages": [
                {"role": "user", "content": "what is the secret"}]},
        )  # fmt: skip
    said = json.dumps(asked)
    assert len(asked) == 2
    assert "secret" not in said
    assert answer.content[0].text not in said


# Farebox is away


def away(tmp_path: Path, **options: Any) -> Farebox:
    return Farebox("http://127.0.0.1:1", "fbx_none", spool=tmp_path / "away", **options)


def test_calls_go_on_while_farebox_is_away_unless_they_must_not(tmp_path: Path, client: openai.OpenAI) -> None:
    fb = away(tmp_path)
    assert fb.tracked_call(client, params(new_mark())).choices
    assert not fb.flush(0.5)
    fb.close(0.1)
    assert len(list((tmp_path / "away").glob("*/*.events.json"))) == 1
    closed = away(tmp_path, fail_open=False)
    with pytest.raises(Unreachable):
        closed.tracked_call(client, params(new_mark()))
    closed.close(0.1)


def test_what_was_used_while_farebox_was_stopped_is_there_once_afterwards(
    installation: Callable[..., Server], simulated: SimulatedProviders, tmp_path: Path, client: openai.OpenAI
) -> None:
    server = installation(simulated).start()
    key = server.key("sdk")
    fb = Farebox(server.url, key.secret, spool=tmp_path / "spool")
    marks = [new_mark() for _ in range(9)]

    def call(mark: str) -> None:
        fb.tracked_call(client, params(mark), tenant_id="acme", task_id=mark)

    for mark in marks[:3]:
        call(mark)
    assert server.stop() == 0
    for mark in marks[3:6]:
        call(mark)
    assert not fb.flush(0.5)
    assert list((tmp_path / "spool").glob("*/*.events.json"))
    server.start()
    for mark in marks[6:]:
        call(mark)
    assert fb.flush()
    fb.close()
    assert sorted(event["task"] for event in server.events(tenant="acme")) == sorted(marks)


def test_what_the_process_before_left_on_disk_is_sent(
    server: Server, key: Key, tmp_path: Path, client: openai.OpenAI
) -> None:
    mark = new_mark()
    before = Farebox(server.url, key.secret, spool=tmp_path)
    before._sender.close(0)
    before.tracked_call(client, params(mark), tenant_id="acme", task_id=mark)
    before.close()
    assert list(tmp_path.glob("*/*.events.json"))
    after = Farebox(server.url, key.secret, spool=tmp_path)
    assert after.flush()
    after.close()
    server.the_event(task=mark)


def test_a_subject_known_to_be_blocked_stays_blocked_and_a_strict_one_closed(tmp_path: Path) -> None:
    door = Door("http://127.0.0.1:1", "fbx_none", fail_open=True)
    acme, globex, strict = (Scope({"tenant": tenant, "user": "u"}) for tenant in ("acme", "globex", "strict"))
    refusal = {"code": "limit_exceeded", "limit_id": "lim_1", "per": "tenant", "subject": "acme",
               "reset_at": "2999-01-01T00:00:00Z"}  # fmt: skip
    with pytest.raises(LimitExceeded):
        door._permit({"verdict": "block", "refusal": refusal}, acme)
    door._permit({"verdict": "allow", "strict": True}, strict)
    with pytest.raises(LimitExceeded, match="used up"):
        door.ask({}, acme)
    with pytest.raises(LimitExceeded, match="strict"):
        door.ask({}, strict)
    assert door.ask({}, globex) == Permit()
    over = {**refusal, "subject": "globex", "reset_at": "2000-01-01T00:00:00Z"}
    with pytest.raises(LimitExceeded):
        door._permit({"verdict": "block", "refusal": over}, globex)
    assert door.ask({}, globex) == Permit()
    door.close()


def test_an_answer_without_a_verdict_is_none(tmp_path: Path) -> None:
    """Such as that of another service, which has taken Farebox's port."""
    door = Door("http://127.0.0.1:1", "fbx_none", fail_open=True)
    assert door._permit({"status": "ok"}, Scope({})) == UNASKED
    door.close()
    closed = Door("http://127.0.0.1:1", "fbx_none", fail_open=False)
    with pytest.raises(Unreachable, match="no Farebox"):
        closed._permit({"status": "ok"}, Scope({}))
    closed.close()


# what is loaded, what is forked


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_farebox_loads_no_http_client_and_the_sdk_no_server() -> None:
    names = "sorted({name.partition('.')[0] for name in sys.modules})"
    loaded = run(f"import sys, farebox; print({names})")
    assert not [name for name in ("httpx", "msgspec", "asyncio", "ssl") if f"'{name}'" in loaded]
    loaded = run(f"import sys, farebox; farebox.Farebox; print({names})")
    server = (
        "httpx",
        "fastapi",
        "duckdb",
        "pyarrow",
        "sqlalchemy",
        "uvicorn",
        "uvloop",
        "httptools",
        "typer",
        "openai",
    )
    assert not [name for name in server if f"'{name}'" in loaded]


def test_every_public_name_is_there() -> None:
    for name in farebox.__all__:
        assert getattr(farebox, name) is not None
    with pytest.raises(AttributeError):
        farebox.nothing  # noqa: B018


FORKS = """
import os, sys, openai
from farebox import Farebox
url, key, base, spool, *marks = sys.argv[1:]
fb = Farebox(url, key, spool=spool)
client = fb.wrap(openai.OpenAI(base_url=base, api_key="own", max_retries=0))
def call(mark):
    with fb.context(tenant_id="acme", task_id=mark):
        client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "hi"}])
call(marks[0])
child = os.fork()
if child == 0:
    client = fb.wrap(openai.OpenAI(base_url=base, api_key="own", max_retries=0))
    call(marks[1])
    fb.close(10)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(status)
"""


def test_a_forked_child_sends_what_is_its_own_and_the_end_of_a_process_what_is_left(
    server: Server, key: Key, client: openai.OpenAI, tmp_path: Path
) -> None:
    marks = [new_mark(), new_mark()]
    asked = [sys.executable, "-c", FORKS, server.url, key.secret, str(client.base_url), str(tmp_path), *marks]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    for mark in marks:
        server.the_event(task=mark)


def test_a_client_without_a_key_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAREBOX_KEY", raising=False)
    with pytest.raises(FareboxError, match="farebox keys create"):
        Farebox()


def test_what_is_no_sdks_client_cannot_be_wrapped(fb: Farebox) -> None:
    with pytest.raises(FareboxError, match="cannot be wrapped"):
        fb.wrap(object())


def test_threads_share_one_client(fb: Farebox, server: Server, client: openai.OpenAI) -> None:
    fb.wrap(client)
    task = new_mark()

    def work(number: int) -> None:
        with fb.context(tenant_id="acme", user_id=f"u_{number}", task_id=task):
            client.chat.completions.create(**params(new_mark()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fb.flush()
    assert sorted(event["user"] for event in server.events(task=task)) == [f"u_{number}" for number in range(8)]


def test_module_level_functions_use_a_client_of_the_process(
    server: Server, simulated: SimulatedProviders, key: Key, client: openai.OpenAI
) -> None:
    mark = new_mark()
    tracked_call(
        client, params(mark), api_key=key.secret, base_url=server.url, tenant_id="acme", group="sdk", task_id=mark
    )
    assert default(server.url, key.secret).flush()
    expect_metered(server, simulated, mark, tenant="acme", feature="sdk")


def test_a_call_that_something_else_has_metered_is_booked_in_the_context(fb: Farebox, server: Server) -> None:
    mark = new_mark()
    with fb.context(tenant_id="acme", user_id="u_1", task_id=mark, tags={"region": "eu", "job": 1}):
        fb.record({"provider": "openai", "model": MODEL, "usage": {"input": 12, "output": 9}, "user_id": "u_2",
                   "tags": {"job": 2}})  # fmt: skip
    assert fb.flush()
    event = server.the_event(task=mark)
    assert (event["tenant"], event["user"], event["tags"]) == ("acme", "u_2", {"region": "eu", "job": 2})
    assert event["usage"] == {"input": 12, "output": 9}
