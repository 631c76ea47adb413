"""Failing assertions of the conformance suite explain themselves, where no other test has imported it before."""

import sys

import pytest

if "vecmigrate.testing" not in sys.modules:
    pytest.register_assert_rewrite("vecmigrate.testing")
