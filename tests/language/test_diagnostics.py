"""Every diagnostic, as a program and what is said about it.

After a change of wording, `python -m tests.language.diagnostic_snippets` rewrites the expected texts.
"""

import pytest

from apxm.language.codes import CODES
from tests.language.diagnostic_snippets import Snippet, diagnose, rendered, snippets

SNIPPETS = list(snippets())

NOT_IN_SNIPPETS = {"too-large", "not-utf8"}
"""Their inputs are not text for a page; test_reading.py has them."""


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_program_gets_exactly_these_diagnostics(snippet: Snippet):
    assert rendered(snippet.source) == snippet.expected


def test_every_code_is_produced_and_listed():
    produced = {diagnostic.code for snippet in SNIPPETS for diagnostic in diagnose(snippet.source)}
    assert produced == CODES.keys() - NOT_IN_SNIPPETS
