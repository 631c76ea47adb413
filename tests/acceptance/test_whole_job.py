"""The whole job, verb by verb, on a real PostgreSQL and a real Chroma, with a real model that is really fine-tuned."""

from vecmigrate import open_retriever

QUESTION = "write rows to a comma separated file"


def test_from_an_existing_store_to_a_served_version_and_back(team):
    found = team.type("inspect")
    assert found["provenance"]["confirmed"] is True
    assert found["provenance"]["sampled"] == 64
    assert found["dimensions"] == {"384": found["rows"]}

    assert team.type("logs", "stats")["judged"]["positives"] > 100
    dataset = team.type("dataset", "build")
    assert team.type("dataset", "build")["hash"] == dataset["hash"]

    trained = team.type("train", "--epochs", "1", "--learning-rate", "1e-4", "--budget", "1s")
    assert trained["verdict"] in ("tuned", "interpolated", "keep base")
    assert [rung["rung"] for rung in trained["rungs"]] == ["adapter", "full"]
    assert len(team.type("models", "list")["models"]) == 3

    built = team.type("shadow", "build")
    assert (built["version"], built["state"], built["loaded"]) == ("v1", "ready", found["rows"])
    assert built["verification"]["ok"] is True

    compared = team.type("compare", "--no-gate", "--report", str(team.folder / "report.html"))
    assert compared["comparison"]["control"]["label"] == "v0"
    assert compared["comparison"]["candidate"]["fingerprint"] == trained["fingerprint"]
    assert "<!doctype html>" in (team.folder / "report.html").read_text(encoding="utf-8")[:20].lower()

    team.type("plan", "v1", "--no-gate", "-o", str(team.folder / "plan.json"))
    moved = team.type("cutover", str(team.folder / "plan.json"), "--no-gate")
    assert (moved["active"], moved["epoch"], moved["changed"], moved["rows_missing"]) == (1, 2, True, 0)
    with open_retriever(team.folder / "vecmigrate.toml") as retriever:
        answer = retriever.search(QUESTION, 3)
    assert (answer.version, answer.epoch, answer.fingerprint) == ("docs@v1", 2, trained["fingerprint"])
    assert any(r.chunk.id.startswith("csv") for r in answer.results)

    back = team.type("rollback")
    assert (back["active"], back["epoch"], back["rows_missing"]) == (0, 3, 0)
    assert team.type("rollback")["changed"] is False
    kinds = [e["kind"] for e in team.type("history")["events"]]
    assert kinds.count("activate") == 2

    assert team.type("retire", "v1")["state"] == "retired"
    status = team.type("status")
    assert [(v["version"], v["state"]) for v in status["versions"]] == [("v0", "active"), ("v1", "retired")]


def test_a_plan_made_before_another_flip_is_refused_as_stale(team):
    team.type("shadow", "build", "--model", control_model(team))
    refused = team.type("plan", "v1", "-o", str(team.folder / "plan.json"), code=3)
    assert refused["ok"] is False
    team.type("cutover", "v1", "--no-gate")
    assert team.type("cutover")["changed"] is False
    assert team.type("plan", "v1")["changed"] is False
    team.type("rollback")
    assert team.type("cutover", str(team.folder / "plan.json"), "--no-gate", code=6)["error"] == "StalePlan"
    assert team.type("status")["pointer"]["active"] == 0


def test_without_a_comparison_the_gate_is_closed(team):
    team.type("shadow", "build", "--model", control_model(team))
    refused = team.type("cutover", "v1", code=3)
    assert (refused["error"], refused["hint"]) == ("GateFailed", "vecmigrate compare v1")
    assert team.type("status")["pointer"] == {"active": 0, "previous": None, "epoch": 1}


def test_a_wrong_control_model_is_refused_before_anything_is_written(team, tmp_path_factory):
    """The same architecture with other weights: the name would fit, the vectors don't."""
    import torch
    from sentence_transformers import SentenceTransformer

    from vecmigrate.demo.story import stock_model

    impostor = SentenceTransformer(stock_model(), device="cpu")
    with torch.no_grad():
        for parameter in impostor.parameters():
            parameter.add_(torch.randn_like(parameter, dtype=torch.float32) * 0.05)
    folder = tmp_path_factory.mktemp("impostor")
    impostor.save(str(folder))
    file = team.folder / "vecmigrate.toml"
    file.write_text(file.read_text(encoding="utf-8").replace(control_model(team), str(folder)), encoding="utf-8")
    refused = team.type("shadow", "build", "--model", stock_model(), code=4)
    assert "NOT the model that made these vectors" in refused["message"]
    assert team.type("status")["versions"] == []


def control_model(team) -> str:
    """The directory of the control model."""
    import tomllib

    return tomllib.loads((team.folder / "vecmigrate.toml").read_text(encoding="utf-8"))["control"]["model"]
