from itertools import count

import pytest

from vecmigrate.testing.chroma import ChromaServer, create_filled, put_rows
from vecmigrate.testing.conformance import StoreConformance
from vecmigrate_chroma import adapter
from vecmigrate_chroma.driver import close_client

_NUMBERS = count()


class _Chroma(StoreConformance):
    """The application uses a client of its own; every collection of a module lies in one Chroma, under names of its own."""

    rows_may_lack_vectors = False

    def make_collection(self, rows, *, metric, dimension):
        number = next(_NUMBERS)
        create_filled(self.application, f"app{number}", rows, metric)
        self.settings = {**self.where, "source": f"app{number}"}
        return adapter.open(self.settings, collection=f"docs{number}")

    def another_handle(self, store):
        return adapter.open(self.settings, collection=store.collection)

    def put(self, store, row):
        put_rows(self._source(), [row])

    def delete(self, store, id):
        self._source().delete(ids=[id])

    def _source(self):
        return self.application.get_collection(self.settings["source"], embedding_function=None)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    import chromadb

    path = tmp_path_factory.mktemp("chroma")
    client = chromadb.PersistentClient(path)
    yield path, client
    client.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import chromadb

    running = ChromaServer(tmp_path_factory.mktemp("server") / "chroma")
    running.start()
    client = chromadb.HttpClient(host="127.0.0.1", port=running.port)
    yield running, client
    close_client(client)
    running.stop()


class TestChromaDirectory(_Chroma):
    @pytest.fixture(autouse=True)
    def _connected(self, directory):
        path, self.application = directory
        self.where = {"path": str(path)}


class TestChromaServer(_Chroma):
    @pytest.fixture(autouse=True)
    def _connected(self, server):
        running, self.application = server
        self.where = {"url": running.url}
