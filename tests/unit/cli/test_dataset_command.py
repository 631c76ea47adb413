"""`dataset build`: where its queries come from, what synthetic ones may do, and that nothing is sent unasked."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from vecmigrate.cli.dataset import dataset_command
from vecmigrate.cli.session import Session
from vecmigrate.errors import DataError, UsageError
from vecmigrate.testing.encoders import FixedEncoders


def world_of_synthesis():
    """The chunks and the chat server of the synthesis tests."""
    name = "vecmigrate_synthesis_world"
    if name not in sys.modules:
        place = Path(__file__).resolve().parents[1] / "synthesis" / "synthesis_world.py"
        spec = importlib.util.spec_from_file_location(name, place)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


world = world_of_synthesis()
TOML = '[store]\nadapter = "none"\n[control]\nmodel = "hashing"\n'


class Shop:
    """A configured folder over forty chunks in memory, and a way to type `dataset` verbs."""

    def __init__(self, folder, chunks):
        self.folder = folder
        self.store, _ = world.store_of(chunks)
        self.configure()

    def configure(self, more=""):
        (self.folder / "vecmigrate.toml").write_text(TOML + more, encoding="utf-8")

    def log(self, n=30):
        rows = [
            {
                "user_query": f"why is {world.word(i, 0)} {world.word(i, 4)} {world.word(i, 5)}",
                "clicked_ids": [f"c{i:03d}"],
                "session_id": str(i),
            }
            for i in range(n)
        ]
        (self.folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return '[log]\npath = "log.jsonl"\n'

    def session(self, yes=True):
        session = Session(config_path=self.folder / "vecmigrate.toml", as_json=True, yes=yes, quiet=True)
        session._store = self.store.handle()
        session.__dict__["encoders"] = FixedEncoders.of(world.ENCODER)
        session.__dict__["control"] = SimpleNamespace(model=world.ENCODER.model)
        return session

    def type(self, *arguments, yes=True):
        session = self.session(yes)
        done = CliRunner().invoke(dataset_command, list(arguments), obj=session, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path, world.corpus())


def test_without_a_log_synthetic_queries_stand_alone_and_show_says_so(shop):
    found = shop.type("build", "--synthetic", "local")
    counts = found["counts"]
    assert counts["synthetic_queries"] == counts["train_queries"] + counts["dev_queries"] + counts["test_queries"]
    assert "asked by no user" in found["report"][0]
    assert shop.type("show")["report"] == found["report"]


def test_the_configuration_can_ask_for_them_and_the_option_for_none(shop):
    shop.configure(shop.log() + '[synthesis]\nkind = "local"\nkinds = ["title"]\n')
    assert shop.type("build")["counts"]["synthetic_queries"] > 10
    assert "synthetic_queries" not in shop.type("build", "--synthetic", "none")["counts"]


def test_beside_a_log_they_only_train(shop):
    shop.configure(shop.log())
    plain, more = shop.type("build")["counts"], shop.type("build", "--synthetic", "local")["counts"]
    assert (more["dev_queries"], more["test_queries"]) == (plain["dev_queries"], plain["test_queries"])
    assert more["train_queries"] == plain["train_queries"] + more["synthetic_queries"]


def test_a_log_can_be_left_out(shop):
    shop.configure(shop.log())
    found = shop.type("build", "--synthetic", "local", "--without-log")
    assert "all" in found["report"][0]
    assert "asked by no user" in found["report"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--without-log"], "--without-log leaves nothing out: no synthetic queries are asked for"),
        (["--without-log", "--synthetic", "local", "--faq", "f.csv"], "--without-log leaves nothing out: --faq is given"),
        (["--pairs", "p.csv", "--faq", "f.csv"], "are each in place of a log"),
        (["--queries", "q.jsonl"], "--queries and --qrels go together"),
        (["--min-grade", "2"], "--min-grade is for --qrels and --pairs"),
        (["--synthetic", "endpoint"], r"\[synthesis\] url is no http address"),
    ],
)
def test_what_does_not_go_together_is_refused(shop, arguments, message):
    with pytest.raises(UsageError, match=message):
        shop.type("build", *arguments)


def test_too_few_synthetic_queries_are_refused_with_the_reasons(tmp_path, capsys):
    few = Shop(tmp_path, world.corpus(3))
    few.configure("[synthesis]\nper_chunk = 1\n")
    with pytest.raises(DataError, match="synthetic queries are left; at least 10 are needed"):
        few.type("build", "--synthetic", "local")


def test_pairs_and_questions_are_read_in_place_of_a_log(shop):
    pairs = [{"query": f"broken {world.word(i, 4)} {world.word(i, 5)}", "chunk_id": f"c{i:03d}", "grade": 1 + i % 3} for i in range(20)]
    (shop.folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    found = shop.type("build", "--pairs", str(shop.folder / "pairs.jsonl"), "--min-grade", "2")
    assert found["report"][0] == "read 20 rows of pairs.jsonl: 13 queries"
    faq = [{"question": f"how to repair {world.word(i, 0)}", "answer": world.chunk_of(i).text} for i in range(20)]
    (shop.folder / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in faq), encoding="utf-8")
    found = shop.type("build", "--faq", str(shop.folder / "faq.jsonl"), "--synthetic", "local")
    assert "read 20 rows of faq.jsonl: 20 queries" in found["report"]
    assert found["counts"]["synthetic_queries"] > 20


@pytest.fixture
def server():
    chat = world.ChatServer()
    chat.start()
    yield chat
    chat.stop()


def test_nothing_is_sent_without_agreement(shop, server, capsys):
    shop.configure(f'[synthesis]\nurl = "{server.url}"\nmodel = "tiny"\nper_chunk = 2\n')
    with pytest.raises(UsageError, match="this sends chunks to an endpoint, and there is no terminal to ask"):
        shop.type("build", "--synthetic", "endpoint", yes=False)
    assert server.asked == []


def test_the_endpoints_queries_make_a_dataset_and_a_second_build_sends_nothing(shop, server, monkeypatch):
    monkeypatch.setenv("CHAT_KEY", "sk-hush")
    shop.configure(f'[synthesis]\nkind = "endpoint"\nurl = "{server.url}"\nmodel = "tiny"\nper_chunk = 2\napi_key_env = "CHAT_KEY"\n')
    found = shop.type("build")
    assert found["counts"]["synthetic_queries"] == 80
    assert len(server.asked) == 40
    assert shop.type("build", yes=False)["hash"] == found["hash"]
    assert len(server.asked) == 40
    everything = b"".join(path.read_bytes() for path in (shop.folder / ".vecmigrate").rglob("*") if path.is_file())
    assert b"sk-hush" not in everything


@pytest.mark.parametrize(("arguments", "notes"), [(["--synthetic", "local", "--without-log"], 1), (["--synthetic", "local"], 0)])
def test_a_comparison_on_queries_that_nobody_asked_begins_with_that(shop, arguments, notes):
    from vecmigrate.cli.compare import _unseen
    from vecmigrate.cli.dataset import find_dataset

    shop.configure(shop.log())
    shop.type("build", *arguments)
    session, (control,) = shop.session(), shop.store.versions()
    queries, found = _unseen(session, (control, control), find_dataset(session, None))
    assert len(found) == notes
    assert all(note.startswith(f"all {len(queries)} test queries are synthetic: made from the chunks") for note in found)


def written(shop):
    """Every byte of the workspace, Parquet's texts uncompressed."""
    import pyarrow.parquet as pq

    files = [path for path in (shop.folder / ".vecmigrate").rglob("*") if path.is_file()]
    return "".join(repr(pq.read_table(p).to_pylist()) if p.suffix == ".parquet" else p.read_text(encoding="utf-8") for p in files)


