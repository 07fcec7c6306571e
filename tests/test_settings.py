import os
import pickle
import re
import tomllib
from pathlib import Path

import pytest

from farebox.core.units import UnitRule
from farebox.errors import SettingsError
from farebox.settings import SETTINGS, Setting, Settings, explain, find_config, from_json, load, run_dir, to_json
from farebox.settings.writing import as_markdown, as_toml

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "farebox.toml"
    path.write_text(text)
    return path


def refused(
    *, path: Path | None = None, env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, env or {}, flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_need_no_file_and_no_variable() -> None:
    settings = load(None, {})
    assert settings.server.port == 3273
    assert settings.server.workers == 1
    assert settings.data == Path.cwd() / "farebox-data"


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, "[server]\nport = 1\nworkers = 2\nheaders_max = 50\n")
    settings = load(path, {"FAREBOX_SERVER_PORT": "3", "FAREBOX_SERVER_WORKERS": "4"}, {"server.port": 5})
    assert (settings.server.port, settings.server.workers, settings.server.headers_max) == (5, 4, 50)


def test_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    path = file(tmp_path, "[server]\nworkers = 2\n")
    _, effective = explain(path, {"FAREBOX_JOURNAL_FSYNC_MS": "7"}, {"server.port": 5, "server.host": None})
    sources = {item.name: item.source for item in effective}
    assert sources["server.workers"] == str(path)
    assert sources["journal.fsync_ms"] == "FAREBOX_JOURNAL_FSYNC_MS"
    assert sources["server.port"] == "--port"
    assert sources["server.host"] == "default"


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_every_setting_can_be_given_by_its_variable(row: Setting, tmp_path: Path) -> None:
    name, variable = row.name, row.variable.replace("<NAME>", "OPENAI")
    samples = {
        "str": "x",
        "path": str(tmp_path),
        "int": "5000",
        "float": "1.5",
        "bool": "off",
        "list": "a,b",
        "map": "a=b",
        "span": "20s",
        "targets": "openai/a",
    }
    value = row.choices[-1] if row.choices else samples[row.kind]
    if row.kind == "int" and row.high is not None:
        value = str(int(row.high))
    others = {
        "server.tls_cert": {"FAREBOX_SERVER_TLS_KEY": "y"},
        "server.tls_key": {"FAREBOX_SERVER_TLS_CERT": "y"},
        "paywall.stripe_webhook_secret": {"FAREBOX_PAYWALL_PAYMENT_LINK": "plink_1"},
        "paywall.payment_link": {"FAREBOX_PAYWALL_STRIPE_WEBHOOK_SECRET": "whsec_1"},
    }
    formed = {
        "books.time_zone": "Asia/Tokyo", "server.control_listen": "h:1", "providers.*.base_url": "http://x",
        "providers.*.region": "eu-west-1", "units.*.where": "feature=analyze", "units.*.once_per": "task",
        "portal.frame_ancestors": "https://a.example,https://*.b.example", "paywall.payment_link": "plink_1",
        "reports.weekly_at": "fri 16:30", "routes.*.targets": "openai/a,groq/b", "routes.*.retry_on": "429,5xx",
    }  # fmt: skip
    value = formed.get(name, value)
    env = {variable: value, **others.get(name, {})}
    if row.section == "routes.*":
        env.setdefault("FAREBOX_ROUTES_OPENAI_TARGETS", "openai/a")
    if row.section == "units.*":
        env.setdefault("FAREBOX_UNITS_OPENAI_WHERE", "tier=pro")
    if name == "oidc.issuer":
        env |= {variable: "https://id", "FAREBOX_OIDC_CLIENT_ID": "y", "FAREBOX_OIDC_ADMINS": "@acme.com"}
    _, effective = explain(None, env)
    assert [item.source for item in effective if item.source == variable] == [variable]


def test_an_unknown_name_is_answered_with_the_nearest_known_one(tmp_path: Path) -> None:
    assert "'server.port'" in refused(path=file(tmp_path, "[server]\nprot = 1\n"))
    assert "'server.port'" in refused(path=file(tmp_path, "[sever]\nport = 1\n"))
    assert "'data'" in refused(path=file(tmp_path, "dta = 'x'\n"))
    assert "'providers.openai.base_url'" in refused(path=file(tmp_path, "[providers.openai]\nbase = 'x'\n"))
    assert "FAREBOX_SERVER_PORT" in refused(env={"FAREBOX_SERVER_PROT": "1"})
    assert "BASE_URL" in refused(env={"FAREBOX_PROVIDERS_OPENAI_BASEURL": "http://x"})


