"""Which case of a `switch` a text belongs to: the one place that decides it, before a run and in it."""

from __future__ import annotations

from collections.abc import Container

_ENDINGS = ".,;:!?…。，、；：！？．"
_PAIRS = {
    **{mark: mark for mark in "\"'`*_~"},
    **dict(zip("“‘„‚«‹「『([{<（【", "”’“‘»›」』)]}>）】", strict=True)),
}
_MOST_LAYERS = 16
"""Marks around a label that are looked behind; an answer can be a megabyte of full stops."""


def fold_label(text: str) -> str:
    """A label as it is compared: trimmed and case-folded."""
    return text.strip().casefold()


def matching_label(text: str, labels: Container[str]) -> str | None:
    """The one of `labels`, which are folded, that `text` is; None where it is none of them.

    Models write ``Billing.``, ``"billing"`` and ``**Billing**`` for ``billing``. So a text that is no label is compared
    again without what encloses it, layer by layer: punctuation at its end, and quotes, brackets or emphasis around it.
    Of labels that differ in these alone the longest matches, so a label that holds such marks is what it says.
    """
    found = fold_label(text)
    for _ in range(_MOST_LAYERS):
        if found in labels:
            return found
        found = _without_outermost(found)
        if not found:
            break
    return None


def _without_outermost(text: str) -> str:
    """Empty where nothing encloses anything."""
    if text[-1:] in _ENDINGS:
        return text[:-1].rstrip()
    if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    return ""
