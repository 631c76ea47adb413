"""Forty chunks in which every topic has words of its own, and a server that speaks the chat completions protocol as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vecmigrate.records import Chunk
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

ENCODER = HashingEncoder(128)
SYLLABLES = ("ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "pa", "ro")


def word(topic: int, place: int) -> str:
    """A word that only this topic has."""
    return f"{SYLLABLES[topic % 10]}{SYLLABLES[topic // 10 % 10]}{SYLLABLES[place]}x"


def chunk_of(topic: int) -> Chunk:
    w = [word(topic, place) for place in range(9)]
    text = (
        f"The {w[0]} {w[1]} is used with the {w[2]} in every {w[3]}. A broken {w[4]} makes the {w[5]} stop and the {w[6]} fail. "
        f"Call the {w[7]} before the {w[8]} is opened again."
    )
    return Chunk(f"c{topic:03d}", text, {"title": f"Repairing the {w[0]} {w[4]}"})


def corpus(n: int = 40) -> list[Chunk]:
    return [chunk_of(topic) for topic in range(n)]


def store_of(chunks: list[Chunk]) -> tuple[MemoryStore, Any]:
    vectors = ENCODER.encode_documents([chunk.text for chunk in chunks])
    rows = [SourceRow(c.id, c.text, vector, c.metadata) for c, vector in zip(chunks, vectors, strict=True)]
    store = MemoryStore(rows, dimension=128)
    return store, store.adopt(ENCODER.model)


def completion(content: Any, finish: str = "stop", usage: Any = None) -> dict[str, Any]:
    """A chat completion as servers send it."""
    answer: dict[str, Any] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}]}
    return {**answer, "usage": {"prompt_tokens": 100, "completion_tokens": 20} if usage is None else usage}


def about(prompt: str) -> list[str]:
    """Two queries that the passage in the prompt answers, in other words than its own sentences."""
    w = prompt.rpartition("Passage:")[2].replace(".", "").split()
    return [f"why does the {w[1]} {w[2]} break", f"{w[16]} {w[13]} repair"] if len(w) > 16 else ["nothing here"]


@dataclass
class Asked:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][0]["content"])


Answer = tuple[int, dict[str, str], Any]


@dataclass
class ChatServer:
    """Answers on a port of its own. `script` gets the request's number, from 0, and the request; a text is sent as it is."""

    script: Callable[[int, Asked], Answer] = lambda _, asked: (200, {}, completion(json.dumps(about(asked.prompt))))
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {k.lower(): v for k, v in self.headers.items()}
                with outer._lock:
                    number = len(outer.asked)
                    outer.asked.append(Asked(self.path, headers, json.loads(raw), time.monotonic()))
                status, headers, payload = outer.script(number, outer.asked[number])
                data = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # the client gave up

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def prompts(self) -> list[str]:
        return [asked.prompt for asked in self.asked]
