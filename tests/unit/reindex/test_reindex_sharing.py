"""A version that shares is proved and ready within seconds; what isn't proved is refused; what has the vectors is what is kept up."""

from dataclasses import replace

import pytest

from vecmigrate.errors import PreflightRefused
from vecmigrate.records import Chunk
from vecmigrate.reindex import build, holder_of, prove_sharing, require_shared, sync, vectors_to_share, verify, verify_following
from vecmigrate.store import Capability, Probe
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder, TranslatingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import Element, State

BASE, NEW = HashingEncoder(32, "old"), HashingEncoder(48, "new")
TUNED = TranslatingEncoder(BASE, {"moggy": "cat"})
OVER_NEW = TranslatingEncoder(NEW, {"moggy": "cat"})
TEXTS = {"a": "the cat sat on the mat", "b": "a dog chased it", "c": "stock prices fell on monday", "d": "the central bank raised rates"}


class Counts(HashingEncoder):
    """How many documents were encoded."""

    encoded = 0

    def encode_documents(self, texts):
        self.encoded += len(texts)
        return super().encode_documents(texts)


class Cuts(TranslatingEncoder):
    """Claims the base's documents, but reads only the first six words of each."""

    def encode_documents(self, texts):
        return super().encode_documents([" ".join(text.split()[:6]) for text in texts])


@pytest.fixture
def store():
    rows = [SourceRow(i, t, BASE.encode_documents([t])[0]) for i, t in TEXTS.items()]
    store = MemoryStore(rows, dimension=32)
    store.adopt(BASE.model)
    return store


def version(store, number=1):
    return next(v for v in store.versions() if v.number == number)


def put(store, id, text, vector=None):
    store.put(Chunk(id, text), BASE.encode_documents([text])[0] if vector is None else vector)


# Which vectors.


def test_a_model_tuned_on_the_query_side_shares_its_bases_vectors(store):
    found = vectors_to_share(store, TUNED.model)
    assert found.name == "docs@v0"


def test_a_model_that_says_nothing_of_its_documents_shares_with_none(store):
    assert vectors_to_share(store, BASE.model) is None
    assert vectors_to_share(store, NEW.model) is None
    assert vectors_to_share(store, OVER_NEW.model) is None


def test_what_serves_comes_first_then_the_lowest_number(store):
    for _ in range(2):
        build(store, store.create_version(BASE.model), BASE, actor="me")
    assert vectors_to_share(store, TUNED.model).name == "docs@v0"
    store.activate(2, expect_epoch=1, actor="me")
    assert vectors_to_share(store, TUNED.model).name == "docs@v2"
    build(store, store.create_version(NEW.model), NEW, actor="me")
    store.activate(3, expect_epoch=2, actor="me")
    assert vectors_to_share(store, TUNED.model).name == "docs@v0"


def test_vectors_of_another_element_are_not_what_was_asked_for(store):
    build(store, store.create_version(BASE.model, element=Element.FLOAT16), BASE, actor="me")
    assert vectors_to_share(store, TUNED.model, element=Element.FLOAT16).name == "docs@v1"
    assert vectors_to_share(store, TUNED.model, element=Element.FLOAT32).name == "docs@v0"


def test_before_adoption_it_is_known_what_will_be_shared():
    rows = [SourceRow(i, t, BASE.encode_documents([t])[0]) for i, t in TEXTS.items()]
    fresh = MemoryStore(rows, dimension=32)
    assert vectors_to_share(fresh, TUNED.model) is None
    assert vectors_to_share(fresh, TUNED.model, control=BASE.model).name == "docs@v0"
    assert vectors_to_share(fresh, TUNED.model, control=HashingEncoder(32, "another").model) is None
    assert vectors_to_share(fresh, replace(TUNED.model, document_prompt="p: "), control=BASE.model) is None
    assert vectors_to_share(fresh, TUNED.model, control=BASE.model, element=Element.FLOAT16) is None
    assert (list(fresh.versions()), fresh.pointer()) == ([], None)