def test_variables_of_the_sdk_and_of_others_are_left_alone() -> None:
    env = {"FAREBOX_URL": "http://x", "FAREBOX_KEY": "fbx_x", "FAREBOX_MASTER_KEY": "y", "SERVER_PORT": "z"}
    assert load(None, env) == load(None, {})


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(None, {"FAREBOX_SERVER_PORT": ""}).server.port == 3273


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("SERVER_PORT", "many", "a whole number"),
        ("SERVER_PORT", "70000", "0 to 65535"),
        ("SERVER_PORT", "1.5", "a whole number"),
        ("SERVER_DRAIN_S", "nan", "0 to 3600"),
        ("SERVER_DRAIN_S", "soon", "a number"),
        ("SERVER_AUTH", "none", "required or open"),
        ("UPSTREAM_TLS_VERIFY", "maybe", "true or false"),
        ("LEDGER_MEMORY_BYTES", "-1", "0 or more"),
    ],
)
def test_a_wrong_value_is_answered_with_what_fits(variable: str, value: str, hint: str) -> None:
    text = refused(env={f"FAREBOX_{variable}": value})
    assert f"FAREBOX_{variable}" in text
    assert hint in text


def test_a_wrong_type_in_the_file_is_refused(tmp_path: Path) -> None:
    assert "a whole number" in refused(path=file(tmp_path, "[server]\nport = true\n"))
    assert "a text" in refused(path=file(tmp_path, "[server]\nhost = 1\n"))
    assert "not valid TOML" in refused(path=file(tmp_path, "[server\n"))
    assert "cannot be read" in refused(path=tmp_path / "none.toml")


def test_a_credential_is_never_in_an_error(tmp_path: Path) -> None:
    assert "4711" not in refused(path=file(tmp_path, "[providers.openai]\ncredential = 4711\n"))


def test_a_provider_may_have_underscores_and_hyphens(tmp_path: Path) -> None:
    env = {"FAREBOX_PROVIDERS_MY_LLM_BASE_URL": "http://a:1", "FAREBOX_PROVIDERS_MY_LLM_TLS_VERIFY": "false"}
    settings = load(None, env)
    assert settings.providers["my_llm"].base_url == "http://a:1"
    assert not settings.providers["my_llm"].tls_verify
    path = file(tmp_path, "[providers.my-llm]\nbase_url = 'http://b:2'\n")
    assert load(path, env).providers["my-llm"].base_url == "http://a:1"


@pytest.mark.parametrize("name", ["a.b", "", "Upper", "a/b", "x" * 41])
def test_a_provider_needs_a_plain_name(name: str, tmp_path: Path) -> None:
    refused(path=file(tmp_path, f"[providers.'{name}']\nbase_url = 'http://b'\n"))


def test_what_moves_a_route_on_may_be_written_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "farebox.toml"
    path.write_text('[routes.smart]\ntargets = ["openai/a"]\nretry_on = ["connect", 429, "5xx"]\n')
    assert load(path, {}).routes["smart"].retry_on == ("connect", "429", "5xx")
    path.write_text('[routes.smart]\ntargets = ["openai/a"]\nretry_on = [true]\n')
    with pytest.raises(SettingsError, match="list of names"):
        load(path, {})


