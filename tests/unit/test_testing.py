import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vecmigrate.encoding.encoder import Encoder, EncoderSource
from vecmigrate.errors import Conflict, DataError, ModelError, StalePlan, UsageError, VersionRetired, WrongSpace
from vecmigrate.records import Chunk, Hit
from vecmigrate.store import Differences, Store
from vecmigrate.testing.brute_force import scores
from vecmigrate.testing.conformance import StoreConformance, overrides_with_reason
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import Element, Metric, Pointer, State

# The encoders.


def test_a_hashing_encoder_is_an_encoder_and_fixed_encoders_a_source():
    encoder: Encoder = HashingEncoder()
    source: EncoderSource = FixedEncoders.of(encoder)
    assert source.encoder_for(SimpleNamespace(model=encoder.model, name="docs@v0")) is encoder


def test_vectors_are_normalised_float32_in_the_order_of_the_texts():
    encoder = HashingEncoder(8)
    both = encoder.encode_documents(["red apple", "blue sky"])
    assert (both.shape, both.dtype) == ((2, 8), np.float32)
    assert np.allclose(np.linalg.norm(both, axis=1), 1)
    assert np.array_equal(encoder.encode_documents(["blue sky"])[0], both[1])
    assert np.array_equal(encoder.encode_queries(["blue sky"])[0], both[1])


def test_no_texts_have_no_vectors():
    assert HashingEncoder(8).encode_queries([]).shape == (0, 8)


def test_texts_without_a_word_have_a_vector_too():
    assert np.isfinite(HashingEncoder(8).encode_documents(["", "  ", "!!", "🚀"])).all()


def test_vectors_are_the_same_in_another_process():
    code = "from vecmigrate.testing.encoders import HashingEncoder as E; print(E(4, 's').encode_queries(['a b'])[0].tobytes().hex())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert out == HashingEncoder(4, "s").encode_queries(["a b"])[0].tobytes().hex()


def test_shared_words_bring_texts_near():
    vectors = HashingEncoder(256).encode_documents(["walk a directory tree", "delete a directory tree", "parse JSON"])
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > abs(far)


def test_another_salt_is_another_space_with_another_fingerprint():
    a, b = HashingEncoder(256, "a"), HashingEncoder(256, "b")
    assert len({a.model.fingerprint, b.model.fingerprint, HashingEncoder(128, "a").model.fingerprint}) == 3
    assert HashingEncoder(256, "a").model == a.model
    assert abs(float(a.encode_queries(["walk a tree"])[0] @ b.encode_queries(["walk a tree"])[0])) < 0.25


def test_only_the_first_max_tokens_words_are_read():
    encoder = HashingEncoder(16, max_tokens=2)
    assert encoder.count_truncated(["one two", "one two three", ""]) == 1
    assert np.array_equal(*encoder.encode_documents(["one two", "one two three"]))
    assert HashingEncoder(16).count_truncated(["one two three"]) == 0


def test_a_space_without_dimensions_is_refused():
    with pytest.raises(ModelError, match="dimension"):
        HashingEncoder(0)


def test_fixed_encoders_refuse_a_version_they_do_not_know():
    source = FixedEncoders.of(HashingEncoder(8, "a"))
    with pytest.raises(ModelError, match="docs@v3"):
        source.encoder_for(SimpleNamespace(model=HashingEncoder(8, "b").model, name="docs@v3"))


def test_fixed_encoders_refuse_an_encoder_that_is_filed_wrongly():
    wanted, other = HashingEncoder(8, "a"), HashingEncoder(8, "b")
    with pytest.raises(ModelError, match="another model"):
        FixedEncoders({wanted.model.fingerprint: other}).encoder_for(SimpleNamespace(model=wanted.model, name="docs@v1"))


# The store in memory, beyond what the conformance suite asks of every store.


def _store(**kwargs):
    encoder = HashingEncoder(8, "control")
    texts = {"a": "red apple", "b": "green pear", "c": "blue sky"}
    rows = [SourceRow(id, text, encoder.encode_documents([text])[0], {"n": i}) for i, (id, text) in enumerate(texts.items())]
    return MemoryStore(rows, dimension=8, **kwargs)


def test_the_memory_store_is_a_store():
    assert isinstance(MemoryStore(), Store)


def test_putting_a_vector_of_another_dimension_is_refused():
    with pytest.raises(WrongSpace, match="expected"):
        _store().put(Chunk("d", "text"), np.ones(9, dtype=np.float32))


def test_what_the_caller_does_to_its_vector_later_changes_nothing():
    store, vector = _store(), np.ones(8, dtype=np.float32)
    store.adopt(HashingEncoder(8, "control").model)
    store.put(Chunk("d", "text"), vector)
    vector[:] = 0
    assert store.vectors(store.versions()[0], ["d"])["d"].tolist() == [1.0] * 8


def test_asking_for_no_hits_is_a_usage_error():
    store = _store()
    store.adopt(HashingEncoder(8, "control").model)
    with pytest.raises(UsageError, match="k is 0"):
        store.search(store.versions()[0], np.ones((1, 8), dtype=np.float32), 0)


