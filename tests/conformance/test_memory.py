from vecmigrate.records import Chunk
from vecmigrate.testing.conformance import SourceRow, StoreConformance
from vecmigrate.testing.memory import MemoryStore


class TestMemory(StoreConformance):
    def make_collection(self, rows, *, metric, dimension):
        return MemoryStore(rows, metric=metric, dimension=dimension)

    def another_handle(self, store):
        return store.handle()

    def put(self, store, row: SourceRow):
        store.put(Chunk(row.id, row.text or "", row.metadata), row.vector)

    def delete(self, store, id):
        store.delete(id)
