"""The event socket's framing: exact in bytes, bounded, the same wherever the stream is cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.adapters.freeswitch.framing import EslProtocolError, Frame, FrameParser, command
from tests.fuzz import esl as fuzz

EVENT = b'Content-Length: 13\nContent-Type: text/event-json\n\n{"a":"\xc3\xa4\xff\n\n"}'


def read(data: bytes, **limits: int) -> list[Frame]:
    return list(FrameParser(**limits).feed(data))


def test_what_the_server_sends() -> None:
    stream = (
        b"Content-Type: auth/request\n\n"
        b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
        b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: 7f1c\nJob-UUID: 7f1c\n\n"
        b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n" + EVENT + b"\n"
        b"Content-Type: log/data\nContent-Length: 3\nLog-Level: 7\nUser-Data: \xe4\n\nabc"
        b"Content-Type: text/disconnect-notice\nContent-Length: 5\n\nbye.\n"
    )
    auth, accepted, job, reply, event, log, bye = read(stream)
    assert auth.content_type == "auth/request"
    assert accepted.headers["reply-text"] == "+OK accepted"
    assert job.headers["job-uuid"] == "7f1c"
    assert reply.text == "+OK\n"
    assert (event.content_type, event.body) == ("text/event-json", b'{"a":"\xc3\xa4\xff\n\n"}')
    assert log.headers["user-data"].encode("utf-8", "surrogateescape") == b"\xe4"
    assert (log.text, bye.text) == ("abc", "bye.\n")


def test_length_counts_bytes() -> None:
    body = "ä世".encode()
    (frame,) = read(b"Content-Type: api/response\nContent-Length: %d\n\n" % len(body) + body)
    assert frame.text == "ä世"


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_wherever_it_is_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b"Content-Type: x\nContent-Length: %d\n\n" % len(body) + body for body in bodies)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser, frames = FrameParser(), list[Frame]()
    for begin, end in zip([0, *places], [*places, len(stream)], strict=True):
        frames.extend(parser.feed(stream[begin:end]))
    assert [frame.body for frame in frames] == bodies
    assert parser.pending == 0


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_give_frames_or_its_own_error(pieces: list[bytes]) -> None:
    whole = fuzz.read((b"".join(pieces),))
    assert fuzz.read([bytes([byte]) for byte in b"".join(pieces)]) == whole
    assert fuzz.read(pieces) == whole


@pytest.mark.long
def test_ten_thousand_mutated_streams() -> None:
    for number in range(10_000):
        fuzz.check(random.Random(f"unit:{number}"))


@pytest.mark.parametrize(
    "block",
    [
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Content-Length: \xd9\xa3",
        b"Content-Length:",
        b"Content-Length: 12345678901",
        b"Content-Length: 1\nContent-Length: 2",
        b"no colon",
        b": no name",
        b"Content-Length: 1025\nContent-Type: text/event-json",
    ],
)
def test_what_is_no_frame(block: bytes) -> None:
    parser = FrameParser(longest_body=1024)
    frames = parser.feed(EVENT + block + b"\n\n" + EVENT)
    assert next(frames).body
    with pytest.raises(EslProtocolError):
        next(frames)
    with pytest.raises(EslProtocolError):
        next(parser.feed(EVENT))
    assert parser.pending == 0


def test_limits_hold_to_the_byte() -> None:
    for longest in (20, 21):
        block = b"A: " + b"x" * (longest - 3)
        for pieces in ((block + b"\n\n",), (block + b"\n", b"\n"), [bytes([b]) for b in block + b"\n\n"]):
            parser = FrameParser(longest_header=longest)
            assert [frame for piece in pieces for frame in parser.feed(piece)]
            parser = FrameParser(longest_header=longest - 1)
            with pytest.raises(EslProtocolError, match="header block"):
                [frame for piece in pieces for frame in parser.feed(piece)]


def test_endless_header_block_is_not_kept() -> None:
    parser = FrameParser(longest_header=1000)
    for _ in range(10):
        assert not list(parser.feed(b"x" * 100))
    with pytest.raises(EslProtocolError):
        list(parser.feed(b"x" * 100))
    assert parser.pending == 0


def test_body_of_a_megabyte_in_small_pieces() -> None:
    body = b"x" * (1 << 20)
    stream = b"Content-Length: %d\nContent-Type: text/event-json\n\n" % len(body) + body + EVENT
    parser = FrameParser()
    frames = [frame for i in range(0, len(stream), 1000) for frame in parser.feed(stream[i : i + 1000])]
    assert [len(frame.body) for frame in frames] == [1 << 20, 13]


def test_command() -> None:
    assert command("api uuid_kill L") == b"api uuid_kill L\n\n"
    sent = command("sendmsg L", {"call-command": "execute", "execute-app-arg": "ä"})
    assert sent == "sendmsg L\ncall-command: execute\nexecute-app-arg: ä\n\n".encode()


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_nothing_can_begin_a_line_of_its_own(text: str) -> None:
    with pytest.raises(ValueError, match="CR, LF"):
        command(f"api {text}")
    with pytest.raises(ValueError, match="CR, LF"):
        command("sendmsg L", {"execute-app-arg": text})
    with pytest.raises(ValueError, match="name"):
        command("sendmsg L", {text: "x"})
    with pytest.raises(ValueError, match="name"):
        command("sendmsg L", {"a:b": "x"})
