"""One request to a real HTTP server that behaves, or doesn't."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import StoreUnavailable, UsageError
from vecmigrate.synthesis import endpoint
from vecmigrate.synthesis.endpoint import Endpoint, RequestRefused, api_key, chat_url
from vecmigrate.synthesis.spending import Usage

from .synthesis_world import completion

KEY = "sk-very-secret-123"


@pytest.fixture
def ask(settings):
    """Ask one question; the reply."""

    def run(prompt="Say it", key=KEY, **changes):
        asking = Endpoint(settings(**changes), key)
        try:
            return asking.ask(prompt)
        finally:
            asking.close()

    return run


def answers(*given):
    """One answer after the other, the last one for ever."""
    return lambda number, asked: given[min(number, len(given) - 1)]


OK = (200, {}, completion("fine"))


def test_the_request_is_what_the_protocol_says(server, ask):
    server.script = answers(OK)
    reply = ask(temperature=0.5, request_seed=7, body={"top_p": 0.9})
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "tiny-chat",
        "messages": [{"role": "user", "content": "Say it"}],
        "max_tokens": 400,
        "temperature": 0.5,
        "seed": 7,
        "top_p": 0.9,
    }
    assert (reply.content, reply.cut, reply.usage) == ("fine", False, Usage(100, 20))


def test_what_is_not_set_is_not_sent(server, ask):
    server.script = answers(OK)
    ask(key="", max_tokens=0)
    assert server.asked[0].body.keys() == {"model", "messages"}
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(server, ask, status):
    server.script = answers((status, {}, "busy"), (status, {}, "busy"), OK)
    assert ask().content == "fine"
    assert len(server.asked) == 3


@pytest.mark.parametrize("after", ["0.4", "date"])
def test_retry_after_is_obeyed(server, ask, after):
    value = formatdate(time.time() + 2, usegmt=True) if after == "date" else after
    server.script = answers((429, {"retry-after": value}, "slow down"), OK)
    assert ask().content == "fine"
    assert server.asked[1].at - server.asked[0].at >= 0.4


@pytest.mark.parametrize("after", ["soon", "-5", ""])
def test_a_retry_after_that_says_nothing_is_passed_over(server, ask, after):
    server.script = answers((429, {"retry-after": after}, "slow down"), OK)
    assert ask().content == "fine"


def test_a_retry_after_beyond_patience_ends_the_run_at_once(server, ask):
    server.script = answers((429, {"retry-after": "3600"}, "quota"), OK)
    with pytest.raises(StoreUnavailable, match="answered 429: quota; it asks to wait 3,600 s") as caught:
        ask()
    assert len(server.asked) == 1
    assert "the same command goes on from there" in caught.value.hint


def test_a_server_that_stays_down_is_given_up(server, ask, monkeypatch):
    monkeypatch.setattr(endpoint, "ATTEMPTS", 4)
    server.script = answers((503, {}, "down for\x1b[31m\nrepairs"))
    with pytest.raises(StoreUnavailable, match=r"answered 503: down for \[31m repairs"):
        ask()
    assert len(server.asked) == 4


def test_a_server_that_does_not_answer_in_time_is_asked_again(server, ask):
    def slow_at_first(number, asked):
        time.sleep(0.5 if number == 0 else 0)
        return OK

    server.script = slow_at_first
    assert ask(timeout=0.15).content == "fine"
    assert len(server.asked) == 2


def test_nobody_there(ask, monkeypatch):
    monkeypatch.setattr(endpoint, "ATTEMPTS", 2)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        ask(url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_what_no_retry_mends_stops_at_once(server, ask, status):
    server.script = answers((status, {}, {"error": {"message": "no"}}))
    with pytest.raises(UsageError, match=f"answered {status}"):
        ask()
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(server, ask):
    server.script = answers((307, {"location": "http://elsewhere.example/v1/chat/completions"}, ""))
    with pytest.raises(UsageError, match="chunks are not sent on to where it points"):
        ask()
    assert len(server.asked) == 1


def test_the_key_is_in_no_message(server, ask):
    server.script = answers((401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}."}}))
    with pytest.raises(UsageError, match=r"Incorrect API key provided: \*\*\*\.") as caught:
        ask()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_chunk_is_that_chunks_own(server, ask, status):
    server.script = answers((status, {}, {"error": {"message": "context length exceeded"}}))
    with pytest.raises(RequestRefused, match="context length exceeded"):
        ask()
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "payload",
    [
        "<html>login</html>",
        "",
        "[]",
        "{}",
        {"choices": []},
        {"choices": [{"text": "old style"}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [None]},
    ],
)
def test_an_answer_that_is_no_chat_completion_says_so(server, ask, payload):
    server.script = answers((200, {}, payload))
    with pytest.raises(RequestRefused, match="something that is no chat completion"):
        ask()


@pytest.mark.parametrize(
    ("content", "text"), [(None, ""), ("", ""), ([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "ab")]
)
def test_contents_of_other_forms_are_read(server, ask, content, text):
    server.script = answers((200, {}, completion(content)))
    assert ask().content == text


def test_an_answer_that_broke_off_is_known(server, ask):
    server.script = answers((200, {}, completion("half", finish="length")))
    assert ask().cut


@pytest.mark.parametrize("usage", [{}, "many", {"prompt_tokens": None, "completion_tokens": -1}, {"prompt_tokens": True}])
def test_without_figures_tokens_are_guessed_from_the_lengths(server, ask, usage):
    server.script = answers((200, {}, {**completion("x" * 30), "usage": usage}))
    assert ask("y" * 300).usage == Usage(108, 18)


# Settings.


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://h:1/v1", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        (" https://h/v1/chat/completions ", "https://h/v1/chat/completions"),
    ],
)
def test_the_address_may_be_given_in_either_form(given, url):
    assert chat_url(SynthesisSection(url=given, model="m")) == url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"\[synthesis\] url is no http address"),
        ({"url": "localhost:8000/v1", "model": "m"}, "url is no http address: 'localhost:8000/v1'"),
        ({"url": "file:///etc/passwd", "model": "m"}, "url is no http address"),
        ({"url": "https://me:hush@h/v1", "model": "m"}, r"\[synthesis\] url holds a name or password"),
        ({"url": "https://h/v1"}, r"\[synthesis\] model is missing"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(given, message):
    with pytest.raises(UsageError, match=message) as caught:
        chat_url(SynthesisSection(**given))
    assert "hush" not in str(caught.value)


def test_the_key_comes_out_of_the_environment():
    assert api_key(SynthesisSection(), {"K": "x"}) == ""
    assert api_key(SynthesisSection(api_key_env="K"), {"K": f" {KEY}\n"}) == KEY
    with pytest.raises(UsageError, match="the environment variable K is not set"):
        api_key(SynthesisSection(api_key_env="K"), {"K": " "})
    with pytest.raises(UsageError, match="what K holds is no key") as caught:
        api_key(SynthesisSection(api_key_env="K"), {"K": "schlüssel 1"})
    assert "schl" not in str(caught.value)
