"""The sealed file: what was changed in any way is refused, and what was not reads as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.errors import RecordingDamaged
from pbx.domain.ids import RecordingId, derive
from pbx.recording import sealed
from pbx.recording.sealed import TAG_BYTES, Header, Opened, Tampered

BITS = 10
CHUNK = 1 << BITS
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
RECORDING, OTHER = (RecordingId(derive(1.0, "recording", name)) for name in ("one", "other"))

sizes = st.one_of(st.integers(0, 4 * CHUNK), st.integers(0, 4).map(lambda chunks: chunks * CHUNK))
plains = sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))


def header(size: int, recording_id: RecordingId = RECORDING, region: str = "eu") -> Header:
    return Header(recording_id, region, b"key-id-1", size, b"prefix7", BITS)


def sealed_file(plain: bytes, head: Header | None = None, key: bytes = KEY, piece: int = 700) -> bytes:
    pieces = (plain[at : at + piece] for at in range(0, len(plain), piece))
    return b"".join(sealed.seal(head or header(len(plain)), key, pieces))


def opened(file: bytes, key: bytes = KEY) -> Opened:
    """As the vault does it: the header first, then what it must say, then the chunks."""
    head = sealed.decode(file[: sealed.LONGEST_HEADER])
    sealed.check(head, RECORDING, "eu", b"key-id-1")
    return Opened(head, key, lambda offset, length: file[offset : offset + length], len(file))


def whole(file: bytes, key: bytes = KEY) -> bytes:
    return b"".join(opened(file, key).pieces(at_once=2))


@given(plains, st.integers(1, 5000))
def test_what_was_sealed_opens(plain: bytes, piece: int) -> None:
    file = sealed_file(plain, piece=piece)
    assert whole(file) == plain
    assert len(file) == header(len(plain)).sealed_size
    assert plain[:16] not in file or len(plain) < 16


@given(plains, st.integers(0, 5 * CHUNK), st.integers(0, 5 * CHUNK))
def test_a_range_reads_as_the_plain_bytes(plain: bytes, offset: int, length: int) -> None:
    assert opened(sealed_file(plain)).read(offset, length) == plain[offset : offset + length]


def test_a_range_asks_for_its_chunks_alone() -> None:
    plain = bytes(range(256)) * 4 * 8
    file, asked = sealed_file(plain), []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return file[offset : offset + length]

    head = header(len(plain))
    assert Opened(head, KEY, read, len(file)).read(5 * CHUNK + 10, 20) == plain[5 * CHUNK + 10 : 5 * CHUNK + 30]
    assert asked == [(head.size + 5 * (CHUNK + TAG_BYTES), CHUNK + TAG_BYTES)]


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK + 100])
def test_every_flipped_byte_is_refused(size: int) -> None:
    """Each byte of the header and of every chunk, by the error that fits its place."""
    file = sealed_file(bytes(size))
    for at in range(len(file)):
        changed = bytearray(file)
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(RecordingDamaged) as refused:
            whole(bytes(changed))
        assert isinstance(refused.value, _at(at, size)), f"byte {at}: {refused.value!r}"


def _at(at: int, size: int) -> tuple[type[RecordingDamaged], ...]:
    # Of the chunk size or the length: the file has another size then, or no header says so.
    sized = (sealed.Truncated, sealed.Lengthened, sealed.NotSealed, Tampered)
    ends: list[tuple[int, tuple[type[RecordingDamaged], ...]]] = [
        (9, (sealed.NotSealed,)),  # magic, version
        (10, sized),  # chunk size
        (12, (sealed.NotSealed,)),  # the header's own length
        (20, sized),  # the length
        (27, (Tampered,)),  # nonce prefix
        (53, (sealed.WrongRecording, sealed.NotSealed)),
        (61, (sealed.WrongKey,)),
        (62, (sealed.NotSealed,)),  # length of the region's name
        (64, (sealed.WrongRegion, sealed.NotSealed)),
    ]
    return next((errors for end, errors in ends if at < end), (Tampered,))


@given(plains, st.data())
def test_truncation_at_any_place_is_refused(plain: bytes, data: st.DataObject) -> None:
    file = sealed_file(plain)
    cut = file[: data.draw(st.integers(0, len(file) - 1))]
    with pytest.raises((sealed.Truncated, sealed.NotSealed)) as refused:
        whole(cut)
    assert (refused.type is sealed.Truncated) == (len(cut) >= header(0).size)


@given(plains, st.binary(min_size=1, max_size=2 * CHUNK))
def test_anything_after_the_end_is_refused(plain: bytes, more: bytes) -> None:
    with pytest.raises(sealed.Lengthened):
        whole(sealed_file(plain) + more)


@given(st.integers(1, 5), st.data())
def test_a_file_cut_between_chunks_with_a_header_that_fits_is_refused(chunks: int, data: st.DataObject) -> None:
    """Whoever cuts the file may write the length into the header as well; the chunks know better."""
    plain = bytes(chunks * CHUNK + 1)
    file, keep = sealed_file(plain), data.draw(st.integers(1, chunks))
    head = header(keep * CHUNK)
    cut = head.encode() + file[head.size : head.size + keep * (CHUNK + TAG_BYTES)]
    with pytest.raises(Tampered):
        whole(cut)


@given(st.integers(2, 6), st.data())
def test_chunks_that_changed_places_are_refused(chunks: int, data: st.DataObject) -> None:
    plain = b"".join(bytes([at]) * CHUNK for at in range(chunks))
    file = sealed_file(plain)
    one, two = sorted(data.draw(st.sets(st.integers(0, chunks - 1), min_size=2, max_size=2)))
    size, step = header(0).size, CHUNK + TAG_BYTES
    parts = [file[size + at * step : size + (at + 1) * step] for at in range(chunks)]
    parts[one], parts[two] = parts[two], parts[one]
    with pytest.raises(Tampered) as refused:
        whole(file[:size] + b"".join(parts))
    assert refused.value.chunk == one
    with pytest.raises(Tampered):
        opened(file[:size] + b"".join(parts)).read(two * CHUNK, 1)


@pytest.mark.parametrize(
    ("other", "refusal"),
    [
        (lambda head: replace(head, recording_id=OTHER), sealed.WrongRecording),
        (lambda head: replace(head, region="us"), sealed.WrongRegion),
        (lambda head: replace(head, key_id=b"key-id-2"), sealed.WrongKey),
        (lambda head: replace(head, prefix=b"7xiferp"), Tampered),
    ],
)
def test_a_file_or_chunk_of_another_is_refused(
    other: Callable[[Header], Header], refusal: type[RecordingDamaged]
) -> None:
    """The whole file in the place of this one, by name; its chunk among ours even under the same key."""
    plain = bytes(3 * CHUNK)
    mine, head = sealed_file(plain), other(header(len(plain)))
    theirs = sealed_file(plain, head)
    with pytest.raises(refusal):
        whole(theirs if refusal is not Tampered else mine[: head.size] + theirs[head.size :])
    begin, step = head.size + CHUNK + TAG_BYTES, CHUNK + TAG_BYTES
    with pytest.raises(Tampered) as refused:
        whole(mine[:begin] + theirs[begin : begin + step] + mine[begin + step :])
    assert refused.value.chunk == 1


def test_another_key_opens_nothing() -> None:
    with pytest.raises(Tampered):
        whole(sealed_file(b"said"), OTHER_KEY)


def test_what_is_not_of_the_size_promised_is_not_sealed() -> None:
    for size in (99, 101):
        with pytest.raises(ValueError, match="instead of"):
            sealed_file(bytes(100), header(size))


@pytest.mark.parametrize(
    "change",
    [
        {"recording_id": "x"},
        {"region": ""},
        {"region": "r" * 32},
        {"key_id": b"short"},
        {"prefix": b""},
        {"chunk_bits": 9},
        {"plain_size": -1},
        {"plain_size": 1 << 43},
    ],
)
def test_a_header_cannot_say_what_is_not(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sealed recording|of its length"):
        replace(header(0), **change)  # type: ignore[arg-type]