def test_a_units_rule_is_read_from_file_and_environment(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "[units.analyses]\nwhere = {group = 'analyze', 'tag.kind' = 'deep'}\nonce_per = 'task_id'\n"
        "[units.pages]\nwhere = {feature = 'read'}\n",
    )
    analyses, pages = load(path, {"FAREBOX_UNITS_PAGES_COUNT": "3"}).unit_rules
    assert analyses == UnitRule("analyses", (("feature", "analyze"), ("tag.kind", "deep")), "task", 1)
    assert pages == UnitRule("pages", (("feature", "read"),), "", 3)
    [read] = load(None, {"FAREBOX_UNITS_DEEP_READS_WHERE": "feature=read,tag.kind=deep"}).unit_rules
    assert read == UnitRule("deep_reads", (("feature", "read"), ("tag.kind", "deep")))


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("[units.analyses]\nwher = {feature = 'x'}", "'units.analyses.where'"),
        ("[units.analyses]\nonce_per = 'task'", "units.analyses.where: say which calls count"),
        ("[units.analyses]\nwhere = {featur = 'x'}", "did you mean 'feature'?"),
        ("[units.analyses]\nwhere = {region = 'x'}", "did you mean 'tag.region'?"),
        ("[units.analyses]\nwhere = {feature = 'x', group = 'y'}", "names a dimension twice"),
        ("[units.analyses]\nwhere = {feature = 'x'}\nonce_per = 'tsak'", "did you mean 'task'?"),
        ("[units.analyses]\nwhere = {feature = 'x'}\ncount = 0", "1 to 1000000"),
        ("[units.analyses]\nwhere = 'feature'", "names with values"),
        ("[units.usd]\nwhere = {feature = 'x'}", "usd is counted by itself"),
        ("[units.calls]\nwhere = {feature = 'x'}", "calls is counted by itself"),
        ("[units.Analyses]\nwhere = {feature = 'x'}", "a-z, 0-9"),
        ("[units.'my-unit']\nwhere = {feature = 'x'}", "a unit cannot be called 'my-unit'"),
        ("[units]\nanalyses = 1", "write [units.analyses]"),
    ],
)
def test_a_units_rule_that_cannot_be_is_refused_with_what_to_write(rule: str, hint: str, tmp_path: Path) -> None:
    assert hint in refused(path=file(tmp_path, rule + "\n"))


def test_a_metadata_address_is_refused_as_base_url() -> None:
    assert "providers.openai" in refused(env={"FAREBOX_PROVIDERS_OPENAI_BASE_URL": "http://169.254.169.254/v1"})


def test_open_auth_is_refused_on_a_public_address() -> None:
    assert "server.auth" in refused(env={"FAREBOX_SERVER_AUTH": "open", "FAREBOX_SERVER_HOST": "0.0.0.0"})
    assert load(None, {"FAREBOX_SERVER_AUTH": "open"}).server.auth == "open"


def test_a_certificate_needs_its_key() -> None:
    assert "tls_key" in refused(env={"FAREBOX_SERVER_TLS_CERT": "a.pem"})


def test_relative_paths_are_taken_from_the_file_that_names_them(tmp_path: Path) -> None:
    path = file(tmp_path, "data = 'here'\n[server]\ntls_cert = 'a.pem'\ntls_key = '/b.pem'\n")
    settings = load(path, {})
    assert settings.data == tmp_path / "here"
    assert settings.server.tls_cert == str(tmp_path / "a.pem")
    assert settings.server.tls_key == "/b.pem"


def test_settings_go_to_another_process_unchanged(tmp_path: Path) -> None:
    settings = load(file(tmp_path, "[providers.x]\nbase_url = 'http://b'\n[ledger]\npromoted_tags = ['a']\n"), {})
    assert from_json(to_json(settings)) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_structs_alone_are_the_defaults() -> None:
    assert load(None, {}, {"data": "/d"}) == Settings(data=Path("/d"))


def test_the_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config({}) is None
    file(tmp_path, "")
    assert find_config({}) == Path("farebox.toml")
    assert find_config({"FAREBOX_CONFIG": "/x.toml"}) == Path("/x.toml")


def test_the_file_that_init_writes_shows_every_default(tmp_path: Path) -> None:
    text = as_toml()
    assert load(file(tmp_path, text), {}, {"data": "/d"}) == Settings(data=Path("/d"))
    used = "\n".join(re.sub(r"^# (?=\w+ = |\[providers|\[units|\[routes)", "", line) for line in text.splitlines())
    tomllib.loads(used)
    _, effective = explain(file(tmp_path, used), {})
    given = {item.name for item in effective if item.source != "default"}
    assert {row.name for row in SETTINGS if not row.section.endswith(".*")} <= given
    plain = load(None, {}, {"data": str(tmp_path / "farebox-data")})
    loaded = load(tmp_path / "farebox.toml", {})
    assert loaded.server == plain.server
    assert loaded.ledger == plain.ledger


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text() == as_markdown(), "run: python -m farebox.settings.writing > docs/reference/settings.md"


def test_sockets_live_in_a_private_directory(tmp_path: Path) -> None:
    directory = run_dir(Settings(data=tmp_path / "data"))
    assert directory == tmp_path / "data" / "run"
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_long_data_path_gets_a_short_place_for_its_sockets(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / ("x" * 100))
    directory = run_dir(settings)
    assert len(os.fsencode(directory)) < 80
    assert directory == run_dir(settings) != run_dir(Settings(data=tmp_path / ("y" * 100)))
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.rmdir()
    run_dir(Settings(data=tmp_path / ("y" * 100))).rmdir()
