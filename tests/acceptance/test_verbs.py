"""What each verb asks, refuses, writes and prints: on both stores, with a tiny model and forty short texts."""

import io
import json
import re
import shutil
import tomllib
from dataclasses import replace

import pytest

from vecmigrate.cli import run
from vecmigrate.demo.applications import ChromaApplication, PostgresApplication
from vecmigrate.demo.corpus import Item
from vecmigrate.demo.story import write_config

TEXTS = {f"d{i:02}": f"entry number {i} about subject {chr(97 + i % 26)} and topic {i % 7}" for i in range(40)}


ON_POSTGRESQL = pytest.mark.parametrize("shop", ["pgvector"], indirect=True)
"""For what hangs on the command line alone: one store is enough."""


@pytest.fixture(scope="session")
def models(tiny):
    """Two tiny models of one architecture: the one that made the vectors, and another."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    return str(tiny(Pooling(16))), str(tiny(Pooling(16), seed=1))


@pytest.fixture(params=["pgvector", "chroma"])
def shop(request, tmp_path, models, monkeypatch):
    """An application with forty texts, and its vecmigrate.toml in the working directory."""
    from vecmigrate.config import EncodingSection
    from vecmigrate.encoding import load_encoder

    if request.param == "pgvector":
        application = PostgresApplication(request.getfixturevalue("postgres").create_database(f"verbs{abs(hash(tmp_path))}"))
    else:
        application = ChromaApplication(tmp_path)
    items = [Item(id, id, text, "chunk", "m") for id, text in TEXTS.items()]
    application.ingest(items, load_encoder(models[0], EncodingSection(device="cpu")).encode_documents([i.text for i in items]))
    for name, value in application.environment.items():
        monkeypatch.setenv(name, value)
    write_config(tmp_path / "vecmigrate.toml", application, models[0])
    monkeypatch.chdir(tmp_path)
    return application


@pytest.fixture
def type_(capsys):
    """Type a verb; what it printed on stdout as JSON, when it ended as expected."""

    def type_one(*arguments, code=0):
        capsys.readouterr()
        found = run(["--json", "--yes", "--quiet", *arguments])
        out, err = capsys.readouterr()
        assert found == code, f"{arguments} ended with {found}\n{out}\n{err}"
        assert out.count("\n") == 1, out
        return json.loads(out)

    return type_one


def write(shop, id, text, vector):
    """As the application adds a row, with a vector of its own."""
    if isinstance(shop, PostgresApplication):
        import psycopg

        with psycopg.connect(shop.dsn) as connection:
            connection.execute("INSERT INTO docs VALUES (%s, %s, %s, 'chunk', 'm', %s::vector)", (id, id, text, str(vector)))
        return
    import chromadb

    client = chromadb.PersistentClient(str(shop.path / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
    client.get_collection("docs", embedding_function=None).add(ids=[id], documents=[text], embeddings=[vector])
    client.close()


def delete_most(shop):
    """As an application that lost most of its rows."""
    gone = list(TEXTS)[10:]
    if isinstance(shop, PostgresApplication):
        import psycopg

        with psycopg.connect(shop.dsn) as connection:
            connection.execute("DELETE FROM docs WHERE id = ANY(%s)", (gone,))
        return
    import chromadb

    client = chromadb.PersistentClient(str(shop.path / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
    client.get_collection("docs", embedding_function=None).delete(ids=gone)
    client.close()


def answer(monkeypatch, text):
    """A terminal at which somebody types."""
    terminal = io.StringIO(text)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)


def counts(type_, label):
    """How a version stands, as `status --check` says it."""
    return next(v["differences"] for v in type_("status", "--check")["versions"] if v["version"] == label)


def test_who_declines_leaves_a_lagging_version_as_it_is(shop, type_, models, monkeypatch, capsys):
    type_("shadow", "build", "--model", models[1])
    write(shop, "late", "a row that came after the build", [1.0, *[0.0] * 15])
    for verb in (["cutover", "v1", "--no-gate"], ["shadow", "sync"]):
        answer(monkeypatch, "n\n")
        assert run(verb) == 1
        assert "not confirmed: nothing was done" in capsys.readouterr().err
        assert counts(type_, "v1") == {"missing": 1, "stale": 0, "extra": 0}
    answer(monkeypatch, "y\n")
    assert run(["cutover", "v1", "--no-gate"]) == 0
    out, err = capsys.readouterr()
    assert "1 rows of the source are missing, such as 'late': brought up to date first" in err
    assert "docs@v1 serves (epoch 2)" in out
    assert counts(type_, "v1") == {"missing": 0, "stale": 0, "extra": 0}


def test_who_declines_a_rollback_leaves_everything_as_it_is(shop, type_, models, monkeypatch, capsys):
    for model in models:
        type_("shadow", "build", "--model", model)
    for label in ("v1", "v2"):
        type_("cutover", label, "--no-gate")
    write(shop, "late", "a row that came after the cutover", [1.0, *[0.0] * 15])
    answer(monkeypatch, "n\n")
    assert run(["rollback"]) == 1
    assert "bring docs@v1 up to date with the source (missing 1, stale 0, extra 0), then verify it" in capsys.readouterr().err
    assert counts(type_, "v1")["missing"] == 1
    assert type_("status")["pointer"]["active"] == 2
    assert type_("rollback")["rows_missing"] == 0


@ON_POSTGRESQL
def test_a_cutover_typed_again_finds_nothing_to_do(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    assert type_("cutover", "--no-gate")["epoch"] == 2
    assert type_("cutover", "--no-gate") == {"active": 1, "changed": False, "next": "vecmigrate status"}
    assert type_("plan", "v1")["changed"] is False
    type_("rollback")
    assert type_("cutover", code=4)["message"] == "no version of docs is ready"


@ON_POSTGRESQL
def test_a_cutover_typed_again_does_not_go_to_an_older_version_that_is_ready(shop, type_, models):
    for model in models:
        type_("shadow", "build", "--model", model)
    assert type_("cutover", "--no-gate")["active"] == 2
    assert type_("cutover", "--no-gate") == {"active": 2, "changed": False, "next": "vecmigrate status"}
    assert type_("cutover", "v1", "--no-gate")["active"] == 1
    type_("shadow", "build", "--model", models[1])
    assert type_("cutover", "--no-gate")["active"] == 3


@ON_POSTGRESQL
def test_a_plan_is_not_written_into_a_folder_that_is_not_there(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    refused = type_("plan", "v1", "--no-gate", "-o", "nowhere/plan.json", code=2)
    assert refused["message"] == "nowhere/plan.json cannot be written: No such file or directory"


def test_the_application_may_hold_a_vector_without_a_text(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    type_("cutover", "v1", "--no-gate")
    write(shop, "textless", "", [1.0, *[0.0] * 15])
    assert type_("rollback")["active"] == 0


@ON_POSTGRESQL
@pytest.mark.parametrize("where", ['{"kind": 1e999}', '{"kind": NaN}', '{"kind": {"$gt": 1e999}}', '{"kind": 1' + "0" * 400 + "}"])
def test_a_number_that_no_store_holds_is_refused_in_a_filter(shop, type_, models, where):
    type_("shadow", "build", "--model", models[1])
    assert type_("query", "subject", "--where", where, code=2)["error"] == "UsageError"


@ON_POSTGRESQL
def test_a_plan_that_would_be_refused_says_so_with_its_exit_code(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    closed = type_("plan", "v1", code=3)
    assert (closed["ok"], closed["next"]) == (False, "vecmigrate compare v1")
    assert type_("plan", "v1", "--no-gate", "-o", "plan.json")["expect_epoch"] == 1
    assert type_("cutover", "plan.json", "--no-gate")["active"] == 1


def test_the_plan_promises_one_transaction_only_where_there_is_one(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    step = type_("plan", "v1", "--no-gate")["steps"][1]
    assert step.startswith("one transaction" if isinstance(shop, PostgresApplication) else "one compare-and-set")


@ON_POSTGRESQL
def test_building_with_the_model_that_serves_is_cautioned(shop, models, capsys, type_):
    type_("shadow", "build", "--model", models[0])
    capsys.readouterr()
    type_("cutover", "v1", "--no-gate")
    run(["--yes", "shadow", "build", "--model", models[0]])
    assert "docs@v1, which serves, was made by this very model" in capsys.readouterr().err


@ON_POSTGRESQL
def test_a_build_that_trusts_the_control_leaves_a_trace(shop, type_, models):
    type_("shadow", "build", "--model", models[1], "--trust-control")
    notes = [e["detail"].get("note") for e in type_("history")["events"] if e["kind"] == "state"]
    assert notes[0] == "--trust-control: nobody proved that [control] made the vectors that serve"


def test_everything_in_the_audit_has_somebody_who_did_it(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    type_("shadow", "drop", "v1")
    events = type_("history")["events"]
    assert {"adopt", "create", "state", "drop"} == {e["kind"] for e in events}
    assert all(re.fullmatch(r".+@.+", e["actor"]) for e in events)


def test_a_rollback_after_most_rows_vanished_names_the_way_out(shop, type_, models):
    for model in models:
        type_("shadow", "build", "--model", model)
    for label in ("v1", "v2"):
        type_("cutover", label, "--no-gate")
    delete_most(shop)
    refused = type_("rollback", code=4)
    assert "vecmigrate shadow sync v1 --allow-mass-deletion" in refused["message"]
    assert type_("rollback", "--accept-missing")["active"] == 1


def test_a_mass_deletion_is_refused_by_plan_and_sync_before_anything_is_asked(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    delete_most(shop)
    refused = type_("plan", "v1", "--no-gate", code=4)
    assert (refused["ok"], refused["next"].endswith("vecmigrate shadow sync v1 --allow-mass-deletion")) == (False, True)
    assert "refusing to remove that many unasked" in type_("shadow", "sync", code=4)["message"]
    assert counts(type_, "v1")["extra"] == 30
    assert type_("shadow", "sync", "v1", "--allow-mass-deletion")["versions"][0]["removed"] == 30
    assert type_("plan", "v1", "--no-gate")["ok"] is False  # the comparison alone is missing now


def test_removals_are_audited_with_who_and_how_many(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    delete_most(shop)
    type_("shadow", "sync", "v1", "--allow-mass-deletion")
    (event,) = [e for e in type_("history")["events"] if e["kind"] == "sync"]
    assert (event["version"], event["detail"]) == (1, {"loaded": 0, "removed": 30})
    assert re.fullmatch(r".+@.+", event["actor"])


@ON_POSTGRESQL
def test_an_empty_collection_is_to_be_filled_first(shop, type_):
    import psycopg

    with psycopg.connect(shop.dsn) as connection:
        connection.execute("DELETE FROM docs")
    found = type_("inspect")
    assert (found["rows"], found["next"]) == (0, "fill the collection first: it has no rows")


@ON_POSTGRESQL
def test_doctor_says_that_control_is_not_what_was_adopted(shop, type_, models, tmp_path):
    type_("shadow", "build", "--model", models[1])
    assert type_("doctor")["ok"] is True
    file = tmp_path / "vecmigrate.toml"
    file.write_text(file.read_text(encoding="utf-8").replace(models[0], models[1]), encoding="utf-8")
    (failed,) = [f for f in type_("doctor", code=1)["findings"] if not f["ok"]]
    assert failed["name"] == "control model"
    assert "docs@v0 was adopted with" in failed["seen"]


@ON_POSTGRESQL
def test_what_the_way_back_lacks_is_said_before_the_cutover(shop, type_, models):
    import psycopg

    type_("shadow", "build", "--model", models[1])
    with psycopg.connect(shop.dsn) as connection:
        connection.execute("UPDATE docs SET embedding = NULL WHERE id IN ('d01', 'd02')")
    cautions = type_("plan", "v1", "--no-gate")["cautions"]
    assert cautions[0] == "docs@v0 lacks 2 rows that have no vector there: going back to it will need --accept-missing"


@ON_POSTGRESQL
def test_retiring_the_way_back_is_cautioned_and_status_names_one_that_is_left(shop, type_, models, monkeypatch, capsys):
    for model in models:
        type_("shadow", "build", "--model", model)
    for label in ("v1", "v2"):
        type_("cutover", label, "--no-gate")
    assert type_("status")["next"] == "to go back: vecmigrate rollback"
    answer(monkeypatch, "docs@v1\n")
    assert run(["retire", "v1"]) == 0
    assert "it is what vecmigrate rollback goes to now; afterwards: vecmigrate rollback --to v0" in capsys.readouterr().err
    assert type_("status")["next"] == "to go back: vecmigrate rollback --to v0"
    assert type_("rollback", code=4)["message"] == "docs@v1 is retired: it was destroyed"
    assert type_("rollback", "--to", "v0")["active"] == 0


@ON_POSTGRESQL
def test_a_version_that_is_gone_is_refused_by_every_verb_in_the_same_words(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    type_("shadow", "drop", "v1")
    verbs = (
        ["plan", "v1"],
        ["verify", "v1"],
        ["cutover", "v1"],
        ["compare", "v1"],
        ["query", "x", "--version", "v1"],
        ["shadow", "sync", "v1"],
    )
    assert {type_(*verb, code=4)["message"] for verb in verbs} == {"docs@v1 was dropped: its rows are gone"}


@ON_POSTGRESQL
def test_an_unfinished_version_is_said_to_be_unfinished_and_how_it_goes_on(shop, type_, models):
    from vecmigrate.config import load_config
    from vecmigrate.encoding import ModelCatalog
    from vecmigrate.registry import open_store
    from vecmigrate.versions import State

    type_("models", "add", models[1], "--name", "other")
    type_("shadow", "build", "--model", models[0])
    section = load_config().store
    store = open_store(section.adapter, section.settings, collection="docs")
    made = store.create_version(ModelCatalog(load_config().workspace_path / "models").get("other").model)
    store.advance(made, State.BACKFILLING, actor="t")
    store.close()
    hint = "vecmigrate shadow build --model other"
    refused = type_("verify", "v2", code=1)
    assert refused["problems"] == [
        "40 rows of the source are missing, such as 'd00', 'd01', 'd02'",
        "docs@v2 is backfilling: it is not built to the end",
    ]
    assert refused["next"] == f"{hint} goes on with v2"
    assert [type_(*verb, code=4)["hint"] for verb in (["shadow", "sync", "v2"], ["compare", "v2"], ["cutover", "v2", "--no-gate"])] == [
        hint
    ] * 3
    assert type_("shadow", "build", "--model", "other")["version"] == "v2"


def test_status_counts_the_rows_of_every_store(shop, models, capsys, type_):
    type_("shadow", "build", "--model", models[1])
    capsys.readouterr()
    run(["status", "--check"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-4:] for line in lines if " v1 " in line or " v0 " in line] == [["40", "0", "0", "0"]] * 2


@ON_POSTGRESQL
def test_init_by_force_keeps_the_other_sections(shop, type_, tmp_path):
    file = tmp_path / "vecmigrate.toml"
    before = tomllib.loads(file.read_text(encoding="utf-8"))
    given = ["--table", "docs", "--dsn-env", "VECMIGRATE_DEMO_DSN", "--text", "body"]
    type_("init", *given, "--model", before["control"]["model"], "--force")
    assert tomllib.loads(file.read_text(encoding="utf-8")) == before


@ON_POSTGRESQL
def test_importing_a_log_again_keeps_what_counts_as_a_good_rating(shop, type_, tmp_path):
    lines = [{"query_id": f"q{i}", "user_query": f"subject {i}", "ratings": {f"d{i:02}": 1 + i % 5}} for i in range(20)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert type_("logs", "import", "log.jsonl", "--min-rating", "4")["judged"]["positives"] == 8
    assert type_("logs", "import", "log.jsonl")["judged"]["positives"] == 8
    assert type_("logs", "import", "log.jsonl", "--min-rating", "1")["judged"]["positives"] == 20


def register(folder, name, model, lineage):
    """Catalogue a model as training does, with this lineage; its fingerprint."""
    from vecmigrate.config import EncodingSection
    from vecmigrate.encoding import ModelCatalog, load_encoder
    from vecmigrate.encoding.catalog import ModelEntry

    identity = load_encoder(model, EncodingSection(), name=name).model
    ModelCatalog(folder / ".vecmigrate" / "models").register(ModelEntry(identity, model, verdict="tuned", lineage=lineage))
    return identity.fingerprint


def freeze(type_, folder, first, last):
    """The hash of a dataset of questions on subjects `first` to `last`, in the order of their numbers."""
    lines = [
        {
            "query_id": f"q{i}",
            "user_query": f"question {i * 7919} {i * 104729}",
            "clicked_ids": [f"d{i % 40:02}"],
            "timestamp": 1_700_000_000 + i,
        }
        for i in range(first, last)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    type_("logs", "import", "log.jsonl")
    return type_("dataset", "build")["hash"]


@ON_POSTGRESQL
def test_queries_that_an_earlier_round_trained_on_are_left_out_of_the_test(shop, type_, models, tmp_path):
    """The second round's log is a part of the first's: its latest queries, which test now, were trained on then."""
    earlier, now = freeze(type_, tmp_path, 0, 200), freeze(type_, tmp_path, 0, 100)
    register(tmp_path, "one", models[0], {"dataset": now})
    register(tmp_path, "two", models[1], {"dataset": earlier})
    for name in ("two", "one"):
        type_("shadow", "build", "--model", name, "--trust-control")
    type_("cutover", "v1", "--no-gate")
    refused = type_("compare", "v2", code=1)
    assert refused["message"] == "30 of 30 test queries left out: the control's model met them in an earlier training"
    later = freeze(type_, tmp_path, 50, 150)
    found = type_("compare", "v2", "--dataset", later, "--no-gate")["comparison"]
    assert found["warnings"][0] == "20 of 30 test queries left out: the control's model met them in an earlier training"
    assert found["queries"]["compared"] == 10


@ON_POSTGRESQL
def test_what_the_model_was_made_from_has_met_in_training_counts_too(shop, type_, models, tmp_path):
    earlier, now = freeze(type_, tmp_path, 0, 200), freeze(type_, tmp_path, 50, 150)
    base = register(tmp_path, "one", models[0], {"dataset": earlier})
    register(tmp_path, "two", models[1], {"dataset": now, "base": {"fingerprint": base}})
    type_("shadow", "build", "--model", "two", "--trust-control")
    found = type_("compare", "v1", "--no-gate")["comparison"]
    assert "20 of 30 test queries left out: the candidate's model met them in an earlier training" in found["warnings"]
    shutil.rmtree(next((tmp_path / ".vecmigrate" / "datasets").glob(f"{earlier[:8]}*")))
    found = type_("compare", "v1", "--no-gate")["comparison"]
    assert found["queries"]["compared"] == 30
    assert any(earlier[:12] in warning and "which is not here" in warning for warning in found["warnings"])


@ON_POSTGRESQL
def test_without_the_gate_a_plan_still_says_what_the_comparison_said(shop, type_, models, tmp_path):
    freeze(type_, tmp_path, 0, 100)
    type_("shadow", "build", "--model", models[1])
    compared = type_("compare", "v1", "--no-gate")["comparison"]["id"]
    (gate,) = [c for c in type_("plan", "v1", "--no-gate")["checks"] if " gate: " in c]
    assert compared in gate
    (tmp_path / ".vecmigrate" / "comparisons" / f"{compared}.json").write_text("{", encoding="utf-8")
    type_("plan", "v1", code=1)
    assert type_("cutover", "v1", "--no-gate")["active"] == 1


@ON_POSTGRESQL
def test_a_comparison_says_that_the_candidate_is_behind(shop, type_, models, tmp_path):
    freeze(type_, tmp_path, 0, 100)
    type_("shadow", "build", "--model", models[1])
    write(shop, "late", "a row that came after the build", [1.0, *[0.0] * 15])
    found = type_("compare", "v1", "--no-gate")["comparison"]
    assert found["warnings"][0] == "docs@v1 is behind its source (missing 1, stale 0, extra 0): vecmigrate shadow sync v1 first"


@ON_POSTGRESQL
def test_a_model_that_was_not_trained_here_has_no_seen_documents(shop, type_, models, tmp_path):
    freeze(type_, tmp_path, 0, 100)
    type_("shadow", "build", "--model", models[1])
    found = type_("compare", "v1", "--no-gate")["comparison"]
    assert [s["name"] for s in found["slices"] if s["kind"] == "document"] == []


@ON_POSTGRESQL
def test_a_log_beside_the_configuration_is_noted_by_its_relative_path(shop, type_, tmp_path):
    lines = [{"query_id": f"q{i}", "user_query": f"about subject {i}", "clicked_ids": [f"d{i:02}"]} for i in range(20)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    type_("logs", "import", "log.jsonl")
    assert tomllib.loads((tmp_path / "vecmigrate.toml").read_text(encoding="utf-8"))["log"]["path"] == "log.jsonl"
    assert type_("logs", "stats")["judged"]["positives"] == 20


ON_CHROMA = pytest.mark.parametrize("shop", ["chroma"], indirect=True)


def serve_v1(type_, models):
    type_("shadow", "build", "--model", models[1])
    return type_("cutover", "--no-gate")


@ON_CHROMA
def test_a_version_is_published_and_taken_back(shop, type_, models, capsys):
    serve_v1(type_, models)
    done = type_("publish", "--client", "by-name")
    assert (done["published"], done["changed"], done["rows"]) == ("v1", True, 40)
    assert type_("publish", "--client", "by-name")["changed"] is False
    assert type_("status")["published"] == 1
    run(["--yes", "status"])
    assert "v1 is published under the application's own name; vecmigrate publish --undo takes it back" in capsys.readouterr().out
    assert type_("status")["next"] == "to go back: vecmigrate publish --undo, then vecmigrate rollback"
    write(shop, "late", "written by name", [1.0] + [0.0] * 15)
    for refused in (("rollback",), ("plan", "v0"), ("cutover", "v0")):
        run(["--yes", *refused])
        assert "vecmigrate publish --undo first" in capsys.readouterr().err
    undone = type_("publish", "--undo")
    assert (undone["published"], undone["rows"], undone["brought"], undone["removed"]) == ("v0", 41, 1, 0)
    assert type_("status")["published"] is None
    assert type_("rollback")["active"] == 0
    assert type_("verify", "v0")["ok"] is True
    assert [e["kind"] for e in type_("history")["events"]].count("publish") == 1


@ON_CHROMA
def test_an_application_that_nothing_shows_is_published_only_when_somebody_says_that_it_looks_up_by_name(shop, type_, models, capsys):
    serve_v1(type_, models)
    assert run(["--yes", "publish"]) == 4
    told = capsys.readouterr().err
    assert "whether it looks the collection up by name for each query can't be seen" in told
    assert "--client by-name" in told


@ON_CHROMA
def test_publishing_asks_and_says_what_is_not_promised(shop, type_, models, capsys, monkeypatch):
    serve_v1(type_, models)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["publish", "--client", "by-name"]) == 2
    told = capsys.readouterr().err
    assert "not atomic" in told
    assert "goes on reading the old one, without an error" in told
    assert "undo   vecmigrate publish --undo" in told
    assert type_("status")["published"] is None


@ON_CHROMA
def test_v0_has_the_applications_name_already(shop, type_, models, capsys):
    type_("shadow", "build", "--model", models[1])
    assert run(["--yes", "publish"]) == 4
    assert "it has the application's name already" in capsys.readouterr().err
    assert run(["--yes", "publish", "v1", "--client", "by-name"]) == 4
    assert "vecmigrate cutover v1 first" in capsys.readouterr().err
    assert type_("publish", "--undo")["changed"] is False


@ON_POSTGRESQL
def test_postgresql_has_no_way_to_publish_yet(shop, type_, models, capsys):
    serve_v1(type_, models)
    assert run(["--yes", "publish"]) == 4
    assert "pgvector has no way to publish yet" in capsys.readouterr().err


@ON_CHROMA
def test_a_plan_says_what_a_sync_can_and_cannot_see(shop, type_, models):
    type_("shadow", "build", "--model", models[1])
    cautions = "\n".join(type_("plan", "--no-gate")["cautions"])
    assert "Chroma reports no changes" in cautions
    assert "rows that are new, changed or gone, but not when or by whom, nor a vector that they replaced under the same text" in cautions


@ON_CHROMA
def test_retiring_and_dropping_say_which_disk_is_kept(shop, models, capsys, type_):
    serve_v1(type_, models)
    type_("rollback")
    run(["--yes", "retire", "v1"])
    assert "chroma vacuum --path" in capsys.readouterr().out
    type_("shadow", "build", "--model", models[1])
    run(["--yes", "shadow", "drop", "v2"])
    assert "chroma vacuum --path" in capsys.readouterr().out


@ON_CHROMA
@pytest.mark.parametrize("name", ["file-3b1f0c9e", "Bad", "1st", "a" * 41])
def test_init_refuses_a_name_that_the_file_could_not_hold(shop, name, tmp_path, capsys):
    code = run(
        ["init", "--chroma-path", str(shop.path / "chroma"), "--source", "docs", "--collection", name, "-o", str(tmp_path / "new.toml")]
    )
    assert code == 2
    assert "small letters, digits and _ only" in capsys.readouterr().err
    assert not (tmp_path / "new.toml").exists()


@ON_CHROMA
def test_doctor_finds_that_the_serving_model_is_gone(shop, type_, models, tmp_path, capsys):
    moved = tmp_path / "another-model"
    shutil.copytree(models[1], moved)
    type_("shadow", "build", "--model", str(moved))
    type_("cutover", "--no-gate")
    assert run(["doctor"]) == 0
    moved.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / ".vecmigrate" / "models", ignore_errors=True)
    capsys.readouterr()
    assert run(["doctor"]) == 1
    assert "FAIL serving model" in capsys.readouterr().out


@ON_CHROMA
def test_what_is_gone_is_not_told_to_be_dropped(shop, type_, models, capsys):
    serve_v1(type_, models)
    type_("rollback")
    type_("retire", "v1")
    assert run(["--yes", "shadow", "drop", "v1"]) == 4
    assert "it is gone already" in capsys.readouterr().err


@ON_CHROMA
def test_an_undo_with_nothing_published_asks_nothing(shop, type_, models, capsys, monkeypatch):
    serve_v1(type_, models)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["publish", "--undo"]) == 0
    assert "nothing was done" in capsys.readouterr().out


# A model that was tuned on the query side alone.


@pytest.fixture
def tuned(shop, type_, models, tmp_path):
    """Catalogued as `tuned`: the control's model with a matrix after the query's embedding. `register(base)` catalogues another claim."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Router

    from vecmigrate.config import EncodingSection
    from vecmigrate.encoding import ModelCatalog, load_encoder
    from vecmigrate.encoding.catalog import ModelEntry

    def register(name="tuned", *, of=models[0], claims=models[0]):
        documents = list(SentenceTransformer(of, device="cpu").children())
        matrix = Dense(16, 16, bias=False, activation_function=torch.nn.Identity())
        torch.nn.init.eye_(matrix.linear.weight)
        with torch.no_grad():
            matrix.linear.weight[:, :4] *= 3
        folder = tmp_path / f"{name}-made"
        router = Router.for_query_document([*documents, matrix], documents)
        SentenceTransformer(modules=[router], device="cpu").save(str(folder), create_model_card=False)
        found = [load_encoder(str(f), EncodingSection(device="cpu")).model for f in (folder, claims)]
        model = replace(found[0], name=name, documents=found[1].fingerprint)
        catalog = ModelCatalog(tmp_path / ".vecmigrate" / "models")
        return catalog.register(ModelEntry(model, str(folder)), files=folder).model

    return register


