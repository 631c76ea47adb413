"""The `[store]` keys of the Chroma adapter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vecmigrate.errors import UsageError


class ChromaSettings(BaseModel):
    """Where the collection is: `path` (a persistent directory) or `url` (a server), and `source`, its name there.

    `headers_env` names the environment variable with the server's token, or with a JSON object of headers.
    `text_key` is the metadata field that was embedded, where that is not the document. `timeout` is in seconds per request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    source: str = Field(min_length=1)
    path: Path | None = None
    url: str | None = None
    headers_env: str | None = None
    tenant: str = "default_tenant"
    database: str = "default_database"
    text_key: str | None = Field(default=None, min_length=1)
    timeout: float = Field(default=120.0, gt=0)

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("expected http://host:port")
        if parts.username or parts.password:
            raise ValueError("a password does not belong in the url; put the headers into the variable that headers_env names")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either path (a persistent directory) or url (a Chroma server)")
        if self.headers_env and not self.url:
            raise ValueError("headers_env goes with url")
        return self

    def headers(self) -> dict[str, str]:
        """The HTTP headers from the environment. Raises `UsageError` naming the variable, never its value."""
        if not self.headers_env:
            return {}
        value = os.environ.get(self.headers_env, "").strip()
        if not value:
            raise UsageError(f"environment variable {self.headers_env} is not set", hint="it holds the Chroma server's token or headers")
        if not value.startswith("{"):
            return {"Authorization": f"Bearer {value}", "X-Chroma-Token": value}
        try:
            return {str(key): str(item) for key, item in json.loads(value).items()}
        except json.JSONDecodeError:
            raise UsageError(
                f"environment variable {self.headers_env} is not JSON", hint='like {"Authorization": "Bearer …"}, or the bare token'
            ) from None


def read_settings(settings: Mapping[str, Any]) -> ChromaSettings:
    """Check the `[store]` table. Raises `UsageError` naming the key that is wrong."""
    try:
        return ChromaSettings.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        message = f"[store] {key}: {first['msg']}" if key else f"[store]: {first['msg']}"
        raise UsageError(message, hint='like source = "my_collection" and path = "./chroma" or url = "http://localhost:8000"') from None
