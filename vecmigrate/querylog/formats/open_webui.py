"""Open WebUI: exported chats, rows of `chat_message`, and rows of `feedback`, whose snapshot holds the chat too.

A message's `sources` hold what was retrieved as texts, without the chunks' ids. The markers of its answer number the *files*, so
a marker names a chunk only where the file gave one. The search is the message's one generated query (`statusHistory`), else the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vecmigrate.querylog import fields
from vecmigrate.querylog.assembly import present, walk
from vecmigrate.querylog.formats.retrieval import BAD_ANSWERS, UNCITED, Retrieval, Settings, cited_places, parsed, pick
from vecmigrate.querylog.rows import Row

MANY_QUERIES = "answers were searched for with several generated queries; the user's question stands for them"


def claims(values: Mapping[str, Any]) -> bool:
    """A chat, a chat message or a feedback."""
    chat = parsed(values.get("chat"))
    if isinstance(chat, Mapping) and ("messages" in chat or "history" in chat):
        return True
    return _is_message(values) or _is_feedback(values)


def _is_message(values: Mapping[str, Any]) -> bool:
    return {"chat_id", "role", "content", "parent_id"} <= values.keys()


def _is_feedback(values: Mapping[str, Any]) -> bool:
    meta = parsed(values.get("meta"))
    return "data" in values and isinstance(meta, Mapping) and "message_id" in meta


class OpenWebUI:
    """Chats, messages and feedbacks of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._messages: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
        self._whose: dict[str, tuple[Any, Any]] = {}
        self._ratings: dict[tuple[str, str], Any] = {}

    def add(self, row: Row) -> None:
        """Take a chat, a message or a feedback."""
        values = row.values
        if _is_feedback(values):
            self._add_feedback(row)
        elif _is_message(values):
            chat_id = fields.reference(values["chat_id"])
            self._own(chat_id, values)
            self._add_message(row.line, chat_id, values)
        elif isinstance(parsed(values.get("chat")), Mapping):
            self._add_chat(row.line, values)
        else:
            raise ValueError("neither a chat, a message nor a feedback")

    def _add_chat(self, line: int, values: Mapping[str, Any]) -> None:
        chat = parsed(values["chat"])
        chat_id = fields.reference(pick(values, "id") or pick(chat, "id")) or f"chat on line {line}"
        self._own(chat_id, values)
        history = parsed(chat.get("history"))
        tree = history.get("messages") if isinstance(history, Mapping) else None
        messages = list(tree.values()) if isinstance(tree, Mapping) and tree else _listed(chat.get("messages"))
        for message in messages:
            if isinstance(message, Mapping):
                self._add_message(line, chat_id, message)

    def _own(self, chat_id: str, values: Mapping[str, Any]) -> None:
        tenant = walk(values, self._settings.tenant) if self._settings.tenant else None
        self._whose.setdefault(chat_id, (pick(values, "user_id"), tenant if present(tenant) else None))

    def _add_message(self, line: int, chat_id: str, message: Mapping[str, Any]) -> None:
        id = fields.reference(pick(message, "id"))
        if id:
            self._messages.setdefault((chat_id, id), (line, message))

    def _add_feedback(self, row: Row) -> None:
        data, meta = parsed(row.values["data"]), parsed(row.values["meta"])
        if not isinstance(data, Mapping) or pick(data, "rating") is None:
            raise ValueError("a feedback without data.rating")
        chat_id, message_id = (fields.reference(pick(meta, key)) for key in ("chat_id", "message_id"))
        snapshot = parsed(row.values.get("snapshot"))
        chat = parsed(snapshot.get("chat")) if isinstance(snapshot, Mapping) else None
        if isinstance(chat, Mapping):
            held = chat if isinstance(parsed(chat.get("chat")), Mapping) else {"id": chat_id, "chat": chat}
            self._add_chat(row.line, {**held, "id": chat_id, "user_id": pick(held, "user_id") or pick(row.values, "user_id")})
        if pick(data, "sibling_model_ids"):
            self._settings.notes["votes in the arena compare two models' answers and were left out"] += 1
        else:
            self._ratings[chat_id, message_id] = data["rating"]

    def rows(self) -> Iterator[Row]:
        """One row for each answer with sources."""
        notes = self._settings.notes
        notes["feedbacks belong to no message of the log"] += len(self._ratings.keys() - self._messages.keys())
        for (chat_id, id), (line, message) in self._messages.items():
            retrieval = self._retrieval(line, chat_id, id, message)
            if retrieval is not None:
                yield retrieval.row()

    def _retrieval(self, line: int, chat_id: str, id: str, message: Mapping[str, Any]) -> Retrieval | None:
        shown, numbers = _sources(message)
        if message.get("role") != "assistant" or not shown:
            return None
        text = self._query(chat_id, message)
        if not text:
            self._settings.notes["answers with sources have no question in the log"] += 1
            return None
        user, tenant = self._whose.get(chat_id, (None, None))
        at = pick(message, "timestamp", "created_at")
        retrieval = Retrieval(line, f"{chat_id}/{id}", text, at, chat_id, user, tenant, shown=shown)
        self._approve(retrieval, numbers, self._rating(chat_id, id, message), message)
        return retrieval

    def _query(self, chat_id: str, message: Mapping[str, Any]) -> str:
        generated = _generated(message)
        if len(generated) == 1:
            return generated[0]
        self._settings.notes[MANY_QUERIES] += len(generated) > 1
        parent = fields.reference(pick(message, "parentId", "parent_id"))
        _, asked = self._messages.get((chat_id, parent), (0, {}))
        return _plain(asked.get("content")) if asked.get("role") == "user" else ""

    def _rating(self, chat_id: str, id: str, message: Mapping[str, Any]) -> Any:
        annotation = parsed(message.get("annotation"))
        own = pick(annotation, "rating") if isinstance(annotation, Mapping) else None
        return self._ratings.get((chat_id, id), own)

    def _approve(self, retrieval: Retrieval, numbers: list[int], rating: Any, message: Mapping[str, Any]) -> None:
        try:
            value = fields.rating(rating) if rating is not None else 0.0
        except ValueError:
            self._settings.notes["ratings are no numbers"] += 1
            return
        if value < 0:
            self._settings.notes[BAD_ANSWERS] += 1
        if value <= 0:
            return
        refs = list(retrieval.shown)
        if self._settings.approves == "cited" and len(set(refs)) > 1:
            cited = cited_places(_plain(message.get("content")))
            refs = [ref for ref, number in zip(refs, numbers, strict=True) if number in cited and numbers.count(number) == 1]
        self._settings.notes[UNCITED] += not refs
        retrieval.approved |= dict.fromkeys(refs)