def test_an_unfinished_version_is_not_shared_with(store):
    begun = store.create_version(NEW.model)
    assert vectors_to_share(store, OVER_NEW.model) is None
    build(store, begun, NEW, actor="me")
    assert vectors_to_share(store, OVER_NEW.model).name == "docs@v1"


def test_where_the_store_cannot_share_a_model_gets_vectors_of_its_own(store, monkeypatch):
    can = store.can
    monkeypatch.setattr(store, "can", lambda c: Probe(False, "not here") if c is Capability.SHARED_VECTORS else can(c))
    assert vectors_to_share(store, TUNED.model) is None
    report = build(store, store.create_version(TUNED.model), TUNED, actor="me")
    assert (report.loaded, report.version.shares) == (4, "")
    assert store.search(report.version, TUNED.encode_queries(["moggy mat"]), 1)[0][0].chunk_id == "a"


# The way to ready.


def test_a_build_of_a_version_that_shares_loads_nothing_and_is_ready(store):
    report = build(store, store.create_version(TUNED.model, shares="v0"), TUNED, actor="me")
    assert (report.version.state, report.loaded, report.removed, report.truncated) == (State.READY, 0, 0, 0)
    assert store.search(report.version, TUNED.encode_queries(["moggy mat"]), 1)[0][0].chunk_id == "a"
    assert verify(store, report.version, TUNED).ok


@pytest.mark.parametrize("reached", [State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.FAILED])
def test_a_build_that_was_killed_on_the_way_goes_on(store, reached):
    made = store.create_version(TUNED.model, shares="v0")
    for step in (State.BACKFILLING, State.INDEXING, State.CATCHING_UP) if reached is not State.FAILED else (State.FAILED,):
        made = store.advance(made, step, actor="killed")
        if step is reached:
            break
    assert build(store, made, TUNED, actor="me").version.state is State.READY


def test_a_build_of_a_ready_one_changes_nothing(store):
    build(store, store.create_version(TUNED.model, shares="v0"), TUNED, actor="me")
    events = len(store.history())
    assert build(store, version(store), TUNED, actor="me").version.state is State.READY
    assert len(store.history()) == events


def test_vectors_that_are_not_the_models_documents_are_refused_and_the_version_failed(store):
    claims = TranslatingEncoder(HashingEncoder(32, "another"), {})
    claims._model = replace(claims.model, documents=BASE.model.fingerprint)
    made = store.create_version(claims.model, shares="v0")
    with pytest.raises(
        PreflightRefused, match=r"docs@v0 does not hold what hashing-another-32-tuned makes of its documents: cosine .*, 0 of 4"
    ):
        build(store, made, claims, actor="me")
    assert version(store).state is State.FAILED
    assert "does not hold" in version(store).note


def test_a_document_side_that_differs_only_in_long_texts_is_found_out(store):
    """The sample alone would not show it: nine of ten texts are short."""
    for i in range(700):
        put(store, f"short{i:03}", f"entry {i}")
    for i in range(20):
        put(store, f"long{i:02}", f"one of the few long texts with more words than that, number {i}")
    cuts = Cuts(BASE, {})
    require_shared(version(store, 0), prove_sharing(store, version(store, 0), TUNED))
    with pytest.raises(PreflightRefused, match="0 of 16 chunks alike"):
        require_shared(version(store, 0), prove_sharing(store, version(store, 0), cuts))


