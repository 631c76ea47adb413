"""The errors that users meet: each names the thing, says what was expected, and hints at the next command.

VecmigrateError                exit 1
├── UsageError                 exit 2   the command line or vecmigrate.toml is wrong
├── GateFailed                 exit 3   the comparison does not meet the gate
├── PreflightRefused           exit 4   going on would lose or mix something
├── Conflict                   exit 5   another operation holds the collection, or won the race
├── StalePlan                  exit 6   the store has changed since the plan was made
├── StoreUnavailable           exit 7   the server or endpoint does not answer (transient: retried, with a bound)
├── StoreError                 exit 1   the store answered, with an error
│   ├── AccessDenied                    the role lacks a privilege, or the password is wrong
│   ├── NotFound                        no such table, column, collection or version
│   ├── VersionRetired                  the version was retired while a reader held it: read the pointer again
│   └── DiskFull                        the server ran out of space: nothing of the batch was kept
├── DataError                  exit 1   rows, vectors or log lines that cannot be used
│   └── WrongSpace                      a vector of another model or dimension
├── ModelError                 exit 1   a model cannot be loaded, is unsafe, or is not what it was
└── MissingDependency          exit 1   an extra or adapter is not installed
"""

from __future__ import annotations


class VecmigrateError(Exception):
    """Something went wrong that the user can act on.

    `message` names the thing; `hint` names the next step. Neither may hold a secret.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(VecmigrateError):
    """The command line or vecmigrate.toml is wrong."""

    exit_code = 2


class GateFailed(VecmigrateError):
    """The comparison does not meet the gate."""

    exit_code = 3


class PreflightRefused(VecmigrateError):
    """Going on would lose or mix something, so nothing was done."""

    exit_code = 4


class Conflict(VecmigrateError):
    """Another operation holds the collection, or won the race."""

    exit_code = 5


class StalePlan(VecmigrateError):
    """The store has changed since the plan was made."""

    exit_code = 6


class StoreUnavailable(VecmigrateError):
    """The server does not answer. Transient: callers retry it, with a bound."""

    exit_code = 7


class StoreError(VecmigrateError):
    """The store answered, with an error."""


class AccessDenied(StoreError):
    """The role lacks a privilege, or the password is wrong."""


class NotFound(StoreError):
    """No such table, column, collection or version."""


class VersionRetired(StoreError):
    """The version was retired while a reader held it: read the pointer again."""


class DiskFull(StoreError):
    """The server ran out of space; nothing of the batch was kept."""


class DataError(VecmigrateError):
    """Rows, vectors or log lines that cannot be used."""


class WrongSpace(DataError):
    """A vector of another model version or dimension."""


class ModelError(VecmigrateError):
    """A model cannot be loaded, is unsafe, or is not what it was."""


class MissingDependency(VecmigrateError):
    """An extra or an adapter is not installed; the hint says what to install."""
