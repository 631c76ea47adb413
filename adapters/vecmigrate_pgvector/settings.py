"""The `[store]` table of vecmigrate.toml for pgvector: where the rows are, which columns matter, and where the secret is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vecmigrate.errors import UsageError

LONGEST_IDENTIFIER = 63
"""In bytes: PostgreSQL cuts longer names off, and two of them may become one."""

_KEYS_HINT = "the keys are dsn_env, table, text or text_sql, embedding, key, where, metadata, metric, state_schema"


class Settings(BaseModel):
    """What the operator wrote. Everything but `table` may be left out and is then detected from the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    """`docs`, `public.docs` or `"My Schema"."Docs"`, read as PostgreSQL reads it."""
    dsn_env: str = "DATABASE_URL"
    """The environment variable that holds the connection string."""
    dsn: str | None = None
    """The connection string itself, allowed only without a password."""
    text: str | None = None
    """The column whose text is embedded."""
    text_sql: str | None = None
    """Or an SQL expression over the table's columns: `title || E'\\n' || body`."""
    embedding: str | None = None
    key: tuple[str, ...] | None = None
    where: str | None = None
    """An SQL condition: only these rows are the collection."""
    metadata: tuple[str, ...] | None = None
    metric: Literal["cosine", "inner_product", "l2"] | None = None
    state_schema: str = Field(default="vecmigrate", pattern=r"^[a-z_][a-z0-9_]{0,62}$")

    @field_validator("key", "metadata", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("key")
    @classmethod
    def _some_key(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError("name at least one column, each once")
        return value

    @field_validator("table", "text", "embedding", "state_schema")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        return None if value is None else sound_name(value)

    @field_validator("text_sql", "where")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or "\0" in value):
            raise ValueError("is empty or holds a NUL")
        return value

    @model_validator(mode="after")
    def _one_text(self) -> Settings:
        if self.text is not None and self.text_sql is not None:
            raise ValueError("text and text_sql are both given; leave one out")
        return self


class Environment(BaseModel):
    """Where a connection string was found, so that a complaint can name the place and not the string."""

    model_config = ConfigDict(frozen=True)

    place: str
    conninfo: str = Field(repr=False)


def parse_settings(settings: Mapping[str, Any]) -> Settings:
    """Check the operator's table. Raises `UsageError` naming the key that is wrong, never a value that may be secret."""
    try:
        return Settings.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the table"
        raise UsageError(f"[store] {key}: {first['msg']}", hint=_KEYS_HINT) from None


def connection_string(settings: Settings) -> Environment:
    """The DSN and where it came from. Raises `UsageError` when there is none, it can't be read, or a file holds a password."""
    if settings.dsn is None:
        found = os.environ.get(settings.dsn_env)
        if not found:
            raise UsageError(
                f"the environment variable {settings.dsn_env} is not set",
                hint=f"export {settings.dsn_env}='postgresql://user:password@host/database'",
            )
        source = Environment(place=settings.dsn_env, conninfo=found)
    else:
        source = Environment(place="[store] dsn", conninfo=settings.dsn)
    parts = read_conninfo(source)
    if settings.dsn is not None and parts.get("password"):
        raise UsageError("[store] dsn holds a password", hint='put the string into the environment and write dsn_env = "DATABASE_URL"')
    return source


def read_conninfo(source: Environment) -> dict[str, Any]:
    """The parts of a DSN. Raises `UsageError` without the string: libpq's own complaint may quote the password."""
    parts: dict[str, Any] | None
    try:
        parts = dict(conninfo_to_dict(source.conninfo))
    except (ProgrammingError, UnicodeEncodeError):
        parts = None  # raised below, outside of the handler: not even as the context of our error does libpq's complaint travel
    if parts is None:
        raise UsageError(
            f"{source.place} is not a PostgreSQL connection string",
            hint="expected postgresql://user:password@host:port/database, with special characters of the password percent-encoded",
        )
    return parts


def sound_name(name: str) -> str:
    """`name`, or a `ValueError` when PostgreSQL would silently read another one."""
    if not name.strip() or "\0" in name:
        raise ValueError("is empty or holds a NUL character")
    for part in re.findall(r'"(?:[^"]|"")*"|[^."]+', name):
        if len(part.strip('"').replace('""', '"').encode()) > LONGEST_IDENTIFIER:
            raise ValueError(f"has a name of more than {LONGEST_IDENTIFIER} bytes, which PostgreSQL would cut off")
    return name
