"""A comparison opens the gate only for the very move that it was about."""

from dataclasses import replace

import pytest

from vecmigrate.config import GateSection
from vecmigrate.cutover import Evidence, preflight
from vecmigrate.errors import GateFailed, PreflightRefused
from vecmigrate.evaluation import CompareRequest, compare, judge_gate
from vecmigrate.records import Judgment, Query
from vecmigrate.reindex import build, verify
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

OLD, NEW = HashingEncoder(16, "old"), HashingEncoder(64, "new")
LENIENT = GateSection(min_difference=-1.0, min_queries=10, max_worse_fraction=1.0, slice_margin=1.0, max_latency_ratio=None)


@pytest.fixture(scope="module")
def scene():
    """A store with a ready version, and a comparison of it that passes a lenient gate."""
    texts = [f"entry {i} about subject{i} and topic{i % 5}" for i in range(40)]
    store = MemoryStore(
        [SourceRow(str(i), t, v) for i, (t, v) in enumerate(zip(texts, OLD.encode_documents(texts), strict=True))], dimension=16
    )
    control = store.adopt(OLD.model)
    target = build(store, store.create_version(NEW.model), NEW, actor="me").version
    queries = [Query(f"q{i}", f"subject{i}") for i in range(40)]
    judgments = [Judgment(f"q{i}", str(i), 1.0) for i in range(40)]
    request = CompareRequest(queries, judgments, FixedEncoders.of(OLD, NEW), dataset_hash="d" * 64)
    found = compare(store, control, target, request)
    return store, control, target, found, verify(store, target, NEW)


def check(scene, *, comparison=None, trained_on="", target=None, control=None):
    _, v0, v1, found, verification = scene
    comparison = comparison or found
    evidence = Evidence(comparison, judge_gate(comparison, LENIENT), trained_on)
    return preflight(target or v1, control or v0, verification, evidence)


def test_a_complete_version_with_a_passing_comparison_may_serve(scene):
    found = check(scene, trained_on="d" * 64)
    assert [c.ok for c in found.checks] == [True, True, True]
    found.require()


def test_without_a_comparison_the_gate_is_closed(scene):
    _, v0, v1, _, verification = scene
    found = preflight(v1, v0, verification, Evidence())
    with pytest.raises(GateFailed, match="docs@v1 has not been compared with docs@v0, which serves"):
        found.require()


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        ({"collection": "news"}, "of collection news"),
        ({"candidate": {"label": "v7"}}, "not of docs@v1"),
        ({"candidate": {"fingerprint": "0" * 64}}, "with model 000000000000, not of docs@v1"),
        ({"control": {"label": "v3"}}, "not against docs@v0, which serves"),
        ({"control": {"fingerprint": "0" * 64}}, "not against docs@v0, which serves"),
    ],
)
def test_a_comparison_of_something_else_opens_no_gate(scene, other, seen):
    found = scene[3]
    changed = {k: replace(getattr(found, k), **v) if isinstance(v, dict) else v for k, v in other.items()}
    failed = [c for c in check(scene, comparison=replace(found, **changed)).checks if not c.ok]
    assert [c.gate for c in failed] == [True]
    assert seen in failed[0].seen


def test_a_comparison_on_queries_that_the_training_may_have_seen_opens_no_gate(scene):
    (failed,) = [c for c in check(scene, trained_on="e" * 64).checks if not c.ok]
    assert "whose test queries the training never saw" in failed.seen


def test_a_version_that_served_before_needs_no_comparison(scene):
    _, v0, v1, _, verification = scene
    found = preflight(replace(v1, state=State.STANDBY), v0, verification, Evidence())
    assert (found.ok, [c.name for c in found.checks]) == (True, ["state", "complete"])


def test_an_unfinished_version_is_refused_by_preflight_not_by_the_gate(scene):
    _, v0, v1, _, verification = scene
    with pytest.raises(PreflightRefused, match="docs@v1 is backfilling"):
        preflight(replace(v1, state=State.BACKFILLING), v0, verification, Evidence()).require()


@pytest.mark.parametrize(("only_looking", "ok"), [(True, True), (False, False)])
def test_rows_that_the_cutovers_own_sync_brings_in_are_held_against_it_only_afterwards(scene, only_looking, ok):
    _, v0, v1, found, verification = scene
    behind = replace(verification, differences=replace(verification.differences, n_missing=2, missing=("a", "b")))
    evidence = Evidence(found, judge_gate(found, LENIENT))
    complete = preflight(v1, v0, behind, evidence, before_sync=only_looking).checks[1]
    assert (complete.name, complete.ok) == ("complete", ok)
    assert complete.seen.startswith("2 rows of the source are missing, such as 'a', 'b'")


def test_what_no_sync_mends_is_said_before_it_too(scene):
    _, v0, v1, _, verification = scene
    broken = replace(verification, health=replace(verification.health, bad_vectors=3))
    behind = replace(broken, differences=replace(broken.differences, n_missing=2))
    assert not preflight(v1, v0, behind, Evidence(), before_sync=True).checks[1].ok
