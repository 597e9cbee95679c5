"""Makes grammar.json, the tables of the parser, of grammar.lark: `make grammar`.

Lark is needed for this alone, so a user of the package never has it. To build the tables takes it 80 ms, more than all
the rest of `apxm check`, so they are kept; as JSON, since what lark itself writes is unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

# By their places: a file of tables that is missing, or from a merge, is no reason not to make it anew.
GRAMMAR = Path(__file__).parents[2] / "src/apxm/language/grammar.lark"
TABLES = GRAMMAR.with_suffix(".json")
END = "$END"
"""What lark calls the end of the text."""


def tables() -> str:
    """The content of grammar.json."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import Shift

    lark: Any = Lark(GRAMMAR.read_text(encoding="utf-8"), parser="lalr", keep_all_tokens=True, maybe_placeholders=False)
    table: Any = lark.parser.parser._parse_table
    (start,), (end,) = table.start_states.values(), table.end_states.values()
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    # Lark numbers the states anew each time. Here they are counted as they are reached, so that equal grammars have
    # equal tables.
    numbers = {start: 0}
    rows: list[dict[str, int]] = []
    for state in (reached := [start]):
        row = sorted(table.states[state].items())
        for _, (action, target) in row:
            if action is Shift and target not in numbers:
                numbers[target] = len(reached)
                reached.append(target)
        rows.append({kind: numbers[target] if action is Shift else ~rules[target] for kind, (action, target) in row})
    rows[numbers[end]] = {END: numbers[end]}
    # As lark's lexer tries them. A keyword is a name to the expression, so it has no part in it.
    terminals = sorted(lark.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    is_word = {t.name: isinstance(t.pattern, PatternStr) and t.pattern.value.isidentifier() for t in terminals}
    ignored = set(lark.ignore_tokens)
    token = "|".join(
        f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in terminals if t.name not in ignored and not is_word[t.name]
    )
    skipped = f"(?:{'|'.join(t.pattern.to_regexp() for t in terminals if t.name in ignored)})*+"
    content = {
        "keywords": {t.pattern.value: t.name for t in terminals if is_word[t.name]},
        "skipped": skipped,
        "token": f"{skipped}(?:{token})",
        "rules": [_rule(rule) for rule in lark.rules],
        "rows": rows,
    }
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_lines(value)}" for name, value in content.items()) + "\n}\n"


def _rule(rule: Any) -> tuple[str, int, str | None, list[int]]:
    """As `apxm.language.lalr` reads it: its name, its size, the method that builds its value, and which of its parts
    are repetitions. The method is empty for a repetition, and None for a rule that is its one part."""
    origin, parts = str(rule.origin.name), [str(part.name) for part in rule.expansion]
    spliced = [position for position, name in enumerate(parts) if name.startswith("_")]
    passes = rule.options.expand1 and len(parts) == 1
    return origin, len(parts), None if passes else "" if origin.startswith("_") else origin, spliced


def _lines(value: Any) -> str:
    """JSON with a row on each line, so that changes of the grammar can be reviewed."""
    if not isinstance(value, list):
        return json.dumps(value)
    rows = cast(list[Any], value)
    return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"


if __name__ == "__main__":
    TABLES.write_text(tables(), encoding="utf-8")
