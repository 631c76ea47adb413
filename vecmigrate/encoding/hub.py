"""A model directory to a model hub: into a private repository unless a public one is asked for.

create the repository (or take the one that is there) ─► see that it is as private as asked ─► one commit with every file
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from vecmigrate.encoding.loading import INSTALL_HINT
from vecmigrate.errors import MissingDependency, ModelError, UsageError

TOKEN = "HF_TOKEN"  # noqa: S105  # the variable's name
ENDPOINT = "HF_ENDPOINT"
DEFAULT_ENDPOINT = "https://huggingface.co"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, else the public one."""
    return (os.environ.get(ENDPOINT) or DEFAULT_ENDPOINT).rstrip("/")


def hub_token(repository: str) -> str:
    """The token of the environment. Raises `UsageError` where there is none, or `repository` is no "owner/name"."""
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is no repository of a hub", hint="name it as OWNER/NAME")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UsageError(f"the environment variable {TOKEN} is not set", hint=f"export {TOKEN} with a token that may write to {repository}")
    return token


def push_folder(folder: Path, repository: str, *, token: str, private: bool, message: str) -> str:
    """Upload every file of `folder` as one commit, and return the repository's address.

    Raises `ModelError` when the hub can't be reached or refuses, and for a repository that is public where a private one was asked for;
    `MissingDependency` without the hub's client.
    """
    api = _api(token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        shown = api.repo_info(repository)
        if private and not shown.private:
            raise ModelError(
                f"{repository} is public, and a private repository was asked for",
                hint="name another one, make it private, or add --public",
            )
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except ModelError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries, some new in each release
        raise ModelError(f"{repository} could not be uploaded to {endpoint()}: {_without(token, error)}", hint=_hint(error)) from None
    return f"{endpoint()}/{repository}"


def _api(token: str) -> Any:
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ModuleNotFoundError as error:
        raise MissingDependency(f"uploading a model needs the package {error.name!r}", hint=INSTALL_HINT) from error
    disable_progress_bars()
    return HfApi(endpoint=endpoint(), token=token, library_name="vecmigrate")


def _without(token: str, error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace(token, "***")


def _hint(error: Exception) -> str:
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "unset HF_HUB_OFFLINE, then push again"
    return f"check {TOKEN}, the name and the connection, then push again: a push that stopped has changed no file of the repository"
