"""Every code that a diagnostic can carry, with one line of meaning. docs/language.md shows this table."""

from __future__ import annotations

from types import MappingProxyType

CODES: MappingProxyType[str, str] = MappingProxyType(
    {
        # the text
        "too-large": "The file is larger than 2 MiB.",
        "not-utf8": "The file holds bytes that are not UTF-8.",
        "too-deep": "Brackets, fields or a type nest deeper than 64 levels, or a record has over 1,000 fields in all.",
        "bad-character": "A character that AIS does not use stands outside of text and comments.",
        "unclosed-text": "A text has no closing quote.",
        "unclosed-comment": "A `/*` has no `*/`.",
        "unclosed-bracket": "The file ends before a `{`, `(` or `[` is closed.",
        "syntax": "Something else was expected here.",
        "bad-escape": "A `\\` in a text is followed by something that is not an escape.",
        "bad-interpolation": "The braces of an f-string hold something other than a name and its fields.",
        "bad-number": "A number does not fit: whole numbers have 64 bits, others are finite doubles.",
        "duplicate-key": "A key stands twice in one `{…}`.",
        # declarations
        "no-agent": "The file holds no agent.",
        "no-entry": "No flow is marked `@entry`, and there is neither a single flow nor one named `main`.",
        "ambiguous-entry": "Several flows could be the entry.",
        "reserved-word": "A word of the language is used as a name.",
        "operation-name": "A flow or capability has the name of an operation.",
        "duplicate-name": "An agent, record, field, flow, parameter, default or annotation is declared twice.",
        "unknown-annotation": "An annotation that does not exist.",
        "unknown-default": "An agent default that does not exist.",
        "unknown-type": "A type that does not exist.",
        "record-cycle": "A record holds itself, directly or through others.",
        "flow-cycle": "A flow calls itself, directly or through others.",
        # names
        "undefined-name": "A name that nothing binds.",
        "use-before-binding": "A name is used before the statement that binds it.",
        "already-bound": "A name is bound a second time, or hides one that is visible.",
        "unknown-operation": "A call of something that is neither an operation nor a flow of this agent.",
        "unknown-agent": "A call of a flow of an agent that does not exist.",
        "unknown-flow": "A call of a flow that the agent does not have.",
        # arguments
        "missing-argument": "A call lacks an argument.",
        "too-many-arguments": "A call has more arguments than there are parameters.",
        "unknown-argument": "A named argument that the operation, flow or construct does not have.",
        "duplicate-argument": "An argument is given twice, or beside one that it excludes.",
        "argument-order": "A positional argument stands after a named one.",
        "not-literal": "Something must be written out as a literal here.",
        "out-of-range": "A number is outside of what the argument allows.",
        "unknown-choice": "A text is not one of those that the argument allows, such as a memory tier.",
        "bad-choices": "The `choices` of a call are none, blank, or equal after trimming and case folding.",
        "bad-tools": "The `tools` of a call are no list of the program's capabilities, or hold one twice.",
        "empty-prompt": "A model call has neither a prompt nor context.",
        "empty-name": "A capability is called by an empty name.",
        # types
        "wrong-type": "A value has a type that does not fit.",
        "misplaced-content": "An image or a file stands elsewhere than among the context of a model call.",
        "bad-addition": "`+` has two sides of which neither is text, and that are neither two numbers nor two lists.",
        "bad-pattern": "A regular expression is none, or holds what cannot be told in linear time.",
        "missing-field": "A record that is written out lacks a field that has no default.",
        "no-field": "A field of something that has none of this name.",
        "no-value": "Something that gives no value is used as one.",
        # control
        "empty-switch": "A `switch` without a `case`.",
        "duplicate-label": "Two cases of a `switch` have the same label after trimming and case folding.",
        "missing-case": "A `switch` without `default` has no case for one of the texts that its value can be.",
        "impossible-case": "The value of a `switch` is known never to be the label of this case.",
        "impossible-comparison": "A value is known never to be the text that it is compared with.",
        "arm-types": "The arms of a bound construct give different types.",
        "missing-return": "A path ends without the `return` that is needed.",
        "misplaced-return": "A `return` stands inside a construct that is neither bound nor last.",
        "unexpected-return": "A flow without a result type returns a value.",
        "outside-loop": "An `until` or `next` stands elsewhere than directly in the block of its loop.",
        "missing-next": "A loop carries a name that no `next` gives a value.",
        "unreachable": "A statement after a `return`.",
        "useless-arm": "A value in an arm of a construct that gives no value.",
        # versions, warnings
        "not-yet": "Part of AIS that this version cannot run yet.",
        "comment-operand": "Warning: `//` begins a comment, and what stands behind it looks like an operand.",
        "no-effect": "Warning: something is accepted that has no effect here.",
        "placeholder": "Warning: a plain text holds the name of a value in braces, and only f-strings put values in.",
        "ordered-turns": "Warning: calls of a tool that may change something keep the turns of a `for` in order.",
        "unused-result": "Warning: nothing uses the result of a call without effects, so it is made at -O0 only.",
    }
)
