import http.server
import threading

import pytest

from vecmigrate.testing.chroma import ChromaServer, create_filled
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
