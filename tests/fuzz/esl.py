"""Mutated event socket streams, cut at every boundary: ``python -m tests.fuzz.esl --streams 1000000``.

Each stream is read three times: in one piece, byte by byte, and cut where chance has it. Nothing but
``EslProtocolError`` may come out of the parser; the three readings must give the same frames and the same error; and
every frame that ends before the first changed byte must be among them. A failure prints seed and stream number.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pbx.adapters.freeswitch.framing import EslProtocolError, Frame, FrameParser

LONGEST_HEADER, LONGEST_BODY = 256, 512
"""Limits of the parsers under test, low enough to be met."""
SPICE = (
    b"\n", b"\n\n", b"\r\n", b":", b"\0", b"\xff\xfe", b"Content-Length: 3\n", b"Content-Length: -1\n",
    b"Content-Length: 99999999999\n", b"Content-Length: 1e2\n", b"Content-Length: \xd9\xa3\n",
    b"\n\nContent-Type: x\n\n",
)  # fmt: skip
BODIES = (
    b'{"Event-Name":"DTMF","DTMF-Digit":"5"}',
    b"+OK 7f1c\n",
    b"-ERR NO_ANSWER\n",
    b"\n\n",
    b"Content-Length: 9\n\n",
    "{\"x\":\"\u00e4\u4e16\"}".encode(),
    b'{"x":"\xff\xc3"}',
    b"\0\r\n",
)  # fmt: skip
TYPES = ("text/event-json", "api/response", "command/reply", "log/data", "text/disconnect-notice", "text/event-plain")


@dataclass(frozen=True, slots=True)
class Outcome:
    frames: tuple[Frame, ...]
    error: str | None


def read(pieces: Sequence[bytes]) -> Outcome:
    """What a parser makes of the pieces. Any other exception than the parser's own passes through."""
    parser, frames = FrameParser(LONGEST_HEADER, LONGEST_BODY), list[Frame]()
    for piece in pieces:
        try:
            frames.extend(parser.feed(piece))
        except EslProtocolError as error:
            return Outcome((*frames, *_rest(parser)), str(error))
        if parser.pending > LONGEST_HEADER + LONGEST_BODY + len(piece) + 2:
            raise AssertionError(f"{parser.pending} bytes are kept")
    return Outcome(tuple(frames), None)


def _rest(parser: FrameParser) -> list[Frame]:
    """After an error the parser must stay with it."""
    try:
        frames = list(parser.feed(b"Content-Type: auth/request\n\n"))
    except EslProtocolError:
        return []
    raise AssertionError(f"the parser went on after an error: {frames}")


def frame(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.1:
        return b"Content-Type: auth/request\n\n"
    if kind < 0.25:
        return b"Content-Type: command/reply\nReply-Text: +OK accepted\nJob-UUID: 7f1c\n\n"
    body = chance.choice(BODIES) * chance.randrange(4)
    if kind < 0.65:
        return b"Content-Length: %d\nContent-Type: text/event-json\n\n" % len(body) + body
    name = chance.choice(TYPES).encode()
    extra = b"Log-Level: 7\nUser-Data: \xe4\n" if chance.random() < 0.3 else b""
    head = [b"Content-Type: " + name + b"\n", b"Content-Length: %d\n" % len(body)]
    chance.shuffle(head)
    return b"".join(head) + extra + b"\n" + body + b"\n" * (chance.random() < 0.1)


def mutate(stream: bytes, chance: random.Random) -> tuple[bytes, int]:
    """The stream with up to four changes, and the place of the first."""
    data, first = bytearray(stream), len(stream)
    for _ in range(chance.randrange(5)):
        at = chance.randrange(len(data) + 1)
        first = min(first, at)
        kind = chance.randrange(4)
        if kind == 0:
            data[at : at + chance.randrange(1, 9)] = b""
        elif kind == 1:
            data[at:at] = chance.choice(SPICE)
        elif kind == 2:
            data[at : at + 1] = bytes([chance.randrange(256)])
        else:
            data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(64)]
    return bytes(data), first


def cut(stream: bytes, chance: random.Random) -> list[bytes]:
    places = sorted({0, len(stream), *(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(1, 6)))})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


def check(chance: random.Random) -> tuple[int, bool]:
    """One stream. Returns how many frames came of it and whether it ended in an error. Raises AssertionError."""
    frames = [frame(chance) for _ in range(chance.randrange(1, 5))]
    stream, first = mutate(b"".join(frames), chance)
    whole = read((stream,))
    for pieces in ([stream[i : i + 1] for i in range(len(stream))], cut(stream, chance)):
        other = read(pieces)
        if other != whole:
            raise AssertionError(f"cut differently, read differently: {stream!r}\n{whole}\n{other}")
    end, intact = 0, 0
    for good in frames:
        end += len(good)
        intact += end <= first
    if len(whole.frames) < intact:
        raise AssertionError(f"{intact} frames were intact, {len(whole.frames)} came: {stream!r}")
    if intact and whole.frames[:intact] != read(frames[:intact]).frames:
        raise AssertionError(f"an intact frame came out changed: {stream!r}")
    return len(whole.frames), whole.error is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    frames = errors = 0
    began = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("streams", total=arguments.streams, rate="-")
        for number in range(arguments.streams):
            try:
                came, failed = check(random.Random(f"{arguments.seed}:{number}"))
            except Exception as error:
                raise SystemExit(f"seed {arguments.seed}, stream {number}: {error!r}") from error
            frames += came
            errors += failed
            if number % 500 == 499:
                rate = f"{number / (time.perf_counter() - began):,.0f}"
                progress.update(task, completed=number + 1, rate=rate)
        progress.update(task, completed=arguments.streams)
    took_s = time.perf_counter() - began
    print(
        f"fuzz-esl streams={arguments.streams} frames={frames} refused={errors} seed={arguments.seed} "
        f"seconds={took_s:.1f} streams_s={arguments.streams / took_s:.0f}"
    )


if __name__ == "__main__":
    main()
