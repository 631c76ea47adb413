import pytest

pytest.register_assert_rewrite("vecmigrate.testing")
