"""Every error has its documented exit code, its message and its hint."""

import inspect

import pytest

from vecmigrate import errors

EXIT_CODES = {
    "VecmigrateError": 1,
    "UsageError": 2,
    "GateFailed": 3,
    "PreflightRefused": 4,
    "Conflict": 5,
    "StalePlan": 6,
    "StoreUnavailable": 7,
    "StoreError": 1,
    "AccessDenied": 1,
    "NotFound": 1,
    "VersionRetired": 1,
    "DiskFull": 1,
    "DataError": 1,
    "WrongSpace": 1,
    "ModelError": 1,
    "MissingDependency": 1,
}
TREE = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}


def test_the_tree_is_the_documented_one():
    assert {name: cls.exit_code for name, cls in TREE.items()} == EXIT_CODES
    assert all(name in (errors.__doc__ or "") for name in TREE)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_error_is_a_vecmigrate_error_with_message_and_hint(name):
    error = TREE[name]("docs@v2 is gone", hint="vecmigrate status")
    assert isinstance(error, errors.VecmigrateError)
    assert (error.message, error.hint, str(error)) == ("docs@v2 is gone", "vecmigrate status", "docs@v2 is gone\nhint: vecmigrate status")
    assert str(TREE[name]("alone")) == "alone"