def test_loading_an_id_twice_in_one_call_is_refused():
    store = _store()
    store.adopt(HashingEncoder(8, "control").model)
    version = store.create_version(HashingEncoder(8, "x").model)
    with pytest.raises(DataError, match="each id once"):
        store.load(version, [Chunk("a", "one"), Chunk("a", "two")], np.ones((2, 8), dtype=np.float32))


def test_half_precision_is_rounded_to_sixteen_bits():
    store = _store()
    store.adopt(HashingEncoder(8, "control").model)
    version = store.create_version(HashingEncoder(8, "x").model, element=Element.FLOAT16)
    store.load(version, [Chunk("a", "red apple")], np.full((1, 8), 0.1, dtype=np.float32))
    assert store.vectors(version, ["a"])["a"][0] == np.float32(np.float16(0.1))


def test_a_zero_vector_has_no_cosine_and_is_not_found():
    store = _store()
    store.adopt(HashingEncoder(8, "control").model)
    store.put(Chunk("zero", "nothing"), np.zeros(8, dtype=np.float32))
    found = store.search(store.versions()[0], np.ones((1, 8), dtype=np.float32), 10)[0]
    assert {hit.chunk_id for hit in found} == {"a", "b", "c"}
    assert store.health(store.versions()[0]).bad_vectors == 1


def test_equal_vectors_tie_whatever_stands_between_them():
    matrix = np.random.default_rng(0).normal(size=(999, 33)).astype(np.float32)
    matrix[::7] = matrix[0]
    for metric in Metric:
        table = scores(matrix[:3], matrix, metric)
        assert len(set(table[1, ::7].tolist())) == 1


# The suite itself.


class _Hooked(StoreConformance):
    def make_collection(self, rows, *, metric, dimension):
        return MemoryStore(rows, metric=metric, dimension=dimension)

    def another_handle(self, store):
        return store.handle()

    def put(self, store, row):
        store.put(Chunk(row.id, row.text or "", row.metadata), row.vector)

    def delete(self, store, id):
        store.delete(id)


def test_a_rule_is_not_overridden_in_silence():
    with pytest.raises(TypeError, match="test_ties_are_in_the_order_of_ids"):

        class _Quiet(_Hooked):
            def test_ties_are_in_the_order_of_ids(self):
                pass


def test_a_rule_is_not_switched_off_by_a_value():
    with pytest.raises(TypeError, match="test_ties_are_in_the_order_of_ids"):

        class _Off(_Hooked):
            test_ties_are_in_the_order_of_ids = None


def test_a_rule_is_not_overridden_through_a_mixin():
    class Mixin:
        def test_closing_twice_is_once(self):
            pass

    with pytest.raises(TypeError, match="test_closing_twice_is_once"):

        class _Mixed(Mixin, _Hooked):
            pass


def test_the_steps_of_the_suite_are_not_overridden_either():
    with pytest.raises(TypeError, match="open_adopted"):

        class _Shortcut(_Hooked):
            def open_adopted(self, rows, **kwargs):
                return MemoryStore()


def test_an_override_with_a_reason_is_allowed_and_listed():
    class _Declared(_Hooked):
        @overrides_with_reason("this store has no order of ids")
        def test_ties_are_in_the_order_of_ids(self):
            pass

    class _Below(_Declared):
        pass

    assert _Declared.overridden() == {"test_ties_are_in_the_order_of_ids": "this store has no order of ids"}
    assert _Below.overridden() == _Declared.overridden()
    assert _Hooked.overridden() == {}


def test_an_override_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        overrides_with_reason("  ")


def test_an_adapter_may_add_tests_of_its_own():
    class _More(_Hooked):
        def test_something_else(self):
            pass

    assert _More.overridden() == {}


def test_a_subclass_without_its_hooks_cannot_run():
    class _Bare(StoreConformance):
        pass

    with pytest.raises(TypeError, match="make_collection"):
        _Bare()


# Broken stores: each fault must turn the rule that is there for it red.


class _LosesAnId(MemoryStore):
    def scan(self, *, batch_size=1000):
        for batch in super().scan(batch_size=batch_size):
            yield batch[: batch_size - 1]


