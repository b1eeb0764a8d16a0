"""Models: names under which checkpoints are served, with versions and aliases.

Putting a checkpoint makes it the newest version, unless it is that already: then nothing
changes, so that a repeated request is harmless. A checkpoint that was an earlier version becomes
a new one; that is how one goes back. Numbers start at 1 and none is given out twice, not even
after the model was deleted: an answer that names model and version names one checkpoint for good.

What a version names cannot be deleted (`core.uses`). Deleting the model lets go of it.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, text, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from core import uses
from core.clock import now
from core.errors import BadCursor, ModelNotFound, ModelVersionNotFound
from core.ids import NAME, checked_name, is_name
from core.tables import model_aliases, model_versions, models

MAX_PAGE = 100
ALIAS = rf"(?![0-9]+$){NAME}"  # a number means a version
_ALIAS = re.compile(ALIAS)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_BEYOND = 10**9  # no version has a number as large as that
_VERSION = [model_versions.c[name] for name in ("model", "version", "checkpoint_id", "created_at")]

# Made once: predictions ask for them.
_OF_MODEL = select(*_VERSION).where(model_versions.c.model == bindparam("name"))
_NEWEST = _OF_MODEL.order_by(model_versions.c.version.desc()).limit(1)
_NUMBERED = _OF_MODEL.where(model_versions.c.version == bindparam("number"))

_INSERT = text(
    "INSERT INTO models (name, newest, created_at) VALUES (:name, 0, :at)"
    " ON CONFLICT (name) DO NOTHING"
)


@dataclass(frozen=True)
class Version:
    """One checkpoint under a model's name. Never changes."""

    model: str
    version: int  # from 1
    checkpoint_id: str
    created_at: float


@dataclass(frozen=True)
class Model:
    """A name with at least one version."""

    name: str
    created_at: float  # of its first version since it was last deleted
    versions: tuple[Version, ...]  # newest first
    aliases: dict[str, int]  # to numbers of versions
    findings: list[dict[str, Any]]  # about the newest version, when it was published

    @property
    def newest(self) -> Version:
        """What the name alone means."""
        return self.versions[0]


@dataclass(frozen=True)
class Put:
    """The newest version, and whether it is a new one."""

    version: Version
    created: bool


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Model]
    has_more: bool


def put(
    connection: Connection,
    name: str,
    checkpoint_id: str,
    findings: list[dict[str, Any]] | None = None,
) -> Put:
    """Make a checkpoint the newest version of a model, which need not exist yet.

    Whether it may be served is the caller's to find out.

    Args:
        findings: what the caller has found, JSON-ready.

    Raises:
        CheckpointNotFound: there is no such checkpoint.
        ValueError: the name is none.
    """
    checked_name(name)
    uses.hold_checkpoint(connection, checkpoint_id)
    at = now(connection)
    connection.execute(_INSERT, {"name": name, "at": at})
    number = _locked(connection, name)
    newest = _newest(connection, name)
    if newest is not None and newest.checkpoint_id == checkpoint_id:
        return Put(newest, created=False)
    created = Version(name, number + 1, checkpoint_id, at)
    again = {"created_at": at} if newest is None else {}
    counted = update(models).where(models.c.name == name).values(newest=number + 1, **again)
    connection.execute(counted)
    connection.execute(insert(model_versions), vars(created) | {"findings": findings})
    return Put(created, created=True)


def put_alias(connection: Connection, name: str, alias: str, version: int) -> Model:
    """Let an alias name a version, whatever it named before.

    Raises:
        ModelNotFound, ModelVersionNotFound: there is no such version.
        ValueError: the alias is none.
    """
    if not _ALIAS.fullmatch(alias):
        raise ValueError("an alias is a name that is no number")
    _exclusive(connection, name)
    _numbered(connection, name, version)
    known = update(model_aliases).where(_is_alias(name, alias)).values(version=version)
    if connection.execute(known).rowcount == 0:
        row = {"model": name, "alias": alias, "version": version}
        connection.execute(insert(model_aliases), row)
    return get(connection, name)


def delete_alias(connection: Connection, name: str, alias: str) -> None:
    """Let an alias name nothing.

    Raises:
        ModelNotFound, ModelVersionNotFound: there is no such alias.
    """
    _exclusive(connection, name)
    if connection.execute(delete(model_aliases).where(_is_alias(name, alias))).rowcount == 0:
        raise ModelVersionNotFound()


def get(connection: Connection, name: str) -> Model:
    """The model of this name.

    Raises:
        ModelNotFound: there is none.
    """
    found = _read(connection, [name]) if is_name(name) else []
    if not found:
        raise ModelNotFound()
    return found[0]