def shown(type_, label):
    (found,) = [v for v in type_("status")["versions"] if v["version"] == label]
    return found["state"], found["shares"], found["rows"] or 40


def test_a_model_tuned_on_the_query_side_goes_the_whole_way_without_re_embedding(shop, type_, tuned, capsys):
    model = tuned()
    assert run(["--yes", "shadow", "build", "--model", "tuned"]) == 0
    out, err = capsys.readouterr()
    assert "it shares the vectors of docs@v0: nothing is re-embedded, no new index, no disk; --own-vectors builds its own" in err
    assert "docs@v1 is ready: shares the vectors of docs@v0, of which a sample was re-embedded" in out
    built = type_("shadow", "build", "--model", "tuned")
    assert (built["version"], built["shares"], built["loaded"], built["verification"]["ok"]) == ("v1", "docs@v0", 0, True)
    assert shown(type_, "v1") == ("ready", "docs@v0", 40)
    plan = type_("plan", "v1", "--no-gate")
    assert plan["steps"][0] == "verify docs@v1, which shares the vectors of docs@v0: nothing is re-embedded"
    assert not any("shadow sync" in caution for caution in plan["cautions"])
    moved = type_("cutover", "v1", "--no-gate")
    assert (moved["active"], moved["rows_missing"], moved["rows_stale"]) == (1, 0, 0)
    asked = type_("query", TEXTS["d07"])["answers"][0]
    assert (asked["version"], asked["fingerprint"]) == ("docs@v1", model.fingerprint)
    capsys.readouterr()
    assert run(["status", "--check"]) == 0
    assert "docs@v1 shares the vectors of docs@v0" in capsys.readouterr().out
    assert counts(type_, "v1") == {"missing": 0, "stale": 0, "extra": 0}
    assert type_("verify")["ok"] is True
    assert type_("shadow", "sync")["versions"] == []
    assert type_("rollback")["active"] == 0
    assert type_("cutover", "v1")["active"] == 1
    assert type_("rollback")["active"] == 0
    retired = type_("retire", "v1")
    assert (retired["state"], shown(type_, "v0")[0]) == ("retired", "active")
    assert type_("query", TEXTS["d07"])["answers"][0]["version"] == "docs@v0"
    assert type_("verify", "v1", code=4)["message"] == "docs@v1 was retired: it is gone"


