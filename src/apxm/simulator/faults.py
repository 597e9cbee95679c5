"""What a client gets that meets a fault."""

from __future__ import annotations

import re
import struct
import zlib
from functools import cache

from apxm.backends.faults import RETRY_AFTER_S, FaultKind
from apxm.simulator.answers import ServedAnswer
from apxm.simulator.replies import EVENT_STREAM, HTML, JSON, Reply, error

BOMB_SIZE = 1 << 30
"""Bytes of text that the bomb's answer inflates to, give or take a few."""
_BLOCK = 1 << 20
_REDIRECTED = b"/v1/chat/redirected"
"""Nothing is there: a client that follows gets a 404, and the metrics show it."""
_TEXTS = re.compile(rb'"(content|arguments|text|delta|object)":"')
"""Where the texts of an answer begin, whatever the page."""


def refusal(fault: FaultKind) -> Reply:
    """The answer of an endpoint that does no work."""
    if fault == "redirect":
        return Reply(302, b"", headers=b"Location: %b\r\n" % _REDIRECTED)
    if fault == "429":
        wait = b"Retry-After: %d\r\n" % RETRY_AFTER_S
        return error(429, "Too many requests (a simulated fault).", code="rate_limit_exceeded", headers=wait)
    if fault == "no_format":
        message = "'response_format' of this type is not supported (a simulated fault)."
        return error(400, message, param="response_format")
    return error(int(fault), "The server failed (a simulated fault).")


def spoiled(fault: FaultKind, answer: ServedAnswer, *, stream: bool, headers: bytes) -> Reply:
    """An answer that comes, and is none."""
    if fault == "content_type":
        return Reply(200, b"<!DOCTYPE html><title>Bad gateway</title>", HTML, headers)
    if fault == "bomb":
        return Reply(200, bomb(), JSON, b"Content-Encoding: gzip\r\n" + headers)
    sound = sound_body(answer, stream=stream)
    if fault == "truncated":
        body = sound[: len(sound) // 2]
    elif fault == "utf8":
        body = _TEXTS.sub(b"\\g<0>\xff", sound)  # no text holds what is looked for: its quotes are escaped
    elif fault == "refusal":
        body = answer.refusing(stream=stream)
    else:
        body = answer.without_choices(stream=stream)
    return Reply(200, body, EVENT_STREAM if stream else JSON, headers)


def sound_body(answer: ServedAnswer, *, stream: bool) -> bytes:
    return answer.stream(by_token=False).all() if stream else answer.whole()


@cache
def bomb() -> bytes:
    """A completion of `BOMB_SIZE` letters, gzipped to a thousandth of that, which is as small as gzip can.

    A full flush ends a block on a whole byte and forgets what came before, so one compressed block, repeated, is the
    compressed text of as many.
    """
    before = b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "'
    block, blocks, after = b"A" * _BLOCK, BOMB_SIZE // _BLOCK, b'"}}]}'
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = deflate.compress(before) + deflate.flush(zlib.Z_FULL_FLUSH)
    middle = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    tail = deflate.compress(after) + deflate.flush()
    checksum = zlib.crc32(before)
    for _ in range(blocks):
        checksum = zlib.crc32(block, checksum)
    size = len(before) + BOMB_SIZE + len(after)
    end = struct.pack("<II", zlib.crc32(after, checksum), size % (1 << 32))
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + head + middle * blocks + tail + end
