"""The file is found, read and checked; what is wrong in it is named."""

from pathlib import Path

import pytest

from vecmigrate.config import find_config, load_config
from vecmigrate.errors import UsageError

GOOD = """
[store]
adapter = "pgvector"
collection = "docs"
dsn_env = "DATABASE_URL"
table = "public.docs"

[control]
model = "sentence-transformers/all-MiniLM-L6-v2"

[log]
path = "log.jsonl"
columns = { user_query = "q" }

[gate]
min_difference = 0.02
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("VECMIGRATE_CONFIG", raising=False)
    (tmp_path / ".git").mkdir()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "vecmigrate.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_file_is_found_upward_to_the_working_copys_root(folder):
    file = write(folder, GOOD)
    assert find_config() == file
    config = load_config()
    assert config.store.settings == {"dsn_env": "DATABASE_URL", "table": "public.docs"}
    assert config.workspace_path == folder / ".vecmigrate"
    assert config.gate.min_difference == 0.02
    assert config.log.columns == {"user_query": "q"}


def test_it_is_not_looked_for_above_the_working_copy(folder):
    write(folder.parent, GOOD)
    with pytest.raises(UsageError, match=r"no vecmigrate\.toml in"):
        find_config()


def test_the_environment_names_the_file(folder, monkeypatch):
    file = write(folder, GOOD)
    monkeypatch.setenv("VECMIGRATE_CONFIG", str(file))
    assert find_config() == file


def test_a_missing_file_says_how_to_make_one(folder):
    with pytest.raises(UsageError) as caught:
        load_config(folder / "nothing.toml")
    assert caught.value.hint == "vecmigrate init writes one"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[store", "is not valid TOML"),
        ("", "vecmigrate.toml: store: Field required"),
        (GOOD.replace('"docs"', '"Docs; DROP"', 1), "vecmigrate.toml: store.collection: String should match pattern"),
        (GOOD + "\n[gates]\n", "vecmigrate.toml: gates is unknown; known there: control, dataset, encoding"),
        (GOOD + "confidences = 2\n", "vecmigrate.toml: gate.confidences is unknown; known there: accept_synthetic, confidence"),
        (GOOD + "confidence = 2\n", "vecmigrate.toml: gate.confidence: Input should be less than or equal to 1"),
        (GOOD.replace("user_query", "question"), "vecmigrate.toml: log.columns: Value error, unknown name 'question'; known: query_id"),
        (GOOD.replace("[control]", "[controls]"), "vecmigrate.toml: control: Field required"),
    ],
)
def test_what_is_wrong_is_named(folder, text, complaint):
    file = write(folder, text)
    with pytest.raises(UsageError) as caught:
        load_config(file)
    assert complaint in caught.value.message


def test_a_file_that_is_not_text_is_refused(folder):
    (folder / "vecmigrate.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(folder / "vecmigrate.toml")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("budget_money = 2.0", "budget_money needs price_per_million_in and price_per_million_out"),
        ("min_words = 9\nmax_words = 3", "min_words 9 is above max_words 3"),
        ("kinds = []", "kinds is empty"),
        ('kind = "remote"', "kind"),
        ('api_key = "sk-1"', "synthesis.api_key is unknown"),
    ],
)
def test_settings_of_synthesis_that_contradict_each_other_are_named(folder, keys, message):
    write(folder, f"{GOOD}\n[synthesis]\n{keys}\n")
    with pytest.raises(UsageError, match=message):
        load_config()


def test_a_relative_cross_encoder_starts_at_the_files_folder(folder, monkeypatch):
    (folder / "models" / "judge").mkdir(parents=True)
    file = write(folder, f'{GOOD}\n[dataset]\nnegative_filter = "models/judge"\n')
    assert load_config(file).dataset.negative_filter == str(folder / "models" / "judge")
    monkeypatch.chdir(folder / "models")
    assert load_config(file).dataset.negative_filter == str(folder / "models" / "judge")


def test_a_relative_teacher_starts_at_the_files_folder(folder):
    (folder / "models" / "judge").mkdir(parents=True)
    text = f'{GOOD}\n[training]\nteacher = "models/judge"\nseed = 3\n'
    assert load_config(write(folder, text)).training.teacher == str(folder / "models" / "judge")
    assert load_config(write(folder, text)).training.seed == 3
    assert load_config(write(folder, text.replace("models/judge", "cross-encoder/some"))).training.teacher == "cross-encoder/some"


@pytest.mark.parametrize("name", ["cross-encoder/ms-marco-MiniLM-L6-v2", "/somewhere/else"])
def test_a_hub_name_and_an_absolute_directory_stay_as_they_are(folder, name):
    file = write(folder, f'{GOOD}\n[dataset]\nnegative_filter = "{name}"\n')
    assert load_config(file).dataset.negative_filter == name


def test_without_a_cross_encoder_there_is_none(folder):
    assert load_config(write(folder, GOOD)).dataset.negative_filter is None