def _sources(message: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """The texts in their order, and for each the number by which the answer cites its file. Web pages are no chunks of a store, but
    they are numbered too.
    """
    texts: list[str] = []
    numbers: list[int] = []
    files: dict[str, int] = {}
    sources = parsed(message.get("sources") or message.get("citations"))
    for source in _listed(sources):
        if not isinstance(source, Mapping):
            continue
        origin = source.get("source") if isinstance(source.get("source"), Mapping) else {}
        metadata = _listed(source.get("metadata"))
        for place, text in enumerate(_listed(source.get("document"))):
            said = metadata[place] if place < len(metadata) and isinstance(metadata[place], Mapping) else {}
            file = str(pick(said, "source") or pick(origin or {}, "id") or "N/A")
            number = files.setdefault(file, len(files) + 1)
            if isinstance(text, str) and text.strip() and (origin or {}).get("type") != "web_search":
                texts.append(fields.clean(text).strip())
                numbers.append(number)
    return texts, numbers


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _generated(message: Mapping[str, Any]) -> list[str]:
    history = parsed(message.get("statusHistory") or message.get("status_history"))
    for status in _listed(history):
        if isinstance(status, Mapping) and status.get("action") == "queries_generated":
            return [query for query in _listed(status.get("queries")) if isinstance(query, str) and query.strip()]
    return []


def _plain(content: Any) -> str:
    """A message's text; of one in blocks, those that are text."""
    content = parsed(content) if isinstance(content, str) and content.startswith('[{"') else content
    if isinstance(content, list):
        texts = [block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") in ("text", "output_text")]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