def imports(shop):
    """The same 20 questions by each way in; the first row's has an address, and so has one that can't be used."""
    asked = [f"why is {world.word(i, 0)} {world.word(i, 4)} broken" for i in range(20)]
    asked[0] += " ask anna@example.org"
    spoilt = {"query": "where is ben@example.org", "question": "where is ben@example.org", "chunk_id": "gone", "answer": "gone"}
    rows = {
        "pairs": [*({"query": text, "chunk_id": f"c{i:03d}"} for i, text in enumerate(asked)), spoilt],
        "faq": [*({"question": text, "answer": world.chunk_of(i).text} for i, text in enumerate(asked)), spoilt],
        "queries": [{"id": f"q{i}", "text": text} for i, text in enumerate(asked)],
    }
    for name, lines in rows.items():
        (shop.folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (shop.folder / "qrels.tsv").write_text("".join(f"q{i}\tc{i:03d}\t1\n" for i in range(20)), encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [{"pairs": "pairs.jsonl"}, {"faq": "faq.jsonl"}, {"queries": "queries.jsonl", "qrels": "qrels.tsv"}],
    ids=lambda o: "-".join(o),
)
def test_no_import_writes_personal_data_unless_told_to(shop, options):
    imports(shop)
    arguments = [part for name, file in options.items() for part in (f"--{name}", str(shop.folder / file))]
    found = shop.type("build", *arguments)
    assert any("personal data replaced in the texts of queries" in line for line in found["report"])
    assert "ask <email>" in written(shop)
    assert "@example.org" not in written(shop)
    shop.configure("[log]\nredact = false\n")
    shop.type("build", *arguments)
    assert "ask anna@example.org" in written(shop)


def test_what_users_passed_over_becomes_the_hard_negative_of_their_query(shop):
    """From the line in the log, through reading, judging and mining, to the text that is trained on."""
    rows = [
        {
            "user_query": f"why is {world.word(i, 0)} {world.word(i, 4)} {world.word(i, 5)}",
            "query_response_hit_ids": [f"c{(i + 7) % 40:03d}", f"c{i:03d}", f"c{(i + 11) % 40:03d}"],
            "clicked_ids": [f"c{i:03d}"],
            "session_id": str(i),
        }
        for i in range(30)
    ]
    (shop.folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shop.configure('[log]\npath = "log.jsonl"\n')
    found = shop.type("build")
    from vecmigrate.cli.dataset import find_dataset

    dataset = find_dataset(shop.session(), None)
    pairs = dataset.training_pairs()
    above = {f"c{i:03d}": world.chunk_of((i + 7) % 40).text for i in range(30)}
    assert len(pairs) == found["counts"]["train_queries"] > 15
    assert [pair.negatives for pair in pairs] == [(above[pair.chunk_id],) for pair in pairs]
    assert (
        f"mined {len(pairs)} of {len(pairs)} hard negatives for {len(pairs)} pairs (0 by users' ratings, {len(pairs)} that users passed over)"
        in found["report"]
    )


# Which dataset is meant.


def foreign(shop, name="0ff0"):
    place = shop.folder / ".vecmigrate" / "datasets" / name
    place.mkdir(parents=True)
    (place / "manifest.json").write_text('{"parts": {"format": 99}}', encoding="utf-8")
    return place


def test_another_versions_dataset_is_passed_over_and_named(shop, capsys):
    made = shop.type("build", "--synthetic", "local")
    place = foreign(shop)
    session = shop.session()
    session.quiet = False
    from vecmigrate.cli.dataset import find_dataset

    assert find_dataset(session, None).hash == made["hash"]
    said = capsys.readouterr().err
    assert f"passed over {place}: another version's dataset; taken is {made['hash'][:12]}" in said
    assert find_dataset(session, made["hash"][:6]).hash == made["hash"]
    assert capsys.readouterr().err == ""


def test_another_versions_dataset_by_name_says_its_format(shop):
    shop.type("build", "--synthetic", "local")
    foreign(shop)
    with pytest.raises(DataError, match="is a dataset of another format, 99"):
        shop.type("show", "0ff0" + "1" * 60)


def test_no_dataset_and_an_unknown_one_say_what_to_do(shop):
    with pytest.raises(DataError, match="there is no dataset in") as caught:
        shop.type("show")
    assert caught.value.hint == "vecmigrate dataset build"
    with pytest.raises(UsageError, match="0 datasets begin with 'abc'"):
        shop.type("show", "abc")


def test_without_a_log_the_hint_names_queries_from_the_chunks(shop):
    with pytest.raises(UsageError, match=r"\[log\] in vecmigrate.toml names no log") as caught:
        shop.type("build")
    assert caught.value.hint == "give one of path, table or sql; where there is none: vecmigrate dataset build --synthetic local"


def test_a_cross_encoder_goes_into_the_hash_by_its_name_wherever_the_workspace_lies():
    from vecmigrate.config import DatasetSection
    from vecmigrate.dataset.building import _as_identity

    one, other = (_as_identity(DatasetSection(negative_filter=f"{place}/models/judge")) for place in ("/home/a", "/srv/b"))
    assert one == other
    assert one["negative_filter"] == "judge"
    assert _as_identity(DatasetSection(negative_filter="x/judge"))["negative_filter"] == "x/judge"


def test_an_undecided_comparison_sends_for_a_log(shop):
    from vecmigrate.cli.compare import _next
    from vecmigrate.evaluation import GateResult, Outcome

    (control,) = shop.store.versions()
    said = _next(GateResult(Outcome.UNDECIDED, ()), control)
    assert said == "undecided: keep v0, and compare again with a log of what users ask: vecmigrate logs import"
