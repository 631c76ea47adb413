"""From rows to query events: what belongs to one search is brought together, in whatever order it comes.

    flattened row      user_query, query_id, clicked_ids, …        one search, or one of several rows of it
    UBI query line     user_query, query_id, query_response_hit_ids
    UBI event line     action_name, query_id, event_attributes     joined to its query by query_id

Field names: User Behavior Insights schema 1.x, https://github.com/o19s/ubi.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from vecmigrate.config import LOG_COLUMNS
from vecmigrate.querylog import fields
from vecmigrate.querylog.rows import Row
from vecmigrate.querylog.wording import normalised
from vecmigrate.records import Feedback, FeedbackKind, QueryEvent

CLICKS = frozenset(
    {"click", "click_through", "clickthrough", "item_click", "product_click", "result_click", "open", "select", "download"}
    | {"add_to_cart", "purchase", "buy"}
)
CITATIONS = frozenset({"cite", "cited", "citation", "quote"})
RATINGS = frozenset({"rate", "rating", "grade", "judge", "feedback"})
THUMBS: Mapping[str, float] = {"thumbs_up": 1.0, "like": 1.0, "upvote": 1.0, "thumbs_down": -1.0, "dislike": -1.0, "downvote": -1.0}
IMPRESSIONS = frozenset({"impression", "view", "on_render", "shown"})

FEEDBACK_COLUMNS: Mapping[str, FeedbackKind] = {
    "clicked_ids": FeedbackKind.CLICK,
    "cited_ids": FeedbackKind.CITATION,
    "approved_ids": FeedbackKind.APPROVAL,
}
COLUMNS_LISTED = 60
UNNAMED = "line-"
"""A search that the log gives no id is called by its line."""

_OBJECT = ("event_attributes.object.object_id", "event_attributes.object_id", "object_id")
_VALUE = tuple(f"event_attributes.{place}{key}" for place in ("", "object.") for key in ("rating", "value", "grade", "score"))
_ORDINAL = "event_attributes.position.ordinal"
_DWELL = ("event_attributes.dwell_seconds", "event_attributes.object.dwell_seconds")
_ABSENT: Any = object()
_Identity = tuple[str, str, str, str, str]


@dataclass(slots=True)
class _Search:
    """A search while its rows come in. `acts` is a dict for its order and because an act logged twice is one act."""

    query_id: str
    text: str = ""
    at: datetime | None = None
    session: str = ""
    user: str = ""
    shown: dict[str, None] = field(default_factory=dict)
    rendered: dict[str, float] = field(default_factory=dict)
    acts: dict[Feedback, Feedback] = field(default_factory=dict)
    tenant: str = ""

    def note(self, act: Feedback) -> None:
        """Take an act; of one that is there already, keep the longer stay and the better-placed rank."""
        there = self.acts.get(act, act)
        position = min((at for at in (there.position, act.position) if at is not None), default=None)
        dwell = max((time for time in (there.dwell, act.dwell) if time is not None), default=None)
        self.acts[act] = replace(act, position=position, dwell=dwell, count=max(there.count, act.count))

    def absorb(self, other: _Search) -> None:
        """Take over what another row says of the same search; the earliest time is the search's."""
        times = [at for at in (self.at, other.at) if at is not None]
        self.at = min(times, default=None)
        self.session = self.session or other.session
        self.user = self.user or other.user
        self.shown |= other.shown
        self.rendered |= other.rendered
        for act in other.acts.values():
            self.note(act)

    def event(self) -> QueryEvent:
        shown = tuple(self.shown) or tuple(sorted(self.rendered, key=self.rendered.__getitem__))
        acts = tuple(self.acts.values())
        return QueryEvent(self.query_id, self.text, self.at, self.session or None, self.user or None, shown, acts, self.tenant or None)


