"""Dify: rows of `messages`, `dataset_retriever_resources` and `message_feedbacks`, and of `document_segments` where the store goes by
`index_node_id`; or messages as the API gives them, with `retriever_resources` and `feedback` inside.

A segment's id is Dify's own. With `document_segments` its `index_node_id`, which is the id in the vector store, takes its place, else its
text does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vecmigrate.querylog import fields
from vecmigrate.querylog.assembly import present, walk
from vecmigrate.querylog.formats.retrieval import Retrieval, Settings, approve, parsed, pick
from vecmigrate.querylog.rows import Row

_USER = ("from_end_user_id", "from_account_id", "user_id")


def claims(values: Mapping[str, Any]) -> bool:
    """A message with its answer, a retrieved segment, a feedback for a message, or a segment."""
    return _is_message(values) or _is_resource(values) or _is_feedback(values) or _is_segment(values)


def _is_message(values: Mapping[str, Any]) -> bool:
    return {"query", "answer", "conversation_id"} <= values.keys()


def _is_resource(values: Mapping[str, Any]) -> bool:
    return {"message_id", "segment_id", "position"} <= values.keys()


def _is_feedback(values: Mapping[str, Any]) -> bool:
    return {"message_id", "rating"} <= values.keys() and values["rating"] in ("like", "dislike", None)


def _is_segment(values: Mapping[str, Any]) -> bool:
    return {"index_node_id", "content", "id"} <= values.keys()


@dataclass(frozen=True, slots=True)
class _Resource:
    position: float
    segment: str
    text: str


class Dify:
    """The tables of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._messages: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._resources: dict[str, dict[_Resource, None]] = {}
        self._ratings: dict[str, str] = {}
        self._nodes: dict[str, str] = {}

    def add(self, row: Row) -> None:
        """Take a row of any of the tables."""
        values = row.values
        if _is_message(values):
            self._add_message(row)
        elif _is_resource(values):
            self._add_resource(fields.reference(values["message_id"]), values)
        elif _is_feedback(values):
            if values["rating"]:
                self._ratings[fields.reference(values["message_id"])] = values["rating"]
        elif _is_segment(values):
            self._nodes[fields.reference(values["id"])] = fields.reference(values["index_node_id"])
        elif {"dataset_id", "content", "source"} <= values.keys():
            self._settings.notes["rows of dataset_queries do not say what was found, and were left out"] += 1
        else:
            raise ValueError("not a row of messages, dataset_retriever_resources, message_feedbacks or document_segments")

    def _add_message(self, row: Row) -> None:
        values = row.values
        id = fields.reference(pick(values, "id", "message_id")) or f"message on line {row.line}"
        if values.get("invoke_from") == "debugger":
            self._settings.notes["messages are an author's trials and were left out"] += 1
            return
        if not isinstance(values["query"], str) or not values["query"].strip():
            raise ValueError("a message without query")
        self._messages[id] = (row.line, values)
        held = parsed(pick(values, "message_metadata", "metadata"))
        inner = held.get("retriever_resources") if isinstance(held, Mapping) else None
        listed = parsed(pick(values, "retriever_resources")) or inner
        for resource in listed if isinstance(listed, list) else []:
            if isinstance(resource, Mapping):
                self._add_resource(id, resource)
        given = parsed(pick(values, "feedback"))
        if isinstance(given, Mapping) and given.get("rating") in ("like", "dislike"):
            self._ratings[id] = given["rating"]

    def _add_resource(self, message: str, values: Mapping[str, Any]) -> None:
        text = values.get("content")
        segment = fields.reference(pick(values, "segment_id"))
        position = fields.rating(pick(values, "position") or 0)
        found = _Resource(position, segment, fields.clean(text).strip() if isinstance(text, str) else "")
        self._resources.setdefault(message, {})[found] = None

    def rows(self) -> Iterator[Row]:
        """One row for each message that something was retrieved for."""
        notes = self._settings.notes
        notes["retrieved segments or feedbacks belong to no message of the log"] += len(
            (self._resources.keys() | self._ratings.keys()) - self._messages.keys()
        )
        for id, (line, values) in self._messages.items():
            if id in self._resources:
                yield self._retrieval(line, id, values).row()

    def _retrieval(self, line: int, id: str, values: Mapping[str, Any]) -> Retrieval:
        listed = sorted(self._resources[id], key=lambda resource: (resource.position, resource.segment))
        shown = [self._reference(resource) for resource in listed]
        tenant = walk(values, self._settings.tenant) if self._settings.tenant else None
        retrieval = Retrieval(
            line,
            id,
            values["query"],
            pick(values, "created_at"),
            pick(values, "conversation_id"),
            pick(values, *_USER),
            tenant if present(tenant) else None,
            shown=shown,
        )
        rating = self._ratings.get(id)
        approve(rating == "like" if rating else None, values["answer"], [retrieval], self._settings)
        return retrieval

    def _reference(self, resource: _Resource) -> str:
        node = self._nodes.get(resource.segment, "")
        return resource.text if self._settings.by_text and resource.text else node or resource.text or resource.segment
