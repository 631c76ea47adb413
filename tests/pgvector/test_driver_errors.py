import psycopg
import psycopg.errors
import psycopg_pool
import pytest

from vecmigrate import errors
from vecmigrate_pgvector.connection import Database
from vecmigrate_pgvector.driver_errors import Grants, translate
from vecmigrate_pgvector.settings import Environment

TREE = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.VecmigrateError)}


def every_subclass(of):
    for each in of.__subclasses__():
        yield each
        yield from every_subclass(each)


DRIVER = sorted({psycopg.Error, *every_subclass(psycopg.Error)}, key=lambda kind: (kind.__module__, kind.__qualname__))


def test_there_are_many_to_map():
    assert len(DRIVER) > 250


@pytest.mark.parametrize("kind", DRIVER, ids=lambda kind: kind.__qualname__)
def test_every_driver_exception_is_one_of_ours_with_a_hint(kind):
    mapped = translate(kind("libpq text that may hold a secret"))
    assert type(mapped) in TREE - {errors.VecmigrateError}
    assert mapped.hint
    assert "secret" not in str(mapped)


@pytest.mark.parametrize(
    ("driver", "ours"),
    [
        (psycopg.errors.InvalidPassword, errors.AccessDenied),
        (psycopg.errors.InsufficientPrivilege, errors.AccessDenied),
        (psycopg.errors.ReadOnlySqlTransaction, errors.AccessDenied),
        (psycopg.errors.UndefinedTable, errors.NotFound),
        (psycopg.errors.UndefinedColumn, errors.NotFound),
        (psycopg.errors.InvalidCatalogName, errors.NotFound),
        (psycopg.errors.DiskFull, errors.DiskFull),
        (psycopg.errors.TooManyConnections, errors.StoreUnavailable),
        (psycopg.errors.AdminShutdown, errors.StoreUnavailable),
        (psycopg.errors.CannotConnectNow, errors.StoreUnavailable),
        (psycopg.errors.DeadlockDetected, errors.StoreUnavailable),
        (psycopg.errors.SerializationFailure, errors.StoreUnavailable),
        (psycopg.errors.ConnectionFailure, errors.StoreUnavailable),
        (psycopg.errors.LockNotAvailable, errors.Conflict),
        (psycopg.errors.UniqueViolation, errors.Conflict),
        (psycopg.errors.RaiseException, errors.Conflict),
        (psycopg.errors.QueryCanceled, errors.StoreError),
        (psycopg.errors.InvalidTextRepresentation, errors.DataError),
        (psycopg.errors.SyntaxError, errors.UsageError),
        (psycopg.errors.InternalError_, errors.StoreError),
        (psycopg.OperationalError, errors.StoreUnavailable),
        (psycopg.InterfaceError, errors.StoreUnavailable),
        (psycopg.DataError, errors.DataError),
        (psycopg_pool.PoolTimeout, errors.StoreUnavailable),
    ],
)
def test_each_family_has_its_kind(driver, ours):
    assert type(translate(driver("x"))) is ours


def test_a_vector_of_another_dimension_is_the_wrong_space(db):
    with pytest.raises(psycopg.Error) as caught:
        db.execute("SELECT '[1,2]'::vector <=> '[1,2,3]'::vector")
    assert type(translate(caught.value)) is errors.WrongSpace
    with pytest.raises(psycopg.Error) as caught:
        db.execute("SELECT '[1,2]'::vector(3)")
    assert type(translate(caught.value)) is errors.WrongSpace


@pytest.mark.parametrize(
    ("kind", "name", "typed"),
    [
        ("table", "docs", "GRANT SELECT ON shop.docs TO app;"),
        ("schema", "shop", "GRANT USAGE ON SCHEMA shop TO app;"),
        ("database", "shopdb", "GRANT CREATE ON DATABASE shopdb TO app;"),
        ("table", "version", "GRANT SELECT ON ALL TABLES IN SCHEMA vecmigrate TO app"),
        ("schema", "vecmigrate", "GRANT USAGE ON SCHEMA vecmigrate TO app;"),
    ],
)
def test_a_missing_privilege_comes_with_the_grant_to_type(kind, name, typed):
    assert typed in Grants("app", "shop.docs", "vecmigrate").hint(kind, name)


def refusal(conninfo):
    with pytest.raises(errors.VecmigrateError) as caught:
        Database(Environment(place="DATABASE_URL", conninfo=conninfo))
    texts = [str(caught.value), str(caught.value.__cause__), str(caught.value.__context__)]
    assert all("s3cr3t" not in text for text in texts), texts
    return caught.value


def test_an_unreachable_server_is_unavailable_and_named_without_its_password():
    error = refusal("postgresql://app:s3cr3t@127.0.0.1:1/shop")
    assert isinstance(error, errors.StoreUnavailable)
    assert "app:***@127.0.0.1:1/shop" in error.message


def test_a_password_with_an_at_sign_does_not_leak_through_the_host():
    error = refusal("postgresql://app:top@s3cr3t@127.0.0.1:1/shop")
    assert isinstance(error, errors.StoreUnavailable)
    assert "DATABASE_URL" in error.message


def test_a_database_or_role_that_is_not_there_is_said(server):
    folder = server.dsn.partition("host=")[2]
    assert isinstance(refusal(f"host={folder} user=postgres dbname=nowhere password=s3cr3t"), errors.NotFound)
    assert isinstance(refusal(f"host={folder} user=nobody dbname=postgres password=s3cr3t"), errors.AccessDenied)
