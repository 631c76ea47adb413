"""Which vectors a model may share, and what keeps them from going: on versions alone, without a store."""

from dataclasses import replace

import pytest

from vecmigrate.errors import NotFound, PreflightRefused, UsageError, WrongSpace
from vecmigrate.sharing import LEAVING, holder_among, holder_for, refuse_while_shared, refuse_writing, sharers_of
from vecmigrate.versions import COMPLETE, IndexVersion, Metric, ModelVersion, State

BASE = ModelVersion(name="base", fingerprint="b" * 64, source="base", dimension=16, document_prompt="passage: ")
TUNED = replace(BASE, name="tuned", fingerprint="7" * 64, query_prompt="q: ", documents=BASE.fingerprint)
OTHER = replace(BASE, name="other", fingerprint="0" * 64)


def version(number: int, model: ModelVersion = BASE, state: State = State.READY, shares: str = "") -> IndexVersion:
    return IndexVersion("docs", number, model, Metric.COSINE, state, shares=shares)


V0 = version(0, state=State.ACTIVE)
V1 = version(1, TUNED, shares="docs@v0")
V2 = version(2, OTHER)


def test_a_record_of_before_says_that_documents_are_the_models_own():
    written = BASE.to_dict()
    del written["documents"]
    assert ModelVersion.from_dict(written) == BASE
    assert BASE.document_fingerprint == BASE.fingerprint


def test_whose_documents_they_are_is_kept_in_the_record():
    assert ModelVersion.from_dict(TUNED.to_dict()) == TUNED
    assert TUNED.document_fingerprint == BASE.fingerprint


def test_a_version_holds_its_own_vectors_unless_it_shares_anothers():
    assert [v.holder for v in (V0, V1, V2, version(7, TUNED, shares="docs@v2"))] == [0, 0, 2, 2]


def test_the_holder_is_found_among_the_versions():
    assert holder_among([V0, V1, V2], V1) == V0
    assert holder_among([], V2) == V2
    with pytest.raises(NotFound, match="docs@v0, whose vectors docs@v1 shares"):
        holder_among([V1], V1)


@pytest.mark.parametrize("label", ["v0", "docs@v0", "0", "v1"])
def test_a_label_leads_to_the_version_that_has_the_vectors(label):
    assert holder_for([V0, V1, V2], TUNED, label) == V0


@pytest.mark.parametrize("state", sorted(set(State) - COMPLETE))
def test_only_complete_vectors_that_are_kept_up_are_shared(state):
    with pytest.raises(PreflightRefused, match=f"docs@v2 is {state}: only vectors that are complete"):
        holder_for([V0, version(2, BASE, state)], TUNED, "v2")


@pytest.mark.parametrize("state", sorted(COMPLETE))
def test_ready_active_and_standby_vectors_are_shared(state):
    assert holder_for([version(2, BASE, state)], TUNED, "v2").state is state


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"documents": "0" * 64}, "document_fingerprint"),
        ({"documents": ""}, "document_fingerprint"),
        ({"dimension": 8}, "dimension 8, not 16"),
        ({"precision": "bfloat16"}, "precision 'bfloat16', not 'float32'"),
        ({"document_prompt": ""}, "document_prompt '', not 'passage: '"),
    ],
)
def test_a_model_of_other_documents_is_the_wrong_space(change, seen):
    with pytest.raises(WrongSpace, match=f"the documents of tuned are not those of docs@v0: {seen}") as raised:
        holder_for([V0], replace(TUNED, **change), "v0")
    assert raised.value.hint == "vecmigrate shadow build --model tuned --own-vectors"


def test_the_query_side_and_the_length_of_the_longest_query_may_differ():
    assert holder_for([V0], replace(TUNED, query_prompt="other", max_tokens=9), "v0") == V0


def test_no_version_and_no_label_are_told_apart():
    with pytest.raises(NotFound, match="no version v9"):
        holder_for([V0], TUNED, "v9")
    with pytest.raises(UsageError, match="'latest' is not a version"):
        holder_for([V0], TUNED, "latest")


def test_who_shares_counts_until_it_has_gone():
    gone = version(3, TUNED, State.RETIRED, "docs@v0")
    assert sharers_of([V0, V1, V2, gone], V0) == [V1]
    assert sharers_of([V0, V1, V2], V2) == []


@pytest.mark.parametrize("to", list(State))
def test_a_shared_version_takes_every_step_but_those_that_end_its_upkeep(to):
    if to not in LEAVING:
        refuse_while_shared([V0, V1], V0, to)
        return
    with pytest.raises(PreflightRefused, match=rf"docs@v0 can't become {to}: its vectors are shared by docs@v1 \(ready\)"):
        refuse_while_shared([V0, V1], V0, to)
    refuse_while_shared([V0, replace(V1, state=State.CANCELLED)], V0, to)
    refuse_while_shared([V0, V1], V1, to)


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        (State.READY, "vecmigrate shadow drop v1 first"),
        (State.FAILED, "vecmigrate shadow drop v1 first"),
        (State.STANDBY, "vecmigrate retire v1 first"),
        (State.ACTIVE, "vecmigrate rollback, then retire it first"),
    ],
)
def test_the_hint_says_how_the_version_that_shares_is_given_up(state, hint):
    with pytest.raises(PreflightRefused) as raised:
        refuse_while_shared([V0, replace(V1, state=state)], V0, State.RETIRED)
    assert raised.value.hint == hint


def test_nothing_is_written_through_a_version_that_shares():
    refuse_writing(V2, "written to")
    with pytest.raises(PreflightRefused, match="docs@v1 shares the vectors of docs@v0 and is never written to"):
        refuse_writing(V1, "written to")
