import http.server
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from vecmigrate.cutover import flip
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex
from vecmigrate.testing.chroma import ChromaServer, create_filled
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import SourceRow
from vecmigrate.versions import Metric
from vecmigrate_chroma import adapter
from vecmigrate_chroma.driver import close_client


@pytest.fixture
def chroma_directory(tmp_path):
    """A directory with an application's client in this process."""
    import chromadb

    client = chromadb.PersistentClient(tmp_path / "chroma")
    yield tmp_path / "chroma", client
    client.close()


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory):
    """A server that all tests of a run share; each uses collections of its own."""
    running = ChromaServer(tmp_path_factory.mktemp("server") / "chroma")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def server_client(chroma_server):
    import chromadb

    client = chromadb.HttpClient(host="127.0.0.1", port=chroma_server.port)
    yield client
    close_client(client)


@pytest.fixture
def opened(chroma_directory):
    """Fill a collection of the directory as the application, and open it; closed after the test."""
    path, client = chroma_directory
    stores = []

    def make(rows, *, source="app", metric=Metric.COSINE, collection="docs", **settings):
        if source not in [found.name for found in client.list_collections()]:
            create_filled(client, source, rows, metric)
        stores.append(adapter.open({"path": str(path), "source": source, **settings}, collection=collection))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def opened_on_server(chroma_server, server_client, request):
    """As `opened`, on the server; the collection is named after the test."""
    stores = []
    name = f"t{abs(hash(request.node.name)) % 10**9}"

    def make(rows=(), *, metric=Metric.COSINE, **settings):
        if name not in [found.name for found in server_client.list_collections()]:
            create_filled(server_client, name, rows, metric)
        stores.append(adapter.open({"url": chroma_server.url, "source": name, **settings}, collection=name))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def answering():
    """A real HTTP server that answers every request as told: answers(status, body) → its URL."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answer(self.path, self.headers)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args):
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Application:
    """One application's collection: its own handle, the stand-in, and the operator's store. v1 is ready, v0 serves."""

    store: Any
    other: Any
    collection: Any
    own: Any
    live: Any
    client: Any

    def flip(self, target):
        pointer = self.store.pointer()
        return flip(self.store, target, expect_epoch=pointer.epoch, actor="operator", reason="cutover")

    def version(self, number=1):
        return next(v for v in self.store.versions() if v.number == number)

    def raw(self, number):
        """A version's collection by chromadb alone."""
        return self.client.get_collection(f"vecmigrate.{self.store.collection}.v{number}", embedding_function=None)


OLD, NEW = HashingEncoder(24, "old"), HashingEncoder(24, "new")
TEXTS = {
    "parcel": "how to return a parcel",
    "hours": "opening hours of the shop",
    "invoice": "pay by invoice or by card",
    "lost": "what to do when a parcel is lost",
    "gift": "wrap it as a gift",
}


def pytest_generate_tests(metafunc):
    """A test of an application runs on a directory, and on a server too where it is marked `everywhere`."""
    if "place" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("everywhere")
        metafunc.parametrize("place", ["directory", "server"] if marked else ["directory"])


@pytest.fixture
def application(place, request, tmp_path):
    """application(**settings) → `Application` over `TEXTS`."""
    stores = []

    def make(*, queued=False, ttl=0.0, encoders=None, texts=TEXTS, **settings):
        client = request.getfixturevalue("chroma_directory" if place == "directory" else "server_client")
        if place == "directory":
            path, client = client
            at, name = {"path": str(path)}, "app"
        else:
            at, name = {"url": request.getfixturevalue("chroma_server").url}, f"a{abs(hash(str(tmp_path))) % 10**9}"
        rows = [SourceRow(i, t, OLD.encode_documents([t])[0], {"words": len(t.split()), "de": False}) for i, t in texts.items()]
        create_filled(client, name, rows, Metric.COSINE)
        store, other = (adapter.open({**at, "source": name, **settings}, collection=name) for _ in range(2))
        stores.extend((store, other))
        store.adopt(OLD.model)
        build(store, store.create_version(NEW.model), NEW, actor="operator")
        live = LiveIndex(other, encoders or FixedEncoders.of(OLD, NEW), pointer_ttl=ttl, queued=queued)
        own = client.get_collection(name, embedding_function=None)
        return Application(store, other, other.stand_in(live), own, live, client)

    yield make
    for store in stores:
        store.close()
