"""Access tokens: one at a time, ahead of expiry, never in the way of a call that has one, and never told."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_google import EMAIL, FakeGoogle, key_file
from running_worker import Answer, Peer, Running, Upstream, read_answer, response

from farebox.errors import CallRefused, NoCredential, TokenUnavailable
from farebox.gateway.tokens import BACKOFF_S, TokenSource
from farebox.providers.google_accounts import Granted, ServiceAccount

Start = Callable[..., tuple[Running, Upstream]]
PATH = "/proxy/vertex/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:generateContent"
BODY = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
CREDENTIAL = key_file("https://oauth2.googleapis.com/token")


class Minting:
    """A `mint` that does as it is told, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked = 0
        self.life_s = 3600.0
        self.fails: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.tokens = TokenSource(CREDENTIAL, self.mint, lambda: self.now)

    def mint(self, _: ServiceAccount) -> Granted:
        self.asked += 1
        asked = self.asked
        self.hold.wait(5)
        if self.fails is not None:
            raise self.fails
        return Granted(f"ya29.{asked}", self.life_s)

    async def outcome(self) -> CallRefused | None:
        """What a call gets that waits for a token."""
        done: asyncio.Future[CallRefused | None] = asyncio.get_running_loop().create_future()
        self.tokens.wait(done.set_result)
        return await asyncio.wait_for(done, 5)

    async def until_asked(self, times: int) -> None:
        while self.asked < times:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)


def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    async def main() -> None:
        m = Minting()
        assert not m.tokens.is_warm() and m.asked == 0  # nothing is asked for before a call needs it
        assert await m.outcome() is None
        assert m.tokens.line == b"authorization: Bearer ya29.1\r\n"
        m.now += 3600 - 301
        assert m.tokens.is_warm() and m.asked == 1

    asyncio.run(main())


def test_renewal_begins_ahead_of_the_end_once_and_nobody_waits_for_it() -> None:
    async def main() -> None:
        m = Minting()
        await m.outcome()
        m.hold.clear()
        m.now += 3600 - 299
        for _ in range(50):
            assert m.tokens.is_warm()
        await m.until_asked(2)
        assert m.tokens.line.endswith(b"ya29.1\r\n")
        m.hold.set()
        while m.tokens.line.endswith(b"ya29.1\r\n"):
            await asyncio.sleep(0.001)
        assert m.asked == 2 and m.tokens.is_warm()

    asyncio.run(main())


def test_a_token_about_to_end_is_not_sent() -> None:
    async def main() -> None:
        m = Minting()
        await m.outcome()
        m.now += 3600 - 9
        assert not m.tokens.is_warm()

    asyncio.run(main())


def test_all_that_wait_get_the_one_token() -> None:
    async def main() -> None:
        m = Minting()
        assert await asyncio.gather(*(m.outcome() for _ in range(20))) == [None] * 20
        assert m.asked == 1

    asyncio.run(main())


def test_a_failure_is_told_at_once_until_its_back_off_is_over_and_each_is_longer() -> None:
    async def main() -> None:
        m = Minting()
        m.fails = TokenUnavailable("no token")
        for number, delay in enumerate((*BACKOFF_S, BACKOFF_S[-1]), start=1):
            assert isinstance(await m.outcome(), TokenUnavailable)
            assert m.asked == number
            m.now += delay - 0.01
            assert isinstance(await m.outcome(), TokenUnavailable)
            assert m.asked == number
            m.now += 0.02
        m.fails = None
        assert await m.outcome() is None
        assert m.tokens.is_warm()

    asyncio.run(main())


def test_a_failed_renewal_leaves_the_warm_token_in_use() -> None:
    async def main() -> None:
        m = Minting()
        await m.outcome()
        m.fails = TokenUnavailable("no token")
        m.now += 3600 - 200
        assert m.tokens.is_warm()
        await m.until_asked(2)
        assert m.tokens.is_warm() and m.asked == 2
        m.now += BACKOFF_S[0] + 0.1
        assert m.tokens.is_warm()
        await m.until_asked(3)

    asyncio.run(main())


def test_a_defect_while_minting_reaches_whoever_waits_without_its_text() -> None:
    async def main() -> None:
        m = Minting()
        m.fails = RuntimeError("secret")
        refused = await m.outcome()
        assert isinstance(refused, TokenUnavailable)
        assert "RuntimeError" in str(refused) and "secret" not in str(refused)

    asyncio.run(main())


