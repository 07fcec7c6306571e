"""Messages arrive: at least once, signed, and no channel waits for another."""

import hashlib
import hmac
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailbox_smtp import Mailbox
from receiving import Receiver

from farebox.alerts import addresses
from farebox.alerts.apprise import Apprise, understood, without_secrets
from farebox.alerts.dispatcher import Dispatcher, send_test
from farebox.alerts.outbox import Delivery, Outbox
from farebox.alerts.targets import Context, Target
from farebox.alerts.webhooks import signature
from farebox.core.alert_rules import Rule, read_spec
from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding
from farebox.errors import DeliveryFailed, InvalidAlert

SAID = Message("80 % of a limit used: user u_1", "User u_1 has used $4 of $5.", "/limits/lim_1")
Make = Callable[..., Dispatcher]


def now_us() -> int:
    return time.time_ns() // 1000


def record(outbox: Outbox, *channels: str, subject: str = "u_1") -> None:
    rule = Rule("alr_1", read_spec("limit", {}), channels)
    assert outbox.record(rule, Finding("alr_1", "limit", subject, "0.8", 0, {"subject": subject}), SAID, now_us())


def hook(channel: str, url: str, **more: object) -> Target:
    return Target(channel, channel, "webhook", url, "fbw_secret", allow_private=True, **more)  # type: ignore[arg-type]


class Stand(Dispatcher):
    """A dispatcher on a table of channels."""

    def __init__(self, outbox: Outbox, *targets: Target, **options: object) -> None:
        self.targets = {target.id: target for target in targets}
        self.disabled: dict[str, str] = {}
        given = {"base_s": 0.02, **options}
        super().__init__(outbox, self.targets.get, self.disabled.__setitem__, now_us, **given)  # type: ignore[arg-type]


@pytest.fixture
def started() -> Iterator[Callable[[Dispatcher], Dispatcher]]:
    running: list[Dispatcher] = []

    def start(dispatcher: Dispatcher) -> Dispatcher:
        dispatcher.start()
        running.append(dispatcher)
        return dispatcher

    yield start
    for dispatcher in running:
        dispatcher.stop()


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settled(outbox: Outbox, state: str, count: int = 1) -> None:
    until(lambda: outbox.counts()[state] == count)


