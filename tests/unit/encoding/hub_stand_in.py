"""A model hub on this machine: creates repositories, says who may read them, and takes one commit of files."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class HubStandIn:
    """What it holds: the repositories with their privacy, the files of the commits, and the tokens that came."""

    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    refuses: str = ""
    _server: Any = None

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(hub.told(self.path, None))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                hub.tokens.add(self.headers.get("Authorization") or "")
                self._answer(hub.told(self.path, body))

            def _answer(self, answer: tuple[int, Any]) -> None:
                content = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def told(self, path: str, body: bytes | None) -> tuple[int, Any]:
        """The answer to one request."""
        place = path.partition("?")[0]
        if self.refuses:
            return 403, {"error": self.refuses}
        if place == "/api/repos/create":
            asked = json.loads(body or b"{}")
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.private:
                return 409, {"error": "there already", "url": f"{self.url}/{name}"}
            self.private[name] = asked.get("private", False) or asked.get("visibility") == "private"
            return 200, {"url": f"{self.url}/{name}"}
        if place == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if "/preupload/" in place:
            asked = json.loads(body or b"{}")
            return 200, {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked["files"]]}
        if "/commit/" in place:
            self._keep(body or b"")
            name = "/".join(place.split("/")[3:5])
            return 200, {"commitUrl": f"{self.url}/{name}/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True}
        if place.startswith("/api/models/"):
            name = "/".join(place.split("/")[3:5])
            return 200, {"id": name, "modelId": name, "private": self.private[name], "siblings": [], "sha": "0" * 40, "tags": []}
        return 404, {"error": f"nothing at {place}"}

    def _keep(self, body: bytes) -> None:
        for line in body.decode().splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
