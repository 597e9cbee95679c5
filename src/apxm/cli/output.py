"""What goes to standard output: data, and what a program prints."""

from __future__ import annotations

import codecs
import re
import sys

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def for_terminal(text: str) -> str:
    """`text` without the power to drive a terminal: control characters, and those that reverse text, are escaped.

    Unlike `printable` it keeps line ends, tabs and every kind of space: this is an answer to be read, not a quotation.
    """
    plain = text.replace("\r\n", "\n")
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), plain)


def write(text: str, json: bool = False, end: str = "\n") -> None:
    """Writes text and its end to standard output at once; as it is, except on a terminal (`for_terminal`).

    A text that is `json` stays JSON: what the encoding may lack, and what could drive a terminal, becomes JSON's own
    escapes. Beyond ASCII such characters stand in strings only.

    Raises `OutputClosedError` where nobody reads on, `ApxmError` where it cannot be written.
    """
    if json and codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8":
        text = _NOT_ASCII.sub(_json_escape, text)
    if sys.stdout.isatty():
        text = _CONTROL.sub(_json_escape, text) if json else for_terminal(text)
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
