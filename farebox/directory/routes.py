"""Routes: set, listed, removed. Those of the settings are not here, but stand beside them in `in_force`."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update

from farebox.core.routes import Route, written_route
from farebox.directory import schema
from farebox.directory.writing import Database, json
from farebox.errors import DirectoryError, InvalidRoute, NotFound

ROUTES_MAX: Final = 1000


class RouteRow(msgspec.Struct, frozen=True):
    """A route, and whether the settings say it; then its times are 0."""

    route: Route
    created_at_us: int = 0
    changed_at_us: int = 0

    @property
    def is_of_settings(self) -> bool:
        return not self.created_at_us


def checked_targets(route: Route, known: Collection[str]) -> Route:
    """The same route. Raises InvalidRoute where a target's provider is none of the known ones: calls would pass it by
    without a word."""
    for target in route.targets:
        if target.provider not in known:
            raise InvalidRoute(
                f"route {route.name}: there is no provider {target.provider[:40]!r} for target {target.name[:160]}; "
                f"there are {', '.join(sorted(known))}. A further one is added by 'farebox providers set'"
            )
    return route


class Routes:
    """Named by their names. A removed one is gone; the same name may be set again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, route: Route, by: str = "shell") -> RouteRow:
        """The route as it stands now, made or changed. Raises DirectoryError for one too many."""
        routes = schema.routes
        with self._database.changing(by) as change:
            found = change.connection.execute(select(routes).where(routes.c.name == route.name)).one_or_none()
            if found is None:
                self._check_room(change.connection.execute(select(func.count()).select_from(routes)).scalar_one())
                row = RouteRow(route, change.at_us, change.at_us)
                values = {"name": route.name, "spec": json(route), "created_at_us": change.at_us}
                change.connection.execute(insert(routes).values(**values, changed_at_us=change.at_us))
                change.log("route.set", route.name, route=written_route(route))
                return row
            before = _route(found)
            changed = update(routes).where(routes.c.name == route.name)
            change.connection.execute(changed.values(spec=json(route), changed_at_us=change.at_us))
            was, now = written_route(before.route), written_route(route)
            names = [name for name in now if was[name] != now[name]]
            change.log(
                "route.change",
                route.name,
                before={name: was[name] for name in names},
                after={name: now[name] for name in names},
            )
            return RouteRow(route, before.created_at_us, change.at_us)

    def list(self) -> list[RouteRow]:
        """By name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(schema.routes).order_by(schema.routes.c.name)).all()
        return [_route(row) for row in rows]

    def remove(self, name: str, by: str = "shell") -> RouteRow:
        """Raises NotFound."""
        routes = schema.routes
        with self._database.changing(by) as change:
            found = change.connection.execute(select(routes).where(routes.c.name == name)).one_or_none()
            if found is None:
                raise NotFound(f"there is no route {name!r}: `farebox routes list` shows them")
            change.connection.execute(delete(routes).where(routes.c.name == name))
            row = _route(found)
            change.log("route.remove", name, route=written_route(row.route))
            return row

    def in_force(self, of_settings: Mapping[str, Route]) -> dict[str, RouteRow]:
        """By name: what is stored here goes before what the settings say."""
        return {**{name: RouteRow(route) for name, route in of_settings.items()}, **_named(self.list())}

    def get(self, name: str, of_settings: Mapping[str, Route]) -> RouteRow:
        """A route in force. Raises NotFound."""
        row = self.in_force(of_settings).get(name)
        if row is None:
            raise NotFound(f"there is no route {name!r}: `farebox routes list` shows them")
        return row

    def _check_room(self, count: int) -> None:
        if count >= ROUTES_MAX:
            raise DirectoryError(f"there are {ROUTES_MAX:,} routes, the most there can be: remove some")


def checked_removal(row: RouteRow) -> None:
    """Raises InvalidRoute for one that the settings say: it can only be removed there."""
    if row.is_of_settings:
        raise InvalidRoute(f"route {row.route.name} stands in the settings: remove [routes.{row.route.name}] there")


def _named(rows: Iterable[RouteRow]) -> dict[str, RouteRow]:
    return {row.route.name: row for row in rows}


def _route(row: Row[Any]) -> RouteRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    try:
        route = msgspec.json.decode(row.spec, type=Route)
    except msgspec.DecodeError as error:
        raise DirectoryError(
            f"route {row.name} cannot be read ({error}): restore the directory from a backup"
        ) from None
    return RouteRow(route, row.created_at_us, row.changed_at_us)