class _CapsTheAnswer(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        return [hits[: min(k, 5)] for hits in super().search(version, queries, k, where=where)]


class _SearchesByCosineAlways(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        return super().search(replace(version, metric=Metric.COSINE), queries, k, where=where)


class _IgnoresFilters(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        return super().search(version, queries, k)


class _BreaksTies(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        found = super().search(version, queries, k, where=where)
        return [tuple(sorted(hits, key=lambda hit: (-hit.score, -ord(hit.chunk_id[0])))) for hits in found]


class _SearchesTheActiveVersion(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        pointer = self.pointer()
        if pointer and queries.shape[1] == version.model.dimension:
            version = next(v for v in self.versions() if v.number == pointer.active)
            if queries.shape[1] != version.model.dimension:
                return [(Hit("sorted", 1.0),)] * len(queries)
        return super().search(version, queries, k, where=where)


class _StartsOver(MemoryStore):
    def pending(self, version, *, batch_size=2048):
        return self.scan(batch_size=batch_size)


class _SeesNoStaleText(MemoryStore):
    def differences(self, version, *, sample=20):
        found = super().differences(version, sample=sample)
        return Differences(found.expected, found.present, found.n_missing, 0, found.n_extra, found.missing, (), found.extra)


class _TakesAnyVector(MemoryStore):
    def load(self, version, chunks, vectors):
        return super().load(version, chunks, np.where(np.isfinite(vectors), vectors, 1).astype(np.float32) + np.float32(1e-9))


class _IgnoresTheEpoch(MemoryStore):
    def activate(self, version, *, expect_epoch, actor, reason=""):
        return super().activate(version, expect_epoch=self.pointer().epoch, actor=actor, reason=reason)


class _FlipsUnprepared(MemoryStore):
    def activate(self, version, *, expect_epoch, actor, reason=""):
        now = self._data.versions[version]
        self._data.versions[version] = replace(now, state=State.READY)
        return super().activate(version, expect_epoch=expect_epoch, actor=actor, reason=reason)


class _FlipsAgain(MemoryStore):
    def activate(self, version, *, expect_epoch, actor, reason=""):
        pointer = self.pointer()
        if pointer.active == version and pointer.epoch == expect_epoch:
            self._data.pointer = Pointer(pointer.collection, version, pointer.active, pointer.epoch + 1)
            return self._data.pointer
        return super().activate(version, expect_epoch=expect_epoch, actor=actor, reason=reason)


class _LetsEverybodyIn(MemoryStore):
    def operation(self, what, *, actor):
        self._data.holder = ""
        return super().operation(what, actor=actor)


class _RetiresNothing(MemoryStore):
    def search(self, version, queries, k, *, where=None, exact=False):
        try:
            return super().search(version, queries, k, where=where)
        except VersionRetired:
            return [()] * len(queries)


class _HasNoPast(MemoryStore):
    def history(self):
        return super().history()[-1:]


FAULTS = [
    (_LosesAnId, "test_scan_yields_every_chunk_once_in_batches", {}),
    (_CapsTheAnswer, "test_k_larger_than_the_collection_returns_all_of_it", {}),
    (_SearchesByCosineAlways, "test_distances_are_told_apart", {"metric": Metric.L2}),
    (_SearchesByCosineAlways, "test_a_version_searches_by_the_metric_of_its_control", {"metric": Metric.INNER_PRODUCT}),
    (_IgnoresFilters, "test_a_filter_lets_through_what_passes_and_nothing_else", {"where": {"lang": "en"}, "expected": {"a", "b"}}),
    (_IgnoresFilters, "test_a_selective_filter_still_returns_k", {}),
    (_BreaksTies, "test_ties_are_in_the_order_of_ids", {}),
    (_SearchesTheActiveVersion, "test_two_versions_are_searched_each_in_its_own_space", {}),
    (_SearchesTheActiveVersion, "test_a_flip_does_not_move_a_pinned_search", {}),
    (_StartsOver, "test_a_build_that_stopped_half_way_resumes_where_it_was", {}),
    (_SeesNoStaleText, "test_a_changed_text_is_stale_and_pending_again", {}),
    (_TakesAnyVector, "test_vectors_that_cannot_be_used_are_refused_and_nothing_is_kept", {"damage": "nan"}),
    (_TakesAnyVector, "test_vectors_that_cannot_be_used_are_refused_and_nothing_is_kept", {"damage": "zero"}),
    (_IgnoresTheEpoch, "test_a_plan_of_another_epoch_is_stale", {}),
    (_FlipsUnprepared, "test_a_version_that_is_not_ready_is_not_activated", {}),
    (_FlipsAgain, "test_activating_again_what_was_committed_does_nothing", {}),
    (_LetsEverybodyIn, "test_one_operator_at_a_time_and_the_other_learns_who", {}),
    (_RetiresNothing, "test_a_version_that_has_gone_is_dropped_and_says_so_to_readers", {"end": State.RETIRED}),
    (_HasNoPast, "test_history_tells_what_happened_oldest_first", {}),
]


@pytest.mark.parametrize(("broken", "rule", "arguments"), FAULTS, ids=[f"{b.__name__}-{r[5:30]}" for b, r, _ in FAULTS])
def test_a_broken_store_turns_its_rule_red(broken, rule, arguments):
    def run(kind):
        class Suite(_Hooked):
            def make_collection(self, rows, *, metric, dimension):
                return kind(rows, metric=metric, dimension=dimension)

        suite = Suite()
        suite._opened = []
        getattr(suite, rule)(**arguments)

    run(MemoryStore)
    with pytest.raises((AssertionError, pytest.fail.Exception, Conflict, StalePlan, KeyError)):
        run(broken)
