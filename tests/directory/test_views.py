from collections.abc import Mapping
from pathlib import Path

from farebox.directory.rows import ProviderRow
from farebox.directory.views import Configured, configured
from farebox.providers import PROVIDERS
from farebox.settings import ProviderSettings, Settings, Upstream

ENV = {"OPENAI_API_KEY": "sk-env"}


def found(
    *rows: ProviderRow, env: Mapping[str, str] = ENV, upstream: Upstream | None = None, **providers: ProviderSettings
) -> dict[str, Configured]:
    settings = Settings(data=Path("/d"), providers=providers, upstream=upstream or Upstream())
    return configured(settings, PROVIDERS, rows, env)


def test_a_known_provider_needs_nothing_but_its_variable() -> None:
    entry = found()["openai"]
    assert entry.view.credential == "sk-env"
    assert entry.view.base_url == "https://api.openai.com"
    assert entry.view.wire == "openai"
    assert (entry.credential_from, entry.base_url_from) == ("OPENAI_API_KEY", "built in")


def test_every_known_provider_is_there_without_any_credential() -> None:
    entries = found(env={})
    assert {provider.name for provider in PROVIDERS if provider.base_url} <= set(entries)
    assert all(entry.view.credential is None for entry in entries.values())


def test_the_environment_credential_goes_where_the_settings_say() -> None:
    entry = found(openai=ProviderSettings(base_url="http://127.0.0.1:9001/"))["openai"]
    assert (entry.view.base_url, entry.view.credential) == ("http://127.0.0.1:9001", "sk-env")


def test_settings_go_before_the_environment_and_the_directory_before_both() -> None:
    own = ProviderSettings(credential="sk-file")
    assert found(openai=own)["openai"].view.credential == "sk-file"
    stored = found(ProviderRow("openai", credential=b"sealed"), openai=own)["openai"]
    assert (stored.view.credential, stored.sealed, stored.credential_from) == (None, b"sealed", "directory")


def test_a_stored_address_never_gets_the_credential_of_settings_or_environment() -> None:
    moved = ProviderRow("openai", base_url="https://elsewhere.example")
    assert found(moved)["openai"].view.credential is None
    assert found(moved, openai=ProviderSettings(credential="sk-file"))["openai"].view.credential is None


def test_a_service_of_ones_own_has_its_own_prices_unless_it_says_whose() -> None:
    entries = found(
        local=ProviderSettings(base_url="http://a"), mirror=ProviderSettings(base_url="http://b", wire="openai")
    )
    assert entries["local"].view.wire not in {provider.name for provider in PROVIDERS}
    assert entries["local"].view.credential is None, "another provider's variable is not its"
    assert entries["mirror"].view.wire == "openai"


def test_a_service_without_an_address_is_not_there() -> None:
    assert "nowhere" not in found(nowhere=ProviderSettings(credential="sk"))


def test_certificates_are_checked_unless_one_says_otherwise() -> None:
    assert found()["openai"].view.verify
    assert not found(upstream=Upstream(tls_verify=False))["openai"].view.verify
    assert not found(openai=ProviderSettings(tls_verify=False))["openai"].view.verify
    assert found(ProviderRow("openai", tls_verify=True), upstream=Upstream(tls_verify=False))["openai"].view.verify
    own = found(openai=ProviderSettings(ca_file="/own.pem"), upstream=Upstream(ca_file="/all.pem"))
    assert (own["openai"].view.ca_file, own["anthropic"].view.ca_file) == ("/own.pem", "/all.pem")


AZURE_ENV = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/", "AZURE_OPENAI_API_KEY": "k"}


def test_azure_is_there_once_its_address_is() -> None:
    assert "azure" not in found(env={})
    entry = found(env=AZURE_ENV)["azure"]
    assert (entry.view.base_url, entry.view.credential) == ("https://r.openai.azure.com", "k")
    assert entry.base_url_from == "settings"


def test_deployments_add_up_and_stored_ones_go_before_those_of_the_settings() -> None:
    own = ProviderSettings(base_url="https://r.example", deployments={"a": "1", "b": "2"}, region_class="data_zone")
    row = ProviderRow("azure", deployments={"b": "3", "c": "4"}, region_class="regional")
    options = found(row, azure=own)["azure"].view.options
    assert options.deployments == {"a": "1", "b": "3", "c": "4"}
    assert options.region_class == "regional"


def test_an_aws_credential_is_made_of_its_variables() -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}
    entry = found(env=env)["bedrock"]
    assert entry.view.credential == "AKID:secret"
    assert entry.view.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert found(env=env | {"AWS_SESSION_TOKEN": "t"})["bedrock"].view.credential == "AKID:secret:t"
    assert found(env=env | {"AWS_BEARER_TOKEN_BEDROCK": "b"})["bedrock"].view.credential == "b"
    assert found(env={"AWS_ACCESS_KEY_ID": "AKID"})["bedrock"].view.credential is None


def test_a_stored_region_goes_before_the_environments() -> None:
    entry = found(ProviderRow("bedrock", region="us-west-2"), env={"AWS_REGION": "eu-west-1"})["bedrock"]
    assert entry.view.base_url == "https://bedrock-runtime.us-west-2.amazonaws.com"
