"""Read etcd's database file without etcd: what can still be read of a cluster whose API server does not come up.

The file is one of bbolt (https://github.com/etcd-io/bbolt, ``internal/common``): pages, of which two at the beginning
name the root of a tree of buckets. In the bucket ``key`` etcd keeps each revision of each key as a message ``KeyValue``
(https://github.com/etcd-io/etcd, ``api/mvccpb/kv.proto``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

MAGIC = 0xED0CDAED
META, PAGE, ELEMENT = 80, 16, 16
BRANCH_PAGE, LEAF_PAGE, META_PAGE, BUCKET_ELEMENT = 0x01, 0x02, 0x04, 0x01
# A revision is two numbers of 8 bytes with a sign between them, and a mark behind them where it deletes the key.
REVISION, TOMBSTONE = 17, b"t"
PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)


class EtcdError(Exception):
    """A database that cannot be read, in one line."""


class DamageError(EtcdError):
    """A page that is not what it should be."""


def read(file: Path, prefix: str) -> tuple[dict[str, bytes], bool]:
    """The keys below a prefix with their values.

    Args:
        file: ``member/snap/db`` below etcd's folder. What etcd wrote in the last tenth of a second before it was killed
            may lie in its log alone, and is missing here.
        prefix: Such as ``/registry/secrets/``.

    Returns:
        The values by key; and whether they are all there were. They may not be where the tree is damaged: then each
        page is looked at by itself, and what a page held before may be among what is found.

    Raises:
        EtcdError: There is no such file, or it holds no database.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise EtcdError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return _latest(_walk(data), prefix), True
    except (DamageError, struct.error):
        found = _latest(_scan(data), prefix)
    if not found:
        raise EtcdError(f"{file} is damaged, and nothing in it can be read")
    return found, False


def _latest(revisions: Iterator[tuple[bytes, bytes]], prefix: str) -> dict[str, bytes]:
    """The newest value of each key that was not deleted after it."""
    newest: dict[bytes, tuple[bytes, bytes | None]] = {}
    wanted = prefix.encode()
    for revision, message in revisions:
        try:
            fields = dict(protobuf(message))
            key, value = fields[1], fields.get(5, b"")
        except (ValueError, KeyError):
            continue
        if not isinstance(key, bytes) or not isinstance(value, bytes) or not key.startswith(wanted):
            continue
        if key not in newest or revision[:REVISION] > newest[key][0]:
            newest[key] = (
                revision[:REVISION],
                None if revision.endswith(TOMBSTONE) and len(revision) > REVISION else value,
            )
    return {key.decode(errors="replace"): value for key, (_, value) in newest.items() if value is not None}


def _walk(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    size, root = _meta(data)
    buckets = {key: value for flags, key, value in _leaves(data, size, root) if flags & BUCKET_ELEMENT}
    if b"key" not in buckets:
        raise DamageError("there is no bucket of keys")
    (root,) = struct.unpack_from("<Q", buckets[b"key"])
    if root == 0:
        raise DamageError("the bucket of keys is empty")
    for _, key, value in _leaves(data, size, root):
        yield key, value


def _meta(data: bytes) -> tuple[int, int]:
    """The size of a page and the page of the root, by the newer one of the two first pages that is whole."""
    found = []
    for size in PAGE_SIZES:
        for start in (0, size):
            if len(data) < start + META:
                continue
            magic, version, page_size, _, root, _, _, _, transaction, checksum = struct.unpack_from(
                "<IIIIQQQQQQ", data, start + PAGE
            )
            whole = magic == MAGIC and version == 2 and page_size == size
            if whole and checksum == _fnv(data[start + PAGE : start + PAGE + META - PAGE - 8]):
                found.append((transaction, size, root))
        if found:
            break
    if not found:
        raise DamageError("its first pages are damaged")
    _, size, root = max(found)
    return size, root


def _fnv(data: bytes) -> int:
    """FNV-1a of 64 bits, http://www.isthe.com/chongo/tech/comp/fnv/."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _leaves(data: bytes, size: int, page: int) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements of all leaves below a page: flags, key and value."""
    pages, seen = [page], set()
    while pages:
        page = pages.pop()
        start = page * size
        if page in seen or start + PAGE > len(data):
            raise DamageError(f"page {page} is not there")
        seen.add(page)
        found, flags, count, _ = struct.unpack_from("<QHHI", data, start)
        if found != page or not flags & (BRANCH_PAGE | LEAF_PAGE):
            raise DamageError(f"page {page} is damaged")
        if flags & LEAF_PAGE:
            yield from _elements(data, start, count)
            continue
        places = range(start + PAGE, start + PAGE + count * ELEMENT, ELEMENT)
        pages.extend(struct.unpack_from("<IIQ", data, place)[2] for place in places)


def _elements(data: bytes, start: int, count: int) -> Iterator[tuple[int, bytes, bytes]]:
    for number in range(count):
        place = start + PAGE + number * ELEMENT
        flags, offset, key_size, value_size = struct.unpack_from("<IIII", data, place)
        begin = place + offset
        if begin + key_size + value_size > len(data):
            raise DamageError("an element ends behind the file")
        yield flags, data[begin : begin + key_size], data[begin + key_size : begin + key_size + value_size]


def _scan(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every revision in every page that looks like a leaf, whether or not a tree leads to it."""
    try:
        size, _ = _meta(data)
    except DamageError:
        size = PAGE_SIZES[0]
    for start in range(0, len(data) - PAGE, size):
        page, flags, count, _ = struct.unpack_from("<QHHI", data, start)
        if page != start // size or not flags & LEAF_PAGE:
            continue
        try:
            for _, key, value in _elements(data, start, count):
                if len(key) in (REVISION, REVISION + 1) and key[8:9] == b"_":
                    yield key, value
        except (DamageError, struct.error):
            continue


def protobuf(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message of protobuf (https://protobuf.dev/programming-guides/encoding/), each with its number.

    Raises:
        ValueError: It is none.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
        elif kind == 2:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise ValueError("a field ends behind the message")
            yield number, message[place : place + length]
            place += length
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("a number ends behind the message")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")