def test_a_few_of_the_longest_texts_may_have_been_edited_in_the_application_and_none_in_vectors_of_ours(store):
    for i in range(700):
        put(store, f"short{i:03}", f"entry {i}")
    for i in range(20):
        put(store, f"long{i:02}", f"one of the few long texts with more words than that, number {i}")
    mine = build(store, store.create_version(BASE.model), BASE, actor="me").version
    for id in ("long03", "long07", "long12", "long15", "long18"):
        text = store.fetch([id])[id].text + " edited"
        put(store, id, text, BASE.encode_documents(["older"])[0])
        store.load(mine, list(store.fetch([id]).values()), BASE.encode_documents(["older"]))
    require_shared(version(store, 0), prove_sharing(store, version(store, 0), TUNED))
    with pytest.raises(PreflightRefused, match="docs@v1 does not hold"):
        require_shared(mine, prove_sharing(store, mine, TUNED))


def test_a_few_of_the_applications_vectors_may_be_of_an_older_text_and_none_of_ours(store):
    for i in range(96):
        put(store, f"r{i:02}", f"row number {i}", BASE.encode_documents(["older"])[0] if i % 25 == 0 else None)
    require_shared(version(store, 0), prove_sharing(store, version(store, 0), TUNED, sample=100))
    mine = build(store, store.create_version(BASE.model), BASE, actor="me").version
    require_shared(mine, prove_sharing(store, mine, TUNED, sample=100))
    store.load(mine, list(store.fetch(["r50"]).values()), BASE.encode_documents(["older"]))
    with pytest.raises(PreflightRefused, match=r"docs@v1 does not hold .* 99 of 100"):
        require_shared(mine, prove_sharing(store, mine, TUNED, sample=100))


def test_where_nothing_can_be_compared_nothing_is_shared():
    store = MemoryStore(dimension=32)
    store.adopt(BASE.model)
    made = store.create_version(TUNED.model, shares="v0")
    with pytest.raises(PreflightRefused, match="nothing to compare"):
        build(store, made, TUNED, actor="me")


def test_another_models_encoder_does_not_prove_it(store):
    made = store.create_version(TUNED.model, shares="v0")
    with pytest.raises(PreflightRefused, match="was begun with model"):
        build(store, made, BASE, actor="me")


# Kept up once.


def test_a_version_that_shares_is_not_what_is_synced(store):
    build(store, store.create_version(NEW.model), NEW, actor="me")
    of_ours = build(store, store.create_version(OVER_NEW.model, shares="v1"), OVER_NEW, actor="me").version
    of_theirs = build(store, store.create_version(TUNED.model, shares="v0"), TUNED, actor="me").version
    with pytest.raises(PreflightRefused, match="docs@v2 shares the vectors of docs@v1") as raised:
        sync(store, of_ours, OVER_NEW)
    assert raised.value.hint == "vecmigrate shadow sync v1"
    with pytest.raises(PreflightRefused, match="docs@v3 shares the vectors of docs@v0"):
        sync(store, of_theirs, TUNED)
    assert [holder_of(store, v).number for v in store.versions()] == [0, 1, 1, 0]


def test_verifying_brings_the_shared_vectors_up_to_date_by_their_own_model(store):
    keeper = Counts(48, "new")
    build(store, store.create_version(NEW.model), NEW, actor="me")
    shared = build(store, store.create_version(OVER_NEW.model, shares="v1"), OVER_NEW, actor="me").version
    put(store, "late", "a row that came late")
    assert store.differences(shared).missing == ("late",)
    found = verify_following(store, shared, FixedEncoders.of(OVER_NEW, keeper), actor="me")
    assert (found.ok, found.version.name, found.differences.present) == (True, "docs@v2", 5)
    assert keeper.encoded == 1
    assert store.differences(version(store, 1)).clean


def test_a_version_that_shares_the_applications_vectors_is_verified_as_these_are(store):
    shared = build(store, store.create_version(TUNED.model, shares="v0"), TUNED, actor="me").version
    store.put(Chunk("bare", "a row without a vector"), None)
    found = verify_following(store, shared, FixedEncoders.of(TUNED), actor="me")
    assert found.problems == ("1 rows of the source are missing, such as 'bare'",)
    assert not found.only_behind