def test_a_refused_token_is_not_sent_again_and_a_new_one_is_kept_through_late_refusals() -> None:
    async def main() -> None:
        m = Minting()
        await m.outcome()
        m.now += 60
        assert m.tokens.is_warm()
        m.tokens.refused()
        assert not m.tokens.is_warm()
        assert await m.outcome() is None
        assert m.tokens.line == b"authorization: Bearer ya29.2\r\n"
        m.tokens.refused()  # the answer to a call that carried the first one
        assert m.tokens.is_warm() and m.asked == 2

    asyncio.run(main())


def test_closing_tells_whoever_waits() -> None:
    async def main() -> None:
        m = Minting()
        m.hold.clear()
        waiting = asyncio.create_task(m.outcome())
        await m.until_asked(1)
        m.tokens.close()
        assert isinstance(await waiting, TokenUnavailable)
        m.hold.set()

    asyncio.run(main())


def test_a_credential_that_is_no_key_file_refuses_each_call() -> None:
    async def main() -> None:
        tokens = TokenSource('{"type":"authorized_user"}', lambda _: Granted("x"))
        done: asyncio.Future[CallRefused | None] = asyncio.get_running_loop().create_future()
        tokens.wait(done.set_result)
        assert isinstance(await done, NoCredential)

    asyncio.run(main())


# through a worker


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    with FakeGoogle() as fake:
        yield fake


def started(gateway: Start, google: FakeGoogle, **more: object) -> Running:
    vertex = {"base_url": google.url, "credential": google.key_file}
    return gateway(providers__vertex=vertex, **more)[0]


