"""One request to an OpenAI-compatible `/v1/chat/completions`, with retries; nobody's key is ever printed.

429, 408, 5xx, timeouts, no connection ─► again, after what Retry-After says, up to `ATTEMPTS` ─► StoreUnavailable: the run stops
401, 402, 403, 404 …                   ─► UsageError: every other request would fare the same
400, 413, 422, an answer that is none  ─► RequestRefused: this chunk is passed over
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import DataError, StoreUnavailable, UsageError
from vecmigrate.synthesis.spending import Usage, estimated_tokens

if TYPE_CHECKING:
    import ssl

    import httpx

ATTEMPTS = 6
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LONGEST_WAIT = 120.0
"""Seconds that a Retry-After is obeyed for; a longer one ends the run, which goes on when the command is typed again."""
PATH = "/chat/completions"

_CHUNKS_OWN = frozenset({400, 413, 422})
_BUSY = frozenset({408, 409, 425, 429})
_SHOWN = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered. `cut` says that the answer was longer than `max_tokens`."""

    content: str
    cut: bool
    usage: Usage


class RequestRefused(DataError):
    """The endpoint would not, or could not, answer this one request."""


class _Busy(StoreUnavailable):
    """Not now. `pause` is what Retry-After says, in seconds."""

    def __init__(self, message: str, *, hint: str = "", pause: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.pause = pause


def chat_url(settings: SynthesisSection) -> str:
    """Where requests go: `url` with `/chat/completions` where it lacks it. Raises `UsageError` for what is no address, or holds a secret."""
    url = settings.url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = f": {url!r}" if url and not parts.username else ""
        raise UsageError(f"[synthesis] url is no http address{shown}", hint='url = "http://localhost:8000/v1", and model = "…"')
    if parts.username or parts.password:
        raise UsageError("[synthesis] url holds a name or password", hint='put it into an environment variable: api_key_env = "…"')
    if not settings.model:
        raise UsageError("[synthesis] model is missing", hint="name the model as the endpoint calls it")
    return url if url.endswith(PATH) else f"{url}{PATH}"


def host_of(url: str) -> str:
    """Host and port, for people."""
    return urlsplit(url).netloc


def api_key(settings: SynthesisSection, environment: Mapping[str, str]) -> str:
    """The key out of the variable that `api_key_env` names; empty where none is named. Raises `UsageError` when it isn't set or usable."""
    name = settings.api_key_env
    if not name:
        return ""
    key = environment.get(name, "").strip()
    if not key:
        raise UsageError(f"the environment variable {name} is not set", hint=f"export {name}=…, or take api_key_env out of [synthesis]")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"what {name} holds is no key: it has spaces or characters that no header can hold", hint="set it again")
    return key


class Endpoint:
    """A client of one endpoint and model. Safe among threads; close it."""

    def __init__(self, settings: SynthesisSection, key: str) -> None:
        import httpx

        self.url = chat_url(settings)
        self._settings = settings
        self._key = key
        self._stopped = threading.Event()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=settings.timeout, follow_redirects=False, verify=_certificates())

    def ask(self, prompt: str) -> Reply:
        """The answer to one user message. Raises `StoreUnavailable`, `UsageError` and `RequestRefused`, see the module."""
        retrying = Retrying(
            retry=retry_if_exception_type(_Busy),
            stop=stop_after_attempt(ATTEMPTS) | stop_when_event_set(self._stopped),
            wait=_pause,
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        return retrying(self._once, prompt)

    def stop(self) -> None:
        """Let no request be tried again."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _once(self, prompt: str) -> Reply:
        import httpx

        try:
            response = self._client.post(self.url, json=self._body(prompt))
        except httpx.TimeoutException:
            raise _Busy(f"{host_of(self.url)} did not answer within {self._settings.timeout:g} s", hint=_AGAIN) from None
        except httpx.TransportError as error:
            raise _Busy(f"{host_of(self.url)} cannot be reached: {self._clean(str(error))}", hint=_AGAIN) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RequestRefused(f"the answer of {host_of(self.url)} cannot be read: {self._clean(str(error))}") from None
        if not response.is_success:
            raise self._error(response)
        return self._reply(response, prompt)

    def _body(self, prompt: str) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {"model": settings.model, "messages": [{"role": "user", "content": prompt}]}
        if settings.max_tokens:
            body["max_tokens"] = settings.max_tokens
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.request_seed is not None:
            body["seed"] = settings.request_seed
        return {**body, **settings.body}

    def _error(self, response: httpx.Response) -> StoreUnavailable | UsageError | RequestRefused:
        status = response.status_code
        said = self._clean(response.text)
        message = f"{host_of(self.url)} answered {status}" + (f": {said}" if said else "")
        if status in _BUSY or status >= 500:
            return self._busy(message, _retry_after(response.headers))
        if status in _CHUNKS_OWN:
            return RequestRefused(message, hint="see what it says; max_tokens = 0 and body = { … } under [synthesis] change the request")
        if response.is_redirect:
            return UsageError(f"{message}; chunks are not sent on to where it points", hint="write the final address as [synthesis] url")
        return UsageError(message, hint="check url, model and api_key_env under [synthesis]")

    def _busy(self, message: str, pause: float) -> StoreUnavailable:
        if pause > LONGEST_WAIT:
            return StoreUnavailable(f"{message}; it asks to wait {pause:,.0f} s", hint=_AGAIN)
        return _Busy(message, hint=_AGAIN, pause=pause)

    def _reply(self, response: httpx.Response, prompt: str) -> Reply:
        try:
            choice = response.json()["choices"][0]
            content = _text(choice["message"]["content"])
            given = response.json().get("usage") or {}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise RequestRefused(
                f"{host_of(self.url)} answered with something that is no chat completion: {self._clean(response.text)}",
                hint="[synthesis] url must be that of an OpenAI-compatible server, such as http://localhost:8000/v1",
            ) from None
        sent, received = (given.get(name) if isinstance(given, dict) else None for name in ("prompt_tokens", "completion_tokens"))
        usage = Usage(_tokens(sent, prompt), _tokens(received, content))
        return Reply(content, choice.get("finish_reason") == "length", usage)

    def _clean(self, text: str) -> str:
        """One line, short, without the key."""
        bare = text.replace(self._key, "***") if self._key else text
        line = " ".join(_CONTROL.sub(" ", bare).split())
        return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


_AGAIN = "what was answered is kept: the same command goes on from there; lower [synthesis] concurrency if it is busy"


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Reading them takes a tenth of a second."""
    import httpx

    return httpx.create_ssl_context()


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.pause if isinstance(error, _Busy) else 0.0
    return max(asked, wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)(state))


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, from a number or an HTTP date; 0 where there is none that can be read."""
    from datetime import UTC, datetime

    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _text(content: Any) -> str:
    """The text of a message: plain, or the text parts of a list. An answer without any is empty."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content is None or isinstance(content, str):
        return content or ""
    raise TypeError("not a text")


def _tokens(given: Any, text: str) -> int:
    """The server's figure, or a guess where it gives none."""
    known = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    return int(given) if known else estimated_tokens(text)
