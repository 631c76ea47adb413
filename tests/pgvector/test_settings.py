import pytest

from vecmigrate.errors import UsageError
from vecmigrate_pgvector.settings import connection_string, parse_settings

SECRET = "s3cr3t-canary"


def test_only_the_table_must_be_given():
    settings = parse_settings({"table": "docs"})
    assert (settings.dsn_env, settings.state_schema, settings.key, settings.metadata) == ("DATABASE_URL", "vecmigrate", None, None)


def test_one_name_is_a_list_of_one():
    settings = parse_settings({"table": "docs", "key": "id", "metadata": "lang"})
    assert (settings.key, settings.metadata) == (("id",), ("lang",))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, r"table: Field required"),
        ({"table": "docs", "tabel": "x"}, r"tabel: Extra inputs"),
        ({"table": "docs", "text": "a", "text_sql": "b"}, r"both given"),
        ({"table": "docs", "metric": "euclid"}, r"metric"),
        ({"table": "a\0b"}, r"NUL"),
        ({"table": "x" * 64}, r"63 bytes"),
        ({"table": 'public."' + "ü" * 32 + '"'}, r"63 bytes"),
        ({"table": "docs", "text": "c" * 64}, r"63 bytes"),
        ({"table": "docs", "key": []}, r"at least one"),
        ({"table": "docs", "key": ["id", "id"]}, r"each once"),
        ({"table": "docs", "where": " "}, r"empty"),
        ({"table": "docs", "state_schema": 'x"; DROP'}, r"state_schema"),
        ({"table": 7}, r"table"),
    ],
)
def test_a_wrong_setting_is_named(wrong, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_settings(wrong)
    assert "dsn_env" in caught.value.hint


def test_a_quoted_name_of_63_bytes_is_fine():
    assert parse_settings({"table": '"' + "x" * 63 + '"'}).table.startswith('"xxx')


def test_the_dsn_comes_from_the_named_variable(monkeypatch):
    monkeypatch.setenv("SEARCH_DB", f"postgresql://app:{SECRET}@db/app")
    source = connection_string(parse_settings({"table": "docs", "dsn_env": "SEARCH_DB"}))
    assert (source.place, source.conninfo) == ("SEARCH_DB", f"postgresql://app:{SECRET}@db/app")
    assert SECRET not in repr(source)


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("SEARCH_DB", raising=False)
    with pytest.raises(UsageError, match="SEARCH_DB is not set") as caught:
        connection_string(parse_settings({"table": "docs", "dsn_env": "SEARCH_DB"}))
    assert "export SEARCH_DB=" in caught.value.hint


def test_a_password_in_the_file_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="holds a password") as caught:
        connection_string(parse_settings({"table": "docs", "dsn": f"postgresql://app:{SECRET}@db/app"}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "malformed",
    [
        f"postgres//app:{SECRET}@db/app",
        f"postgresql://app:{SECRET} x@db/app",
        f"postgresql://app:%zz{SECRET}@db",
        f"host=db passwort={SECRET}",
    ],
)
def test_a_malformed_dsn_is_never_quoted(monkeypatch, malformed):
    monkeypatch.setenv("SEARCH_DB", malformed)
    with pytest.raises(UsageError, match="SEARCH_DB is not a PostgreSQL connection string") as caught:
        connection_string(parse_settings({"table": "docs", "dsn_env": "SEARCH_DB"}))
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert all(SECRET not in str(error) for error in chain)
