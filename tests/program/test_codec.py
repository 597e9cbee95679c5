"""Artifacts: what goes in comes out, and everything else is refused with a message of its own."""

from __future__ import annotations

import contextlib
import hashlib
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.errors import ArtifactError
from apxm.program.codec import FORMAT_VERSION, MAGIC, artifact_of, decode, encode
from apxm.program.expressions import Literal, TextOf
from apxm.program.nodes import Input, Operate
from apxm.program.verify import DEEPEST_EXPRESSION
from tests.plans import ask, give, merge, plan, program
from tests.random_plans import random_program

SMALL = program(plan(ask("Größe 🙂"), ask("b"), merge(0, 1), give(2)))
GOOD = encode(SMALL)
HEADER = 52


@given(seed=st.integers(0, 2**32))
def test_round_trip(seed: int) -> None:
    made = random_program(Random(seed))
    data = encode(made)
    assert decode(data) == made
    assert encode(decode(data)) == data


def test_the_artifact_of_a_program_is_made_once_and_of_each_its_own() -> None:
    made = program(plan(ask("a"), give(0)))
    artifact, digest = artifact_of(made)
    assert (artifact, digest) == (encode(made), hashlib.sha256(artifact).hexdigest())
    assert artifact_of(made)[0] is artifact
    other = msgspec.structs.replace(made, optimization_level=made.optimization_level + 1)
    assert artifact_of(other)[0] == encode(other) != artifact


def test_the_keys_of_objects_keep_their_order() -> None:
    value = {"zeta": [{"b": 1, "a": 2}], "alpha": None}
    options = {"temperature": Literal(0.5), "max_tokens": Literal(9)}
    asking = msgspec.structs.replace(ask("x"), arguments=(Literal("x"), Literal(value)), options=options)
    made = program(plan(Input(), asking, give(1)), parameters=1)
    parameter = msgspec.structs.replace(made.flows[0].parameters[0], type="json", required=False, default=value)
    flow = msgspec.structs.replace(made.flows[0], parameters=(parameter,))
    again = decode(encode(msgspec.structs.replace(made, flows=(flow,))))
    node = again.plans[0].nodes[1]
    assert isinstance(node, Operate)
    assert repr(node) == repr(asking)
    assert repr(again.flows[0].parameters[0].default) == repr(value)


def resealed(payload: bytes, names: int, *, version: int = FORMAT_VERSION, flags: int = 0, extra: int = 0) -> bytes:
    """An artifact with a correct digest over whatever payload."""
    sizes = names.to_bytes(4, "little") + (len(payload) + extra).to_bytes(8, "little")
    head = MAGIC + version.to_bytes(2, "little") + flags.to_bytes(2, "little") + sizes
    return head + hashlib.sha256(payload).digest() + payload


NAMES = int.from_bytes(GOOD[8:12], "little")
PAYLOAD = GOOD[HEADER:]

DAMAGED = {
    "empty": (b"", "it is empty"),
    "something else": (b"PK\x03\x04" + GOOD, "it starts with b'PK\\x03\\x04' instead of b'APXM'"),
    "source text": (b"agent A {}", "this is not an A-PXM artifact"),
    "short header": (GOOD[:20], "its header has 52 bytes, found 20"),
    "older version": (resealed(PAYLOAD, NAMES, version=0), "has format version 0; this apxm reads version 2"),
    "newer version": (resealed(PAYLOAD, NAMES, version=3), "has format version 3; this apxm reads version 2"),
    "unknown flags": (resealed(PAYLOAD, NAMES, flags=4), "features that this apxm does not know (flags 0x0004)"),
    "truncated": (GOOD[:-1], "is truncated: it should have"),
    "over-long": (GOOD + b"\0", "is over-long: 1 bytes follow its"),
    "damaged": (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "does not match its digest"),
    "names too long": (resealed(PAYLOAD, len(PAYLOAD) + 1), "more than its whole payload"),
    "no MessagePack": (resealed(b"\xc1" * 20, 0), "program section is not a valid one"),
    "wrong type": (resealed(msgspec.msgpack.encode({"a": 1}), 0), "program section is not a valid one"),
    "no names": (resealed(PAYLOAD[:-NAMES], 0), "names section is not a valid one"),
    "nested lists": (resealed(b"\x91" * 200_000, 0), "program section"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_bad_artifact_is_refused_with_its_own_message(name: str) -> None:
    data, message = DAMAGED[name]
    with pytest.raises(ArtifactError) as caught:
        decode(data)
    assert message in str(caught.value)


def test_an_expression_deeper_than_the_limit_is_refused_before_anything_recurses_over_it() -> None:
    deep = TextOf((Literal("x"),))
    for _ in range(DEEPEST_EXPRESSION + 1):
        deep = TextOf((deep,))
    bad = program(plan(msgspec.structs.replace(ask("x"), arguments=(deep,))))
    with pytest.raises(ArtifactError, match="deeper than 64 levels"):
        decode(encode(bad))


@settings(max_examples=300)
@given(position=st.integers(0, len(PAYLOAD) - 1), replacement=st.binary(min_size=1, max_size=4))
def test_mutated_payloads_with_a_right_digest_are_a_program_or_an_error_of_ours(
    position: int, replacement: bytes
) -> None:
    payload = PAYLOAD[:position] + replacement + PAYLOAD[position + len(replacement) :]
    with contextlib.suppress(ArtifactError):
        decode(resealed(payload, NAMES))
