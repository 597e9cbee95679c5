"""From a path to a source, and the limits on both."""

import os
from pathlib import Path

import pytest

from apxm.errors import SourceError, UsageError
from apxm.language.checker import check
from apxm.language.parser import LARGEST_SOURCE, parse, read_source
from apxm.source import SourceFile


def write(folder: Path, content: bytes) -> Path:
    path = folder / "w.ais"
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_source(path)
    return str(caught.value).replace(str(path), "w.ais")


def test_a_file_is_read_as_it_is(tmp_path: Path):
    source = read_source(write(tmp_path, "agent Ä {\r\n}\n".encode()))
    assert source.text == "agent Ä {\r\n}\n"
    assert source.path == str(tmp_path / "w.ais")


def test_a_byte_order_mark_is_skipped(tmp_path: Path):
    assert read_source(write(tmp_path, b"\xef\xbb\xbfagent A { }")).text == "agent A { }"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.ais", "there is no such file"),
        (".", "this is a directory, expected a file"),
        ("file/below", "the file cannot be read: Not a directory"),
        ("nul\0", "the file cannot be read: embedded null byte"),
    ],
)
def test_what_is_no_file_is_a_usage_error(tmp_path: Path, name: str, message: str):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        read_source(tmp_path / name)
    assert caught.value.message == message
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is readable here")
def test_an_unreadable_file_is_a_usage_error(tmp_path: Path):
    path = write(tmp_path, b"agent A { }")
    path.chmod(0)
    with pytest.raises(UsageError, match="the file cannot be read: Permission denied"):
        read_source(path)


def test_bytes_that_are_not_utf8_are_named_with_their_place(tmp_path: Path):
    assert refusal(write(tmp_path, 'agent Ä {\n  system: "é'.encode() + b'\xff" }\n')) == (
        "w.ais:2:13: error[not-utf8]: the byte 0xff here is not UTF-8\n"
        ' 2 |   system: "é�" }\n'
        "   |             ^\n"
        "   help: save the file as UTF-8"
    )


def test_a_file_that_ends_within_a_character(tmp_path: Path):
    assert "w.ais:1:3: error[not-utf8]: the byte 0xe2 here is not UTF-8" in refusal(write(tmp_path, b"//\xe2\x82"))


def test_a_file_over_the_limit_is_refused(tmp_path: Path):
    assert refusal(write(tmp_path, b"agent A { }" + b" " * LARGEST_SOURCE)).startswith(
        "w.ais:1:1: error[too-large]: the source is larger than the limit of 2 MiB\n"
    )


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_at_the_limit_is_read(tmp_path: Path, mark: bytes):
    content = b"agent A { }".ljust(LARGEST_SOURCE)
    assert len(read_source(write(tmp_path, mark + content)).text) == LARGEST_SOURCE
    assert "too-large" in refusal(write(tmp_path, mark + content + b" "))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_an_endless_file_is_not_read_to_its_end():
    assert "too-large" in refusal(Path("/dev/zero"))


def code_of(text: str) -> str:
    with pytest.raises(SourceError) as caught:
        check(parse(SourceFile("w.ais", text)))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code


def test_the_limit_counts_bytes_not_characters():
    assert code_of("//" + "é" * (LARGEST_SOURCE // 2)) == "too-large"


def test_half_a_surrogate_pair_in_the_text_is_refused():
    assert code_of('agent A { system: "\ud800" }') == "not-utf8"


def test_an_empty_file_holds_no_agent(tmp_path: Path):
    assert code_of(read_source(write(tmp_path, b"")).text) == "no-agent"
