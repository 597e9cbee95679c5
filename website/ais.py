"""The colours of AIS on the site: an extension of Python-Markdown that tells Pygments of the language."""

from __future__ import annotations

from markdown import Extension, Markdown
from pygments.lexer import RegexLexer, words
from pygments.lexers import LEXERS
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from apxm.language.lalr import KEYWORDS
from apxm.operations.catalog import AVAILABLE
from apxm.operations.types import SCALARS

__all__ = ["AisLexer"]  # what Pygments looks at


class AisLexer(RegexLexer):
    """Only words are told apart, by the tables of the language; what they mean where they stand is not looked at."""

    name = "AIS"
    aliases = ["ais"]
    tokens = {
        "root": [
            (r"\s+", Whitespace),
            (r"//.*", Comment.Single),
            (r'f?"(\\.|[^"\\])*"', String),
            (r"\d+(\.\d+)?", Number),
            (r"@\w+", Name.Decorator),
            (words(tuple(AVAILABLE), prefix=r"\b", suffix=r"\b"), Name.Builtin),
            (words(tuple(SCALARS), prefix=r"\b", suffix=r"\b"), Keyword.Type),
            (words(tuple(KEYWORDS), prefix=r"\b", suffix=r"\b"), Keyword),
            (r"\w+", Name),
            (r"->|=>|[-+*/%<>=!?]", Operator),
            (r".", Punctuation),
        ]
    }


class Ais(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: ARG002, N802 - the name and the parameter are Python-Markdown's
        LEXERS[AisLexer.__name__] = (__name__, AisLexer.name, tuple(AisLexer.aliases), (), ())


makeExtension = Ais  # noqa: N816 - Python-Markdown looks for it
