"""farebox.toml, environment and flags become one `Settings`, each value with where it came from."""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from farebox.core.origins import checked_base_url, checked_frame, is_private_host
from farebox.core.routes import checked_name
from farebox.core.schedules import read_weekly
from farebox.core.windows import zone
from farebox.errors import InvalidLimit, InvalidRoute, QueryError, SettingsError
from farebox.settings.table import NAMED, SECTIONS, SETTINGS, Setting, Settings

CONFIG_NAME: Final = "farebox.toml"
_ROWS: Final[dict[str, Setting]] = {row.name: row for row in SETTINGS}
_KEYS: Final = {section: tuple(row.key for row in SETTINGS if row.section == f"{section}.*") for section in NAMED}
_WHAT: Final = {"providers": "provider", "units": "unit", "routes": "route"}
_PROVIDER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}")
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")


class Effective(msgspec.Struct, frozen=True):
    """One value as it holds, and where it came from: 'default', a file's name, a variable or a flag."""

    name: str
    value: object
    source: str
    is_secret: bool = False


class _Given(msgspec.Struct, frozen=True):
    """A value as somebody wrote it. Relative paths are taken from `base`."""

    name: str
    raw: object
    source: str
    base: Path


def load(
    config_path: Path | None = None, env: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Settings:
    """The settings that hold: flags over environment over file over defaults.

    `config_path` None reads no file (see `find_config`); `env` None is this process's own; flags are dotted names
    ("server.port"), those that are None are left out. Raises SettingsError, one line, for a file that cannot be
    read, an unknown name (with the nearest known one), a wrong type, a value out of range.
    """
    return explain(config_path, env, flags)[0]


def explain(
    config_path: Path | None = None, env: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> tuple[Settings, list[Effective]]:
    """`load`, and each value with its source, in the order of SETTINGS."""
    here = Path.cwd()
    given: dict[str, _Given] = {}
    if config_path is not None:
        given.update((item.name, item) for item in _from_file(config_path))
    given.update((item.name, item) for item in _from_env(os.environ if env is None else env, here, given))
    for name, raw in (flags or {}).items():
        if raw is not None:
            given[name] = _Given(name, raw, "--" + name.rpartition(".")[2].replace("_", "-"), here)
    effective = _effective(given, here)
    settings = _build(effective)
    check(settings)
    return settings, effective


def find_config(env: Mapping[str, str]) -> Path | None:
    """The file that is read when none is named: FAREBOX_CONFIG, or farebox.toml in this directory if there is one."""
    if named := env.get("FAREBOX_CONFIG"):
        return Path(named)
    path = Path(CONFIG_NAME)
    return path if path.is_file() else None


def _from_file(path: Path) -> Iterator[_Given]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    base = path.absolute().parent
    for name, value in _flat(tree, str(path)):
        yield _Given(name, value, str(path), base)


def _flat(tree: dict[str, object], path: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if not isinstance(value, dict):
            yield key, value
        elif key not in NAMED:
            yield from ((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            for name, fields in value.items():
                if not isinstance(fields, dict):
                    raise SettingsError(f"{path}: {key}.{name} is a section: write [{key}.{name}]")
                check_name(key, name)
                yield from ((f"{key}.{name}.{inner}", each) for inner, each in fields.items())


def _from_env(env: Mapping[str, str], here: Path, known: Mapping[str, _Given]) -> Iterator[_Given]:
    for variable, value in env.items():
        if variable.startswith("FAREBOX_") and value != "":
            name = _env_name(variable, known)
            if name is not None:
                yield _Given(name, value, variable, here)


def _env_name(variable: str, known: Iterable[str]) -> str | None:
    """The setting that a variable means; None where its prefix is no section's (FAREBOX_URL is the SDK's)."""
    rest = variable.removeprefix("FAREBOX_").lower()
    if rest in _ROWS:
        return rest
    section, _, key = rest.partition("_")
    if section in NAMED:
        return _named_env_name(variable, section, key, _names(known, section))
    return f"{section}.{key}" if section in SECTIONS else None


def _names(known: Iterable[str], section: str) -> set[str]:
    """The names that a section stands for, of settings such as 'providers.openai.base_url'."""
    return {name.split(".")[1] for name in known if name.startswith(f"{section}.") and name.count(".") > 1}


def _named_env_name(variable: str, section: str, rest: str, names: set[str]) -> str:
    """Of providers, 'MY_LLM_BASE_URL' is base_url of my_llm, or of my-llm where the file has that one."""
    keys = _KEYS[section]
    for key in keys:
        name = rest.removesuffix("_" + key)
        if name and name != rest:
            spelled = next((known for known in names if known.replace("-", "_").lower() == name), name)
            return f"{section}.{spelled}.{key}"
    near = get_close_matches(rest.rpartition("_")[2], keys, n=1, cutoff=0.1)
    raise SettingsError(
        f"{variable}: a {_WHAT[section]} has no such setting; there are {', '.join(k.upper() for k in keys)}"
        + (f"; nearest: FAREBOX_{section.upper()}_<NAME>_{near[0].upper()}" if near else "")
    )


def _effective(given: Mapping[str, _Given], here: Path) -> list[Effective]:
    names = [row.name for row in SETTINGS if not row.section.endswith(".*")]
    for section, keys in _KEYS.items():
        names += [f"{section}.{name}.{key}" for name in sorted(_names(given, section)) for key in keys]
    for name in given:
        if name not in names:
            raise _unknown(given[name], names)
    return [_one(name, given.get(name), here) for name in names]


def _one(name: str, item: _Given | None, here: Path) -> Effective:
    row = _row(name)
    if item is None:
        value = (here / str(row.default)).absolute() if row.kind == "path" else row.default
        return Effective(name, value, "default", row.is_secret)
    return Effective(name, _checked(row, item), item.source, row.is_secret)


def _row(name: str) -> Setting:
    section, _, key = name.partition(".")
    return _ROWS[f"{section}.*.{name.rpartition('.')[2]}" if section in NAMED and key else name]


def _unknown(item: _Given, names: list[str]) -> SettingsError:
    candidates = [*names, *(f"{section}.NAME.{key}" for section, keys in _KEYS.items() for key in keys)]
    near = get_close_matches(item.name, candidates, n=1, cutoff=0.0)
    hint = near[0] if near else names[0]
    if item.source.startswith("FAREBOX_"):
        return SettingsError(f"{item.source}: there is no such setting; did you mean {_variable(hint)}?")
    return SettingsError(f"{item.source}: there is no setting {item.name!r}; did you mean {hint!r}?")


def _variable(name: str) -> str:
    return "FAREBOX_" + name.replace(".", "_").replace("-", "_").upper()


def _checked(row: Setting, item: _Given) -> object:
    value = _typed(row, item)
    if row.choices and value not in row.choices:
        raise SettingsError(f"{item.source}: {item.name} is {value!r}: give {' or '.join(row.choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_range(row, item, value)
    if row.is_path and value != "":
        path = (item.base / Path(str(value)).expanduser()).absolute()
        return path if row.kind == "path" else str(path)
    return value


def _check_range(row: Setting, item: _Given, value: float) -> None:
    low = float("-inf") if row.low is None else row.low
    high = float("inf") if row.high is None else row.high
    if not low <= value <= high:
        bounds = f"{row.low:g} or more" if row.high is None else f"{row.low:.15g} to {row.high:.15g}"
        raise SettingsError(f"{item.source}: {item.name} is {value:.15g}: give {bounds}")


def _typed(row: Setting, item: _Given) -> object:
    value = _READERS[row.kind](item.raw)
    if value is None:
        shown = "that value" if row.is_secret else repr(item.raw)
        raise SettingsError(f"{item.source}: {item.name} cannot be {shown}: give {_WANTED[row.kind]}")
    return value


def _text(raw: object) -> str | None:
    return str(raw) if isinstance(raw, (str, Path)) else None


def _boolean(raw: object) -> bool | None:
    if isinstance(raw, bool):
        return raw
    word = raw.lower() if isinstance(raw, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _integer(raw: object) -> int | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    try:
        return int(raw) if isinstance(raw, str) else None
    except ValueError:
        return None


def _number(raw: object) -> float | None:
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return float(raw)
    try:
        return float(raw) if isinstance(raw, str) else None
    except ValueError:
        return None


def _words(raw: object) -> tuple[str, ...] | None:
    if isinstance(raw, str):
        return tuple(word.strip() for word in raw.split(",") if word.strip())
    if isinstance(raw, (list, tuple)) and all(isinstance(word, (str, int)) for word in raw):
        return None if any(isinstance(word, bool) for word in raw) else tuple(map(str, raw))
    return None


def _mapping(raw: object) -> dict[str, str] | None:
    """A TOML table of texts, or 'name=value,name=value'."""
    if isinstance(raw, str):
        pairs = [[part.strip() for part in pair.partition("=")] for pair in raw.split(",") if pair.strip()]
        return {name: value for name, _, value in pairs} if all(all(pair) for pair in pairs) else None
    if isinstance(raw, dict) and all(isinstance(value, str) for value in raw.values()):
        return dict(raw)
    return None


def _span(raw: object) -> str | None:
    """A span of time: its number may stand without quotes."""
    return str(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) else _text(raw)


def _targets(raw: object) -> tuple[object, ...] | None:
    if isinstance(raw, (list, tuple)):
        return tuple(raw) if all(isinstance(each, (str, dict)) for each in raw) else None
    return _words(raw)


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "str": _text, "path": _text, "int": _integer, "float": _number, "bool": _boolean, "list": _words,
    "map": _mapping, "span": _span, "targets": _targets,
}  # fmt: skip
_WANTED: Final[dict[str, str]] = {
    "str": "a text", "path": "a path", "int": "a whole number", "float": "a number", "bool": "true or false",
    "list": "a list of names", "map": "names with values, such as {a = \"b\"}", "span": "a span of time, such as 20s",
    "targets": "a list of PROVIDER/MODEL",
}  # fmt: skip


def _build(effective: list[Effective]) -> Settings:
    tree: dict[str, object] = {}
    for item in effective:
        *sections, key = _path(item.name)
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})  # type: ignore[assignment]  # only sections are branched into
        branch[key] = item.value
    return msgspec.convert(tree, Settings, dec_hook=lambda kind, value: kind(value))


def _path(name: str) -> list[str]:
    section, _, rest = name.partition(".")
    if section not in NAMED:
        return name.split(".")
    named, _, key = rest.rpartition(".")
    return [section, named, key]


def check_name(section: str, name: str) -> None:
    """The name of a `[section.NAME]`. Raises SettingsError."""
    if section == "providers":
        check_provider_name(name)
    elif section == "routes":
        _check_route_name(name)
    elif not name.isidentifier():
        raise SettingsError(f"a unit cannot be called {name!r}: use a-z, 0-9 and '_', such as analyses")


def _check_route_name(name: str) -> None:
    try:
        checked_name(name)
    except InvalidRoute as error:
        raise SettingsError(str(error)) from None


def check_provider_name(name: str) -> None:
    """A provider's name stands in paths and variables. Raises SettingsError."""
    if not _PROVIDER_NAME.fullmatch(name):
        raise SettingsError(f"a provider cannot be called {name!r}: use a-z, 0-9, '-' and '_', at most 40 characters")


def check_region(region: str) -> None:
    """A region's name becomes part of an address. Raises SettingsError."""
    if region and not _REGION.fullmatch(region):
        raise SettingsError(f"{region[:80]!r} is no region: write it as us-east-1")


def check(settings: Settings) -> None:
    """Raise SettingsError where values do not go together."""
    server = settings.server
    if bool(server.tls_cert) != bool(server.tls_key):
        raise SettingsError("server.tls_cert and server.tls_key go together: give both or neither")
    if server.auth == "open" and not is_private_host(server.host):
        raise SettingsError(
            f"server.auth = 'open' would let anyone spend on {server.host}: listen on a loopback or private address, "
            "or use server.auth = 'required'"
        )
    if server.control_listen:
        listen_address(server.control_listen)
    settings.unit_rules  # noqa: B018 (raises for one that cannot be)
    settings.route_table  # noqa: B018 (raises for one that cannot be)
    try:
        zone(settings.books.time_zone)
    except InvalidLimit as error:
        raise SettingsError(f"books.time_zone: {error}") from None
    try:
        read_weekly(settings.reports.weekly_at)
    except QueryError as error:
        raise SettingsError(f"reports.weekly_at: {error}") from None
    _check_oidc(settings)
    _check_paywall(settings)
    for site in settings.portal.frame_ancestors:
        try:
            checked_frame(site)
        except SettingsError as error:
            raise SettingsError(f"portal.frame_ancestors: {error}") from None
    for name, provider in settings.providers.items():
        try:
            checked_base_url(provider.base_url) if provider.base_url else ""
            check_region(provider.region)
        except SettingsError as error:
            raise SettingsError(f"providers.{name}: {error}") from None


def _check_oidc(settings: Settings) -> None:
    oidc = settings.oidc
    if not oidc.issuer:
        return
    if not oidc.issuer.startswith("https://") and not is_private_host(urlsplit(oidc.issuer).hostname or ""):
        raise SettingsError(f"oidc.issuer is {oidc.issuer[:80]!r}: give an https:// address")
    if not oidc.client_id:
        raise SettingsError("oidc.issuer needs oidc.client_id, as the identity provider shows it")
    if not (oidc.admins or oidc.analysts):
        raise SettingsError('oidc lets nobody in: name people in oidc.admins or oidc.analysts, such as "@acme.com"')


def _check_paywall(settings: Settings) -> None:
    paywall = settings.paywall
    if bool(paywall.stripe_webhook_secret) != bool(paywall.payment_link):
        raise SettingsError("paywall.stripe_webhook_secret and paywall.payment_link go together: give both or neither")
    link = paywall.payment_link
    if link and not link.startswith(("https://", "plink_")):
        raise SettingsError(f"paywall.payment_link is {link[:80]!r}: give its address (https://…) or id (plink_…)")


def listen_address(text: str) -> tuple[str, int]:
    """'HOST:PORT' or '[IPV6]:PORT' as (host, port). Raises SettingsError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:3274")
    return host.strip("[]"), int(port)
