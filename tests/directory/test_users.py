"""Users of the dashboard: names, roles, links, sessions."""

from pathlib import Path

import pytest
from olden_tables import go_back_to

from farebox.directory.sessions import PER_USER_MAX
from farebox.directory.store import Directory
from farebox.directory.users import LINK_S
from farebox.directory.vault import Vault
from farebox.errors import AlreadyExists, DirectoryError, NotFound

HOUR_US = 3600 * 1_000_000


def test_a_name_is_one_user_however_it_is_written(directory: Directory) -> None:
    made = directory.users.create(" Ann@Acme.com ", "analyst")
    assert made.name == "ann@acme.com"
    assert directory.users.get("ANN@acme.com").id == made.id
    with pytest.raises(AlreadyExists):
        directory.users.create("ann@ACME.com", "admin")


@pytest.mark.parametrize(("name", "role"), [("", "admin"), ("a\nb", "admin"), ("x" * 201, "admin"), ("ann", "ingest")])
def test_what_is_no_user_is_refused(directory: Directory, name: str, role: str) -> None:
    with pytest.raises(DirectoryError):
        directory.users.create(name, role)
    assert directory.users.list() == []


def test_a_first_link_is_there_until_there_is_an_admin(directory: Directory) -> None:
    old = directory.users.first_link()
    new = directory.users.first_link()
    assert old is not None
    assert new is not None
    assert directory.users.link(old, 0) is None  # one at a time
    directory.users.create("reader", "analyst")
    assert directory.users.link(new, 0) is not None
    directory.users.create("ann", "admin")
    assert directory.users.link(new, 0) is None
    assert directory.users.first_link() is None


def test_a_link_needs_a_password_and_is_spent_by_it(directory: Directory) -> None:
    user = directory.users.create("ann", "admin")
    link = directory.users.make_link("ann")
    with pytest.raises(DirectoryError):
        directory.users.use_link(link, 0)
    assert directory.users.use_link(link, 0, password_hash="hash") is not None
    assert directory.users.use_link(link, 0, password_hash="other") is None
    found = directory.users.credential("ann")
    assert found is not None
    assert (found[0].id, found[1]) == (user.id, "hash")


def test_a_link_is_over_after_its_hour(directory: Directory) -> None:
    directory.users.create("ann", "admin")
    link = directory.users.make_link("ann")
    now_us = directory.users.get("ann").created_at_us
    assert directory.users.link(link, now_us) is not None
    assert directory.users.link(link, now_us + 2 * LINK_S * 1_000_000) is None


def test_the_last_admin_stays_an_admin(directory: Directory) -> None:
    directory.users.create("ann", "admin")
    for change in (
        lambda: directory.users.remove("ann"),
        lambda: directory.users.set_role("ann", "analyst", by="test"),
    ):
        with pytest.raises(DirectoryError, match="last admin"):
            change()
    directory.users.create("bob", "admin")
    assert directory.users.remove("ann").name == "ann"


def test_a_session_is_found_by_its_secret_until_it_ends(directory: Directory) -> None:
    user = directory.users.create("ann", "admin")
    row, secret = directory.sessions.begin(user, 3600, "Firefox", "127.0.0.1", by="test")
    found = directory.sessions.find(secret, row.created_at_us)
    assert found is not None
    assert (found[0].id, found[1].id) == (row.id, user.id)
    assert directory.sessions.find(secret, row.created_at_us + HOUR_US) is None
    assert directory.sessions.find(secret + "x", row.created_at_us) is None
    directory.sessions.end(row.id, by="test")
    assert directory.sessions.find(secret, row.created_at_us) is None
    with pytest.raises(NotFound):
        directory.sessions.end(row.id, by="test")


def test_a_session_remembers_when_it_was_used_to_within_minutes(directory: Directory) -> None:
    user = directory.users.create("ann", "admin")
    row, secret = directory.sessions.begin(user, 10 * 3600, "", "", by="test")
    directory.sessions.find(secret, row.created_at_us + 60 * 1_000_000)
    assert directory.sessions.list()[0].seen_at_us == row.created_at_us
    directory.sessions.find(secret, row.created_at_us + HOUR_US)
    assert directory.sessions.list()[0].seen_at_us == row.created_at_us + HOUR_US
    assert directory.users.get("ann").seen_at_us == row.created_at_us + HOUR_US


def test_one_user_has_a_bounded_number_of_sessions(directory: Directory) -> None:
    user = directory.users.create("ann", "admin")
    for _ in range(PER_USER_MAX + 3):
        directory.sessions.begin(user, 3600, "", "", by="test")
    assert len(directory.sessions.list(user.id)) == PER_USER_MAX


def test_a_removed_user_leaves_no_session_and_no_link(directory: Directory) -> None:
    directory.users.create("ann", "admin")
    bob = directory.users.create("bob", "analyst")
    row, secret = directory.sessions.begin(bob, 3600, "", "", by="test")
    link = directory.users.make_link("bob")
    directory.users.remove("bob")
    assert directory.sessions.find(secret, row.created_at_us) is None
    assert directory.users.link(link, row.created_at_us) is None
    assert [entry.action for entry in directory.audit(2)] == ["user.remove", "user.link"]


def test_the_operator_is_the_first_admin_that_there_was(tmp_path: Path) -> None:
    path, vault = tmp_path / "directory.sqlite3", Vault(bytes(32))
    made = Directory(path, vault)
    assert made.users.operator_id() is None
    made.users.create("reader", "analyst")
    assert made.users.operator_id() is None
    first = made.users.create("ann", "admin")
    made.users.create("bob", "admin")
    assert made.users.operator_id() == first.id
    made.close()
    go_back_to(path, "0006")
    upgraded = Directory(path, vault)
    assert upgraded.users.operator_id() == first.id
    upgraded.close()


def test_the_first_link_names_the_operator(directory: Directory) -> None:
    secret = directory.users.first_link()
    assert secret is not None
    made = directory.users.use_link(secret, 0, password_hash="hash", name="ann")
    assert made is not None
    assert directory.users.operator_id() == made.id
