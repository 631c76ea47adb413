"""The rules that every adapter keeps, as one pytest class. Subclass it, supply the hooks, and each rule is a test:

    class TestMyStore(StoreConformance):
        def make_collection(self, rows, *, metric, dimension): ...      # fill a collection as an application would; return its Store
        def another_handle(self, store): ...
        def put(self, store, row): ...
        def delete(self, store, id): ...

    rules_source   reading      rules_build   versions      rules_search   answers      rules_pointer   states, flips, operators
    rules_sharing  versions that search another's vectors

A rule that a store cannot keep is not to be dropped in silence: overriding one without `@overrides_with_reason` fails at import.
Failing assertions explain themselves after `pytest.register_assert_rewrite("vecmigrate.testing")` in a conftest.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from typing import Any, TypeVar

from vecmigrate.testing.hooks import Hooks
from vecmigrate.testing.memory import SourceRow
from vecmigrate.testing.rules_build import BuildRules
from vecmigrate.testing.rules_pointer import PointerRules
from vecmigrate.testing.rules_search import SearchRules
from vecmigrate.testing.rules_sharing import SharingRules
from vecmigrate.testing.rules_source import SourceRules

__all__ = ["SourceRow", "StoreConformance", "overrides_with_reason"]

F = TypeVar("F", bound=Callable[..., Any])

HOOKS = frozenset({"make_collection", "another_handle", "put", "delete", "rows_may_lack_vectors"})
_REASON = "_overrides_standard_test_because"


def overrides_with_reason(reason: str) -> Callable[[F], F]:
    """Declare that a test stands in for a standard one, and why. The reason is shown as the test's docstring.

    Raises `ValueError` when the reason is blank.
    """
    if not reason.strip():
        raise ValueError("an override of a standard test needs a reason")

    def declare(test: F) -> F:
        setattr(test, _REASON, reason)
        test.__doc__ = f"Overrides a standard test: {reason}"
        return test

    return declare


class StoreConformance(SourceRules, BuildRules, SearchRules, PointerRules, SharingRules):
    """Every rule. Only the hooks (`HOOKS`) are for subclasses to define."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _standard():
            found = getattr_static(cls, name, None)
            if found is not getattr_static(StoreConformance, name) and not hasattr(found, _REASON):
                raise TypeError(f"{cls.__name__}.{name} overrides a rule of StoreConformance; declare it with @overrides_with_reason(…)")

    @classmethod
    def overridden(cls) -> dict[str, str]:
        """The standard tests that this class replaces, with the reasons."""
        return {name: getattr(getattr(cls, name), _REASON) for name in _standard() if hasattr(getattr(cls, name), _REASON)}


def _standard() -> list[str]:
    defined = {name for base in (Hooks, SourceRules, BuildRules, SearchRules, PointerRules, SharingRules) for name in vars(base)}
    return sorted(name for name in defined - HOOKS if not name.startswith("__") and not name.startswith("_abc_"))