def resolve(connection: Connection, name: str, which: str | int | None = None) -> Version:
    """The version that a request means.

    Args:
        which: a number, also as text, or an alias; None means the newest.

    Raises:
        ModelNotFound: there is no such model.
        ModelVersionNotFound: it has no such version or alias.
    """
    newest = _newest(connection, name) if is_name(name) else None
    if newest is None:
        raise ModelNotFound()
    if which is None:
        return newest
    if isinstance(which, int) or _NUMBER.fullmatch(which):
        return _numbered(connection, name, int(which))
    version = None
    if _ALIAS.fullmatch(which):
        named = select(model_aliases.c.version).where(_is_alias(name, which))
        version = connection.execute(named).scalar()
    return _numbered(connection, name, version or 0)


def page(connection: Connection, limit: int = 20, after: str | None = None) -> Page:
    """One page of all models, newest first.

    Args:
        limit: 1 to 100.
        after: name of the last one of the page before.

    Raises:
        BadCursor: `after` is no model's name.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {limit}")
    exists = models.c.name.in_(select(model_versions.c.model))
    query = select(models.c.name).where(exists).limit(limit + 1)
    if after is not None:
        cursor = _cursor(connection, after)
        place = tuple_(models.c.created_at, models.c.name)
        query = query.where(place < tuple_(cursor.created_at, cursor.name))
    ordered = query.order_by(models.c.created_at.desc(), models.c.name.desc())
    names = [name for (name,) in connection.execute(ordered)]
    return Page(_read(connection, names[:limit]), len(names) > limit)


def remove(connection: Connection, name: str) -> Model:
    """Delete a model with its versions and aliases; its checkpoints stay.

    Raises:
        ModelNotFound: there is none.
    """
    _exclusive(connection, name)
    model = get(connection, name)
    connection.execute(delete(model_aliases).where(model_aliases.c.model == name))
    connection.execute(delete(model_versions).where(model_versions.c.model == name))
    return model


def _exclusive(connection: Connection, name: str) -> None:
    """Let nobody else change the model until this transaction ends."""
    if not is_name(name):
        raise ModelNotFound()
    _locked(connection, name)
    if _newest(connection, name) is None:
        raise ModelNotFound()


def _locked(connection: Connection, name: str) -> int:
    """The last number given out, which nobody else counts up until this transaction ends."""
    query = select(models.c.newest).where(models.c.name == name).with_for_update()
    return connection.execute(query).scalar() or 0


def _newest(connection: Connection, name: str) -> Version | None:
    row = connection.execute(_NEWEST, {"name": name}).one_or_none()
    return None if row is None else Version(**row._mapping)


def _numbered(connection: Connection, name: str, version: int) -> Version:
    if not 0 < version < _BEYOND:
        raise ModelVersionNotFound()
    row = connection.execute(_NUMBERED, {"name": name, "number": version}).one_or_none()
    if row is None:
        raise ModelVersionNotFound()
    return Version(**row._mapping)


def _is_alias(name: str, alias: str) -> ColumnElement[bool]:
    return (model_aliases.c.model == name) & (model_aliases.c.alias == alias)


def _cursor(connection: Connection, after: str) -> Model:
    try:
        return get(connection, after)
    except ModelNotFound as error:
        raise BadCursor() from error


def _read(connection: Connection, names: list[str]) -> list[Model]:
    """The models of these names, in their order; those without a version are left out."""
    created = select(models.c.name, models.c.created_at).where(models.c.name.in_(names))
    times = {row.name: row.created_at for row in connection.execute(created)}
    versions: dict[str, list[Version]] = defaultdict(list)
    its = select(*_VERSION).where(model_versions.c.model.in_(names))
    for row in connection.execute(its.order_by(model_versions.c.version.desc())):
        versions[row.model].append(Version(**row._mapping))
    findings = _findings(connection, [numbered[0] for numbered in versions.values()])
    aliases: dict[str, dict[str, int]] = defaultdict(dict)
    its = select(model_aliases).where(model_aliases.c.model.in_(names))
    for row in connection.execute(its.order_by(model_aliases.c.alias)):
        aliases[row.model][row.alias] = row.version
    found = (name for name in names if versions[name])
    return [Model(n, times[n], tuple(versions[n]), aliases[n], findings.get(n, [])) for n in found]


def _findings(connection: Connection, versions: list[Version]) -> dict[str, list[dict[str, Any]]]:
    """What was found of versions when they were published, by the names of their models."""
    table = model_versions
    wanted = tuple_(table.c.model, table.c.version).in_([(v.model, v.version) for v in versions])
    rows = connection.execute(select(table.c.model, table.c.findings).where(wanted))
    return {row.model: row.findings or [] for row in rows}
