"""`farebox users`."""


def test_a_user_is_made_listed_linked_and_removed(shell) -> None:
    made = shell("users", "create", "Ann@Acme.com", "--role", "admin", "--json").data
    assert made["name"] == "ann@acme.com"
    assert "/login/link/fbl_" in made["link"]
    again = shell("users", "link", "ann@acme.com")
    assert "/login/link/fbl_" in again.out
    assert "works once, for an hour" in again.err
    shell("users", "create", "bob", "--role", "analyst")
    listed = shell("users", "list")
    assert "ann@acme.com" in listed.out
    assert "fbl_" not in listed.out
    assert shell("users", "remove", "bob").out.startswith("Removed bob")
    assert [row["name"] for row in shell("users", "list", "--json").data] == ["ann@acme.com"]


def test_the_last_admin_is_not_removed(shell) -> None:
    shell("users", "create", "ann", "--role", "admin")
    done = shell("users", "remove", "ann")
    assert done.code == 1
    assert "last admin" in done.err


def test_a_role_that_is_none_is_a_usage_error(shell) -> None:
    assert shell("users", "create", "ann", "--role", "ingest").code == 2