class Assembly:
    """Takes rows, gives events. The searches are held in memory: a log of a million searches takes about 1 GB.

    `columns` maps our names to the log's, which may be dotted paths into nested objects; `split` is passed to `fields.references`.
    """

    def __init__(self, columns: Mapping[str, str], notes: Counter[str], *, split: bool = True) -> None:
        self.seen: dict[str, None] = {}
        self.found: set[str] = set()
        self._columns = {name: columns.get(name, name) for name in LOG_COLUMNS}
        self._notes = notes
        self._split = split
        self._searches: dict[_Identity, _Search] = {}
        self._textless: dict[str, list[_Search]] = {}

    def add(self, row: Row) -> None:
        """Take one row. Raises `ValueError` saying why it can't be used; then nothing of it is."""
        if len(self.seen) < COLUMNS_LISTED:
            self.seen |= dict.fromkeys(str(key) for key in row.values)
        search = self._search(row)
        action = row.values.get("action_name")
        if action is not None:
            self.found.add("action_name")
            if not self._act(search, str(action), row.values):
                return
        if search.text:
            self._merge(_identity(search), search)
        elif search.query_id:
            self._textless.setdefault(search.query_id, []).append(search)
        else:
            raise ValueError("neither user_query nor query_id")

    def events(self) -> tuple[QueryEvent, ...]:
        """One event per search, in the order of their first rows."""
        by_id: dict[str, list[_Search]] = {}
        for search in self._searches.values():
            by_id.setdefault(search.query_id, []).append(search)
        for query_id, rows in self._textless.items():
            for row in rows:
                self._join(row, by_id.get(query_id, []))
        return tuple(search.event() for search in self._searches.values())

    def _join(self, row: _Search, searches: list[_Search]) -> None:
        searches = [search for search in searches if not row.tenant or search.tenant == row.tenant]
        same_session = [search for search in searches if row.session and search.session == row.session]
        fitting = searches if len(searches) == 1 else same_session
        if len(fitting) == 1:
            fitting[0].absorb(row)
        else:
            self._notes["events fit more than one query" if searches else "events belong to no query of the log"] += 1

    def _merge(self, key: _Identity, search: _Search) -> None:
        if key in self._searches:
            self._searches[key].absorb(search)
        else:
            self._searches[key] = search

    def _search(self, row: Row) -> _Search:
        read = {name: self._value(row.values, name) for name in LOG_COLUMNS}
        text = _text(read["user_query"])
        query_id = fields.reference(read["query_id"]) or (f"{UNNAMED}{row.line}" if text else "")
        session = fields.reference(read["session_id"]) or fields.reference(row.values.get("client_id"))
        search = _Search(query_id, text, self._moment(read["timestamp"]), session, fields.reference(read["user_id"]))
        search.shown = dict.fromkeys(self._references(read, "query_response_hit_ids"))
        search.tenant = fields.reference(read["tenant"])
        for name, kind in FEEDBACK_COLUMNS.items():
            for ref in self._references(read, name):
                search.note(Feedback(ref, kind))
        for ref, value in _ratings(read["ratings"], tuple(search.shown)):
            search.note(Feedback(ref, FeedbackKind.RATING, value))
        self._qualify_clicks(search, read)
        return search

    def _qualify_clicks(self, search: _Search, read: Mapping[str, Any]) -> None:
        """Say of the row's clicks how long they lasted, at which rank they were, and how many there were: 0 is none."""
        clicks = [act for act in search.acts.values() if act.kind is FeedbackKind.CLICK]
        if not clicks:
            return
        times = self._number(read["click_count"])
        position = self._number(read["clicked_position"], least=1) if len(clicks) == 1 else None
        dwell = self._number(read["dwell_seconds"])
        for act in clicks:
            if times is not None and times < 1:
                del search.acts[act]
            else:
                search.note(replace(act, count=int(times or 1), position=position, dwell=dwell))

    def _number(self, value: Any, *, least: float = 0) -> float | None:
        """A number from `least` on; None for none. One that can't be read costs its row no more than itself."""
        if value is None or value == "":
            return None
        try:
            number = fields.rating(value)
        except ValueError:
            number = -1.0
        if number >= least:
            return number
        self._notes["ranks, dwell times or click counts could not be read; their rows are kept without them"] += 1
        return None

    def _references(self, read: Mapping[str, Any], name: str) -> tuple[str, ...]:
        try:
            return fields.references(read[name], split=self._split)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _value(self, values: Mapping[str, Any], name: str) -> Any:
        value = walk(values, self._columns[name])
        if value is _ABSENT:
            return None
        self.found.add(name)
        return value

    def _moment(self, value: Any) -> datetime | None:
        try:
            at, assumed = fields.moment(value)
        except ValueError:
            self._notes["times could not be read; their rows are kept without one"] += 1
            return None
        if assumed:
            self._notes["times had no zone and were taken as UTC"] += 1
        return at

    def _act(self, search: _Search, action: str, values: Mapping[str, Any]) -> bool:
        """Note the act on the search; False when this kind of act says nothing about relevance."""
        name = action.strip().casefold().replace("-", "_").replace(" ", "_")
        if name not in CLICKS | CITATIONS | RATINGS | THUMBS.keys() | IMPRESSIONS:
            self._notes[f"events of the kind {action[:40]!r} say nothing about relevance"] += 1
            return bool(search.text)
        ref = fields.reference(_first(values, _OBJECT))
        if not ref:
            raise ValueError(f"a {name} without event_attributes.object.object_id")
        if name in IMPRESSIONS:
            ordinal = _first(values, (_ORDINAL,))
            search.rendered[ref] = fields.rating(ordinal) if ordinal is not None else float("inf")
        elif name in RATINGS:
            search.note(Feedback(ref, FeedbackKind.RATING, fields.rating(_first(values, _VALUE))))
        elif name in THUMBS:
            search.note(Feedback(ref, FeedbackKind.RATING, THUMBS[name]))
        elif name in CITATIONS:
            search.note(Feedback(ref, FeedbackKind.CITATION))
        else:
            position, dwell = self._number(_first(values, (_ORDINAL,)), least=1), self._number(_first(values, _DWELL))
            search.note(Feedback(ref, FeedbackKind.CLICK, position=position, dwell=dwell))
        return True


def _identity(search: _Search) -> _Identity:
    """What makes two rows one search; without a query id it is the same words at the same moment."""
    unnamed = search.query_id.startswith(UNNAMED) and search.at is not None
    id = f"{UNNAMED}{search.at}" if unnamed else search.query_id
    return (id, normalised(search.text), search.session, search.user, search.tenant)


def walk(values: Mapping[str, Any], path: str) -> Any:
    """The value under a key, or under a dotted path into nested objects (which may be JSON text); a marker where there is none."""
    if path in values:
        return values[path]
    head, _, rest = path.partition(".")
    inner = values.get(head)
    if isinstance(inner, str) and rest and inner.lstrip().startswith("{"):
        inner = json.loads(inner)
    return walk(inner, rest) if rest and isinstance(inner, Mapping) else _ABSENT


def present(found: Any) -> bool:
    """Whether `walk` found a value other than null."""
    return found is not _ABSENT and found is not None


def _first(values: Mapping[str, Any], paths: tuple[str, ...]) -> Any:
    for path in paths:
        value = walk(values, path)
        if present(value):
            return value
    return None


def _ratings(value: Any, shown: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    try:
        return fields.ratings(value, shown)
    except ValueError as error:
        raise ValueError(f"ratings: {error}") from None


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return fields.clean(value).strip()
        case bool():
            raise ValueError(f"user_query is {value}, expected text")
        case int() | float() | Decimal():
            return str(value)
    raise ValueError(f"user_query is a {type(value).__name__}, expected text")