def test_a_call_carries_a_minted_token_and_the_next_one_the_same(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    assert [worker.post(BODY, path=PATH).status for _ in range(3)] == [200] * 3
    assert google.asked == 1
    assert {headers["authorization"] for _, headers, _ in google.calls} == {"Bearer ya29.fake-0"}
    assert all("x-goog-api-key" not in headers for _, headers, _ in google.calls)
    [claims] = google.claims
    assert (claims["iss"], claims["aud"]) == (EMAIL, f"{google.url}/token")
    assert claims["exp"] - claims["iat"] == 3600 and abs(claims["iat"] - time.time()) < 60
    assert all(tail.cost_source == "computed" for _, tail in worker.finished(3))


def test_after_a_401_the_next_call_carries_a_new_token(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    assert worker.post(BODY, path=PATH).status == 200
    google.granted.clear()  # revoked
    target = worker.worker.targets.get("vertex")
    assert target is not None and target.tokens is not None
    target.tokens._taken_at -= 60
    assert [worker.post(BODY, path=PATH).status for _ in range(2)] == [401, 200]
    assert google.asked == 2
    worker.finished(3)


def test_a_callers_own_401_leaves_our_token(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    assert worker.post(BODY, path=PATH).status == 200
    target = worker.worker.targets.get("vertex")
    assert target is not None and target.tokens is not None
    target.tokens._taken_at -= 60
    own = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ya29.own\r\nx-farebox-key: {worker.key}\r\n"
    assert worker.raw(f"{own}Connection: close\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY).startswith(
        b"HTTP/1.1 401 "
    )
    assert worker.post(BODY, path=PATH).status == 200
    assert google.asked == 1
    worker.finished(3)


def test_nothing_secret_is_told(gateway: Start, google: FakeGoogle, capsys: pytest.CaptureFixture[str]) -> None:
    worker = started(gateway, google)
    worker.post(BODY, path=PATH)
    google.refuse = (400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')
    journalled = b"".join(path.read_bytes() for path in worker.journal_directory.glob("*.seg"))
    told = journalled + "".join(capsys.readouterr()).encode()
    assert b"ya29" not in told and b"PRIVATE KEY" not in told and b"eyJ" not in told


def test_calls_that_come_together_share_one_token(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    google.hold.clear()
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(worker.post, BODY, path=PATH) for _ in range(12)]
        time.sleep(0.3)
        assert google.calls == []
        google.hold.set()
        assert [answer.result().status for answer in answers] == [200] * 12
    assert google.asked == 1


def refused(answer: Answer) -> tuple[int, object, object]:
    error, farebox = answer.json["error"], answer.json["farebox"]
    assert isinstance(error, dict) and isinstance(farebox, dict)
    return answer.status, farebox["code"], error["message"]


def test_a_refused_account_is_a_missing_credential(gateway: Start, google: FakeGoogle) -> None:
    google.refuse = (400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')
    worker = started(gateway, google)
    status, code, message = refused(worker.post(BODY, path=PATH))
    assert (status, code) == (424, "no_credential")
    assert "invalid_grant: Invalid JWT Signature" in str(message) and EMAIL in str(message)
    assert refused(worker.post(BODY, path=PATH))[0] == 424
    assert google.asked == 1  # the second call was answered from the back-off
    assert [tail.state for _, _, tail in worker.records() if tail is not None] == ["refused"]  # the second is counted


@pytest.mark.parametrize("answer", [(503, b"busy"), (200, b"{}"), (302, b"")])
def test_a_token_server_that_fails_is_a_passing_trouble(
    gateway: Start, google: FakeGoogle, answer: tuple[int, bytes]
) -> None:
    google.refuse = answer
    worker = started(gateway, google)
    answered = worker.post(BODY, path=PATH)
    assert refused(answered)[:2] == (502, "token_unavailable")
    assert (answered.headers["x-should-retry"], answered.headers["retry-after"]) == ("true", "1")
    google.refuse = None
    time.sleep(BACKOFF_S[0] + 0.1)
    assert worker.post(BODY, path=PATH).status == 200


def test_a_token_server_that_is_not_there(gateway: Start, google: FakeGoogle) -> None:
    dead = key_file("http://127.0.0.1:9/token")
    worker, _ = gateway(providers__vertex={"base_url": google.url, "credential": dead})
    assert refused(worker.post(BODY, path=PATH))[:2] == (502, "token_unavailable")


def test_a_key_that_is_none_is_said_to_be(gateway: Start, google: FakeGoogle) -> None:
    broken = key_file(f"{google.url}/token", private_key="-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    worker, _ = gateway(providers__vertex={"base_url": google.url, "credential": broken})
    status, code, message = refused(worker.post(BODY, path=PATH))
    assert (status, code) == (424, "no_credential") and "private_key" in str(message)


def test_the_callers_own_token_needs_none_of_ours(gateway: Start, google: FakeGoogle) -> None:
    google.granted.append("ya29.own")
    worker = started(gateway, google)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nx-farebox-key: {worker.key}\r\nAuthorization: Bearer ya29.own\r\n"
    )
    with worker.connect() as sock:
        sock.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        assert read_answer(sock).status == 200
    assert google.asked == 0
    [(event, _)] = worker.finished()
    assert event.byok


def test_a_caller_that_leaves_while_waiting_leaves_nothing(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    google.hold.clear()
    with worker.connect() as sock:
        sock.sendall(worker.head(PATH) + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        time.sleep(0.3)
    time.sleep(0.1)
    google.hold.set()
    assert worker.post(BODY, path=PATH).status == 200
    assert len(google.calls) == 1
    worker.finished(1)


def test_a_body_that_comes_while_waiting_is_sent_whole(gateway: Start, google: FakeGoogle) -> None:
    worker = started(gateway, google)
    path = "/proxy/vertex/v1/projects/p/locations/l/operations/9:cancel"
    google.hold.clear()
    with worker.connect() as sock:
        sock.sendall(worker.head(path) + b"Content-Length: 12\r\n\r\n{")
        time.sleep(0.2)
        sock.sendall(b'"a":')
        time.sleep(0.1)
        google.hold.set()
        time.sleep(0.2)
        sock.sendall(b'"bcde"}')
        assert read_answer(sock).status == 200
    assert google.calls[0][2] == b'{"a":"bcde"}'


def test_a_new_key_file_is_used_at_once(gateway: Start, google: FakeGoogle) -> None:
    worker, _ = gateway()
    worker.directory.providers.set("vertex", base_url=google.url, credential=google.key_file)
    until = time.monotonic() + 5
    while not worker.worker.snapshot.providers["vertex"].credential and time.monotonic() < until:
        time.sleep(0.01)
    assert worker.post(BODY, path=PATH).status == 200
    worker.new_key()  # another change of the directory: the token stays
    assert worker.post(BODY, path=PATH).status == 200
    assert google.asked == 1


def test_an_api_key_needs_no_token(gateway: Start) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(response(json.dumps({"candidates": []}).encode()))

    worker, upstream = gateway(handler)
    worker.directory.providers.set("vertex", base_url=upstream.url, credential="AIzaExampleExample")
    until = time.monotonic() + 5
    while not worker.worker.snapshot.providers["vertex"].credential and time.monotonic() < until:
        time.sleep(0.01)
    assert worker.post(BODY, path="/proxy/vertex/v1/publishers/google/models/m:generateContent").status == 200
    assert b"x-goog-api-key: AIzaExampleExample" in upstream.requests[0]