def test_vectors_of_its_own_are_built_where_they_are_asked_for(shop, type_, tuned):
    tuned()
    shared = type_("shadow", "build", "--model", "tuned")
    own = type_("shadow", "build", "--model", "tuned", "--own-vectors")
    assert [(r["version"], r["shares"], r["loaded"]) for r in (shared, own)] == [("v1", "docs@v0", 0), ("v2", None, 40)]
    assert type_("shadow", "build", "--model", "tuned", "--own-vectors")["version"] == "v2"


def test_a_claim_about_documents_that_does_not_hold_makes_no_version(shop, type_, tuned, models):
    tuned("liar", of=models[1])
    type_("shadow", "build", "--model", models[1])
    refused = type_("shadow", "build", "--model", "liar", code=4)
    assert "docs@v0 does not hold what liar makes of its documents: cosine" in refused["message"]
    assert refused["hint"] == "vecmigrate shadow build --model liar --own-vectors"
    assert [v["version"] for v in type_("status")["versions"]] == ["v0", "v1"]


def test_what_is_written_later_is_brought_into_the_vectors_that_are_shared(shop, type_, tuned, models, monkeypatch, capsys):
    tuned("tuned", of=models[1], claims=models[1])
    type_("shadow", "build", "--model", models[1])
    assert type_("shadow", "build", "--model", "tuned")["shares"] == "docs@v1"
    write(shop, "late", "a row that came after the build", [1.0, *[0.0] * 15])
    assert counts(type_, "v2") == counts(type_, "v1") == {"missing": 1, "stale": 0, "extra": 0}
    assert type_("shadow", "sync", "v2")["versions"] == [{"version": "v1", "loaded": 1, "removed": 0}]
    assert counts(type_, "v2") == counts(type_, "v1") == {"missing": 0, "stale": 0, "extra": 0}
    write(shop, "later", "a row that came after that", [1.0, *[0.0] * 15])
    assert type_("cutover", "v2", "--no-gate")["rows_missing"] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    capsys.readouterr()
    assert run(["shadow", "drop", "v1"]) == 4, "before anything is asked"
    refused = type_("shadow", "drop", "v1", code=4)
    assert "docs@v1 can't become cancelled: its vectors are shared by docs@v2 (active)" in refused["message"]
    type_("cutover", "v1", "--no-gate")
    assert type_("retire", "v2")["state"] == "retired"


@ON_POSTGRESQL
def test_rows_that_the_applications_own_vectors_lack_are_said_and_do_not_stop_a_build(shop, type_, tuned, capsys):
    import psycopg

    tuned()
    with psycopg.connect(shop.dsn) as connection:
        connection.execute("UPDATE docs SET embedding = NULL WHERE id IN ('d01', 'd02')")
    assert run(["--yes", "shadow", "build", "--model", "tuned"]) == 0
    assert "caution  docs@v0 lacks 2 rows, and so does docs@v1" in capsys.readouterr().err
    assert type_("cutover", "v1", "--no-gate")["rows_missing"] == 2
    assert type_("status", "--check")["next"] == "to go back: vecmigrate rollback"


@ON_CHROMA
def test_a_version_that_shares_is_not_published(shop, type_, tuned):
    tuned()
    type_("shadow", "build", "--model", "tuned")
    type_("cutover", "v1", "--no-gate")
    refused = type_("publish", "--client", "by-name", code=4)
    assert "docs@v1 shares the vectors of docs@v0: what sets it apart is how queries are encoded" in refused["message"]