def test_a_webhook_gets_a_signed_message(outbox: Outbox, receiver: Receiver, started: Make) -> None:
    record(outbox, "chn_1")
    started(Stand(outbox, hook("chn_1", receiver.url), dashboard_url="https://fare.example/"))
    (got,) = receiver.wait(1)
    settled(outbox, "sent")
    told = dict(part.split("=", 1) for part in got.headers["x-farebox-signature"].split(","))
    expected = hmac.new(b"fbw_secret", told["t"].encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert told["v1"] == expected
    assert abs(int(told["t"]) - time.time()) < 10
    assert got.headers["x-farebox-event"] == got.data["kind"] == "limit"
    assert got.headers["x-farebox-delivery"] == got.data["delivery"] != ""
    assert (got.data["title"], got.data["text"]) == (SAID.title, SAID.text)
    assert got.data["link"] == "https://fare.example/limits/lim_1"
    assert got.data["facts"] == {"subject": "u_1"}


def test_the_signature_is_that_of_the_documentation() -> None:
    expected = hmac.new(b"s", b'1700000000.{"a":1}', "sha256").hexdigest()
    assert signature("s", 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={expected}"


def test_what_fails_is_sent_again_under_the_same_id(outbox: Outbox, receiver: Receiver, started: Make) -> None:
    receiver.statuses = [500, 404, 302]
    record(outbox, "chn_1")
    started(Stand(outbox, hook("chn_1", receiver.url)))
    got = receiver.wait(4)
    settled(outbox, "sent")
    assert len({message.headers["x-farebox-delivery"] for message in got}) == 1
    assert len({message.body for message in got}) == 1
    assert len(receiver.got) == 4, "a redirect is not followed"
    ((_, (delivery,)),) = outbox.history(1)
    assert (delivery.state, delivery.attempts, delivery.error) == ("sent", 4, "")


def test_what_was_not_delivered_before_the_end_is_delivered_by_the_next_start(
    outbox: Outbox, receiver: Receiver, started: Make, tmp_path: Path
) -> None:
    receiver.statuses = [500]
    record(outbox, "chn_1")
    first = started(Stand(outbox, hook("chn_1", receiver.url), base_s=0.5))
    receiver.wait(1)
    first.stop()
    again = Outbox(tmp_path / "alerts.sqlite3")
    started(Stand(again, hook("chn_1", receiver.url)))
    assert [message.headers["x-farebox-delivery"] for message in receiver.wait(2)] == [
        receiver.got[0].headers["x-farebox-delivery"]
    ] * 2
    settled(again, "sent")
    again.close()


def test_a_slow_channel_and_a_dead_one_hold_nothing_up(outbox: Outbox, started: Make) -> None:
    with Receiver() as slow, Receiver() as quick, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        slow.pause_s = 3.0
        for number in range(5):
            record(outbox, "slow", "dead", "quick", subject=str(number))
        dead = hook("dead", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        begun = time.monotonic()
        started(Stand(outbox, hook("slow", slow.url), dead, hook("quick", quick.url), base_s=0.1))
        quick.wait(5)
        assert time.monotonic() - begun < 2.5
        assert slow.got == []


def test_what_is_never_taken_becomes_a_dead_letter(outbox: Outbox, receiver: Receiver, started: Make) -> None:
    receiver.statuses = [503] * 10
    record(outbox, "chn_1")
    started(Stand(outbox, hook("chn_1", receiver.url), attempts_max=3))
    settled(outbox, "dead")
    (letter,) = outbox.dead()
    assert (letter.attempts, letter.error) == (3, "the webhook answered 503")
    receiver.statuses = []
    outbox.retry(letter.id, now_us())
    settled(outbox, "sent")
    assert len({message.headers["x-farebox-delivery"] for message in receiver.got}) == 1


def test_gone_disables_the_channel(outbox: Outbox, receiver: Receiver, started: Make) -> None:
    receiver.statuses = [410]
    record(outbox, "chn_1")
    stand = Stand(outbox, hook("chn_1", receiver.url))
    started(stand)
    settled(outbox, "dead")
    until(lambda: "410" in stand.disabled.get("chn_1", ""))


def test_nothing_is_sent_to_channels_that_are_removed_or_disabled(
    outbox: Outbox, receiver: Receiver, started: Make
) -> None:
    record(outbox, "gone", "off")
    started(Stand(outbox, hook("off", receiver.url, disabled="by hand")))
    settled(outbox, "dead", 2)
    assert {letter.error for letter in outbox.dead()} == {
        "the channel was removed",
        "the channel is disabled: by hand",
    }
    assert receiver.got == []


class Stuck:
    """A service that takes its time, once."""

    kind = "apprise"
    timeout_s = 0.1

    def __init__(self) -> None:
        self.begun = 0

    def send(self, target: Target, delivery: Delivery, context: Context) -> None:
        self.begun += 1
        if self.begun == 1:
            time.sleep(1)


def test_an_attempt_that_hangs_is_left_alone_and_never_doubled(outbox: Outbox, started: Make) -> None:
    service = Stuck()
    record(outbox, "chn_1")
    started(Stand(outbox, Target("chn_1", "ops", "apprise", "slack://x"), senders=(service,), base_s=0.05))
    until(lambda: any("within" in d.error or "come back" in d.error for _, ds in outbox.history(1) for d in ds))
    settled(outbox, "sent")
    assert service.begun == 2


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200"])
def test_a_name_that_leads_to_a_metadata_service_is_refused_for_good(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    answer = [(family, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: answer)
    for url in ("https://hooks.example/x", "http://hooks.example/x"):
        with pytest.raises(DeliveryFailed, match="metadata") as caught:
            send_test(hook("chn_1", url), now_us())
        assert caught.value.is_final
    with pytest.raises(DeliveryFailed, match="metadata"):
        send_test(Target("chn_1", "ops", "apprise", "mmost://hooks.example/abcdefghijklmnopqrstuvwx"), now_us())


def test_a_private_address_needs_leave(receiver: Receiver) -> None:
    port = receiver.url.split(":")[2].removesuffix("/hook")
    target = Target("chn_1", "ops", "webhook", f"http://localhost:{port}", "s")
    with pytest.raises(DeliveryFailed, match="allow-private"):
        send_test(target, now_us())
    assert receiver.got == []
    send_test(hook("chn_1", f"http://localhost:{port}"), now_us())
    assert receiver.got[0].headers["host"] == f"localhost:{port}"
    assert receiver.got[0].headers["x-farebox-event"] == "test"


def test_errors_hold_no_part_of_the_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        secret = hook("chn_1", f"http://127.0.0.1:{closed.getsockname()[1]}/hidden-token?key=hidden")
        with pytest.raises(DeliveryFailed) as caught:
            send_test(secret, now_us())
    assert "hidden" not in str(caught.value)
    said = without_secrets("Failed at https://x/T0KEN99/abc", "slack://T0KEN99/abcdef/#chan")
    assert "T0KEN99" not in said


def test_apprise_delivers_to_a_service(outbox: Outbox, receiver: Receiver, started: Make) -> None:
    host = receiver.url.removeprefix("http://").removesuffix("/hook")
    target = Target("chn_1", "ops", "apprise", f"mmost://{host}/abcdefghijklmnopqrstuvwx")
    receiver.statuses = [500]
    record(outbox, "chn_1")
    started(Stand(outbox, target))
    got = receiver.wait(2)
    settled(outbox, "sent")
    assert SAID.text in got[1].data["text"]
    assert "/limits/lim_1" in got[1].data["text"]


def test_a_service_that_does_not_take_it_says_so_without_secrets(receiver: Receiver) -> None:
    host = receiver.url.removeprefix("http://").removesuffix("/hook")
    receiver.statuses = [500] * 5
    with pytest.raises(DeliveryFailed, match="did not take it") as caught:
        send_test(Target("chn_1", "ops", "apprise", f"mmost://{host}/abcdefghijklmnopqrstuvwx"), now_us())
    assert "abcdefgh" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "slack://TokenA12/TokenB123/TokenC1234567890123456/#chan",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "mailtos://user:password@example.com?to=ops@example.com",
        "ntfys://topic",
        "gotifys://host.example/abcdefghijklmno",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "discord://1234567890123456789/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
        "opsgenie://abcdefghijklmnop",
        "pagerduty://integrationkey@apikey",
        "workflows://host.example:443/workflowid/signature",
    ],
)
def test_services_that_people_are_told_by_are_understood(url: str) -> None:
    assert understood(url)


def test_an_address_that_is_incomplete_is_told_without_it() -> None:
    with pytest.raises(InvalidAlert, match="incomplete") as caught:
        understood("slack://hidden")
    assert "hidden" not in str(caught.value)


def test_mail_to_the_owner_of_nobody_is_a_dead_letter(outbox: Outbox, started: Make) -> None:
    record(outbox, "chn_1")
    target = Target("chn_1", "owner", "apprise", "mailtos://u:p@example.com", to="owner")
    started(Stand(outbox, target))
    settled(outbox, "dead")
    (letter,) = outbox.dead()
    assert (letter.attempts, "u_1" in letter.error, "owner's e-mail" in letter.error) == (1, True, True)


def test_mail_goes_to_the_owner_and_to_nobody_else(outbox: Outbox, started: Make) -> None:
    with Mailbox() as mailbox:
        record(outbox, "chn_1")
        url = f"mailto://127.0.0.1:{mailbox.port}/ops@example.com?from=farebox@example.com&to=ops@example.com&cc=x@y.zz"
        target = Target("chn_1", "owner", "apprise", url, to="owner")
        started(Stand(outbox, target, owner_of=lambda facts: f"{facts['subject']}@acme.com"))
        settled(outbox, "sent")
    assert mailbox.recipients == ["<u_1@acme.com>"]
    assert "u_1 has used" in mailbox.text


def test_apprise_is_loaded_only_where_it_sends() -> None:
    import subprocess
    import sys

    script = (
        "import sys; import farebox, farebox.cli.alerts, farebox.control.process, farebox.alerts.dispatcher; "
        "sys.exit('apprise' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert Apprise.kind == "apprise"
