"""The types of expressions. `apxm.language.flow_calls` has those of calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apxm.language import syntax
from apxm.language.declarations import Findings
from apxm.language.elsewhere import NO_TERNARY, cast_advice, field_advice
from apxm.language.narrowing import path_of, present_where
from apxm.language.records import resolve
from apxm.language.report import UNKNOWN
from apxm.language.scopes import Scopes
from apxm.operations.functions import CONCATENATION, FUNCTIONS, ITEM_OF, NEGATION, PART_OF
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.signatures import resolve_call
from apxm.operations.types import (
    BOOL,
    DEEPEST_TYPE,
    FLOAT,
    INT,
    JSON,
    LITERAL_TYPES,
    NONE,
    NOTHING,
    STR,
    VERDICT,
    Type,
    assignable,
    castable,
    common_type,
    list_of,
)
from apxm.source import Span

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class FlowExpressions:
    """The expressions of one flow, or the literals outside of flows: calls have a class of their own."""

    def __init__(self, findings: Findings) -> None:
        self.scopes = Scopes(findings.report)
        self._findings = findings
        self._types = findings.types
        self._report = findings.report
        self._written_out = False

    def _call(self, call: syntax.CallExpression) -> Type:
        """The type of what a call gives, `NONE` included."""
        raise AssertionError(f"{call.span.place}: a call outside of a flow")

    def _choices_of_call(self, call: syntax.CallExpression) -> tuple[str, ...]:
        """`choices_of` a call that was looked at already."""
        raise AssertionError(f"{call.span.place}: a call outside of a flow")

    def value(self, expression: syntax.Expression) -> Type:
        """The type of something that must give a value."""
        found = self.any(expression)
        if found == NONE and isinstance(expression, syntax.CallExpression):
            message = f"`{expression.written}` gives no value, and one is needed here"
            self._report.error("no-value", message, expression.span)
            return UNKNOWN
        return found

    def fit(self, expression: syntax.Expression, expected: Type, what: str) -> Type:
        """The type of something that must convert to `expected`; `what` says in an error what it is for."""
        if isinstance(expression, syntax.ListDisplay) and expected.present.is_list:
            expected = expected.present
            for item in expression.items:
                self.fit(item, expected.element or JSON, f"an item of {what}")
            self._types[expression] = expected
            return expected
        if isinstance(expression, syntax.DictDisplay) and expected.present.fields is not None:
            return self._record(expression, expected.present)
        found = self.value(expression)
        if UNKNOWN in (found, expected) or assignable(found, expected):
            return found
        message = f"found `{found}`, expected `{expected}` for {what}"
        self._report.error("wrong-type", message, expression.span, self._conversion(found, expected))
        return UNKNOWN

    def _conversion(self, found: Type, expected: Type) -> str | None:
        if self._written_out:
            return None
        if expected == STR and found.is_list and found.element == STR:
            return 'one text of all its items is `join(xs, "\\n")`, and one of them `xs[0]`'
        if expected == STR and not found.is_optional:
            return 'make it text: `"" + …`'
        if expected == BOOL and found == STR:
            return 'a comparison says whether something holds: `x == "yes"`'
        if (found, expected) == (FLOAT, INT):
            return "a float is never made an int; a whole number is read from a text by `parse_json(text) as int`"
        if not castable(found, expected):
            return None
        return f"`x as {expected}` is one, and fails where {'it is null' if found.is_optional else 'the value is not'}"

    def _record(self, display: syntax.DictDisplay, expected: Type) -> Type:
        """An object that is written out where a record is expected, field by field."""
        fields = {field.name: field for field in expected.fields or ()}
        for key, value in zip(display.keys, display.values, strict=True):
            field = fields.get(str(key.value))
            if field is None:
                advice = self._report.near(str(key.value), fields) or f"its fields are {', '.join(fields) or 'none'}"
                self._report.error("no-field", f'`{expected}` has no field "{key.value}"', key.span, advice)
                self.value(value)
                continue
            self.fit(value, field.type, f"`{field.name}` of `{expected}`")
            if field.choices and isinstance(value, syntax.Constant) and value.value not in field.choices:
                listed = ", ".join(f'"{choice}"' for choice in field.choices)
                message = f"`{field.name}` of `{expected}` is one of {listed}"
                self._report.error("unknown-choice", message, value.span)
        given = {key.value for key in display.keys}
        if lacking := [f"`{name}`" for name, field in fields.items() if field.default is None and name not in given]:
            message = f"this `{expected}` lacks {', '.join(lacking)}"
            self._report.error("missing-field", message, display.span.first(1))
        self._types[display] = expected
        return expected

    def fit_literal(self, expression: syntax.Expression, expected: Type, what: str) -> Type:
        """Does as `fit`, for something that must be written out."""
        written_out, self._written_out = self._written_out, True
        try:
            return self.fit(expression, expected, what)
        finally:
            self._written_out = written_out

    def any(self, expression: syntax.Expression) -> Type:
        """The type of something that need not give a value."""
        found = self._infer(expression)
        self._types[expression] = found
        return found

    def gave_value(self, expression: syntax.Expression) -> bool:
        """Whether the expression, which was looked at already, has a value."""
        return self._types[expression] != NONE

    def is_bound(self, name: str) -> bool:
        return self.scopes.holds(name)

    def is_blank(self, expression: syntax.Expression) -> bool:
        """Whether this is text of blanks alone, or none, in every run.

        It asks for no more than that, and never for the text itself, which forty lines of `let b = a + a` make too long
        to hold: a joined text is blank if all its parts are.
        """
        match expression:
            case syntax.Constant(value=value):
                return isinstance(value, str) and not value.strip()
            case syntax.FormatText() | syntax.Arithmetic():
                return all(map(self.is_blank, expression.expressions))
            case _:
                return isinstance(expression, syntax.Name) and self.scopes.is_blank(expression.text)

    def _infer(self, expression: syntax.Expression) -> Type:
        match expression:
            case syntax.Constant():
                self._warn_of_placeholder(expression)
                return LITERAL_TYPES[type(expression.value)]
            case syntax.FormatText():
                for part in expression.parts:
                    self.value(part)
                return STR
            case syntax.ListDisplay():
                return self._list(expression)
            case syntax.DictDisplay():
                for item in expression.values:
                    self.value(item)
                return JSON
            case syntax.Name():
                return self._name(expression)
            case syntax.FieldOf():
                return self._field(expression)
            case syntax.Cast():
                return self._cast(expression)
            case syntax.TypeOrNull():
                self._report.error("syntax", "a type stands here, expected a value", expression.span, NO_TERNARY)
                return UNKNOWN
            case syntax.Item():
                return self._item(expression)
            case syntax.Part():
                return self._part(expression)
            case syntax.Arithmetic():
                return self._arithmetic(expression)
            case syntax.Negative():
                return self.applied(NEGATION, (self.value(expression.value),), expression.value, "takes a number")
            case syntax.Comparison():
                return self._comparison(expression)
            case syntax.Logic():
                self._logic(expression)
                return BOOL
            case syntax.Not():
                self.fit(expression.value, BOOL, "`not`")
                return BOOL
            case syntax.CallExpression():
                return self._call(expression)
            case _:
                raise AssertionError(f"no type for {type(expression).__name__}")

    def _warn_of_placeholder(self, text: syntax.Constant) -> None:
        if self._written_out:
            return  # an f-string would be refused
        for placeholder in text.placeholders:
            if self.is_bound(placeholder.name):
                span = placeholder.span
                shown = span.source.text[span.start : span.end]
                message = f"`{shown}` stays as it is in a plain text, and `{placeholder.name}` is the name of a value"
                advice = f'`f"…{{{placeholder.field}}}…"` puts the value in; there a brace is written `{{{{` or `}}}}`'
                self._report.warning("placeholder", message, span, advice)
                return

    def _name(self, name: syntax.Name) -> Type:
        if name.text in self._findings.agents and not self.is_bound(name.text):
            message = f"`{name.text}` is an agent, and a value is needed here"
            self._report.error("undefined-name", message, name.span, f"call one of its flows: `{name.text}.flow(…)`")
            return UNKNOWN
        if name.text in self._findings.records and not self.is_bound(name.text):
            message = f"`{name.text}` is a type, and a value is needed here"
            advice = f"a value of it is an object where one is expected, or `{{…}} as {name.text}`"
            self._report.error("undefined-name", message, name.span, advice)
            return UNKNOWN
        return self._narrowed(name, self.scopes.type_of(name))

    def _narrowed(self, read: syntax.Name | syntax.FieldOf, found: Type) -> Type:
        return found.present if found.is_optional and self.scopes.is_present(path_of(read)) else found

    def _list(self, display: syntax.ListDisplay) -> Type:
        items = [self.value(item) for item in display.items]
        if not items:
            return list_of(NOTHING)
        if UNKNOWN in items:
            return UNKNOWN
        return self.list_type(common_type(items) or JSON, display.span)

    def list_type(self, element: Type, place: Span) -> Type:
        """The type of lists of `element`, if it can be one: names let a type nest deeper than any brackets do."""
        if element.depth < DEEPEST_TYPE:
            return list_of(element)
        message = f"the type of this list nests deeper than {DEEPEST_TYPE} lists, counting those its names stand for"
        advice = 'an object, as in `{"items": x}`, has the type json whatever it holds'
        self._report.error("too-deep", message, place, advice)
        return UNKNOWN

    def _field(self, field: syntax.FieldOf) -> Type:
        owner = self.value(field.value)
        if owner in (JSON, UNKNOWN):
            return owner
        if owner.fields is None:
            message = f"only records and json have fields, and this is `{owner}`"
            self._report.error("no-field", message, field.name.span, field_advice(owner, field.name.text))
            return UNKNOWN
        if (found := owner.field(field.name.text)) is None:
            known = [member.name for member in owner.fields]
            advice = self._report.near(field.name.text, known) or f"its fields are {', '.join(known) or 'none'}"
            self._report.error("no-field", f"`{owner}` has no field `{field.name.text}`", field.name.span, advice)
            return UNKNOWN
        return self._narrowed(field, found.type)

    def _cast(self, cast: syntax.Cast) -> Type:
        target = resolve(cast.type, self._findings.records, self._report)
        if isinstance(cast.value, syntax.ListDisplay | syntax.DictDisplay):
            self.fit(cast.value, target, f"`as {target}`")
            return target
        found = self.value(cast.value)
        if UNKNOWN not in (found, target) and not castable(found, target):
            message = f"`{found}` cannot be `{target}`"
            self._report.error("wrong-type", message, cast.span, cast_advice(found, target))
        return target

    def choices_of(self, expression: syntax.Expression) -> tuple[str, ...]:
        """The texts of which this is one in every run; empty where nothing says so."""
        match expression:
            case syntax.CallExpression():
                return self._choices_of_call(expression)
            case syntax.Name():
                return self.scopes.choices(expression.text)
            case syntax.FieldOf():
                field = self._types[expression.value].field(expression.name.text)
                return () if field is None else field.choices
            case _:
                return ()

    def compared_texts(self, expression: syntax.Expression) -> tuple[str, ...]:
        """The same of what is compared with a text, which of a verdict is its label."""
        if self._types[expression] == VERDICT and (label := VERDICT.field("label")) is not None:
            return label.choices
        return self.choices_of(expression)

    def assume(self, condition: syntax.Expression, *, holds: bool) -> None:
        """From here to the end of the block, what `condition` says about null where it holds, or does not."""
        self.scopes.assume(present_where(condition, holds, self._types))

    # --- operators ---------------------------------------------------------------------------------------------------

    def _arithmetic(self, arithmetic: syntax.Arithmetic) -> Type:
        left = self.value(arithmetic.operands[0])
        for operator, operand in zip(arithmetic.operators, arithmetic.operands[1:], strict=True):
            right = self.value(operand)
            if operator == "+":
                left = self._sum(left, right, operand)
            else:
                advice = 'values are put into text by `f"…{name}…"`' if (operator, left) == ("%", STR) else None
                left = self.applied(operator, (left, right), operand, "takes two numbers", advice)
        return left

    def _sum(self, left: Type, right: Type, operand: syntax.Expression) -> Type:
        if STR in (left, right):
            return STR
        if UNKNOWN in (left, right):
            return UNKNOWN
        if left.is_number and right.is_number:
            return FLOAT if FLOAT in (left, right) else INT
        if left.is_list and right.is_list:
            return self.applied(CONCATENATION, (left, right), operand, "joins two lists")
        message = f"`+` adds two numbers, or joins two lists or text, and this is `{left}` + `{right}`"
        others = [found for found in (left, right) if found != JSON]
        advice = self._conversion(JSON, others[0]) if len(others) == 1 else None
        advice = advice or 'make one side text to join their text forms: `"" + …`'
        self._report.error("bad-addition", message, operand.span, advice)
        return UNKNOWN

    def _logic(self, logic: syntax.Logic) -> None:
        """Each operand is asked where those before it decide nothing."""
        self.scopes.enter()
        for operand in logic.operands:
            self.fit(operand, BOOL, f"`{logic.operator}`")
            self.assume(operand, holds=logic.operator == "and")
        self.scopes.leave()

    def _comparison(self, comparison: syntax.Comparison) -> Type:
        operator = comparison.operator
        types = self.value(comparison.left), self.value(comparison.right)
        if operator == "in":
            what, advice = "looks into a list, a text or json", None
        else:
            what = "compares two " + ("values of one type" if operator in ("==", "!=") else "numbers or two texts")
            advice = self._comparable(comparison, types)
        self._compared(operator, comparison.left, comparison.right)
        if operator != "in":
            self._compared(operator, comparison.right, comparison.left)
        return self.applied(operator, types, comparison.right, what, advice)

    def _comparable(self, comparison: syntax.Comparison, types: tuple[Type, Type]) -> str | None:
        """What makes one side of a comparison like the other."""
        if STR not in types or VERDICT in types:
            return None
        if any(found.is_number for found in types):
            text = comparison.left if types[0] == STR else comparison.right
            if isinstance(text, syntax.Constant) and _NUMBER.fullmatch(str(text.value)):
                return f"a number is written without quotes: `{text.value}`"
            return "the number that a text writes is `number(text)`"
        return 'make the other side text too: `"" + …`'

    def _compared(self, operator: str, value: syntax.Expression, other: syntax.Expression) -> None:
        """Each text that is written out in `other` is one of those that `value` can be."""
        choices = self.compared_texts(value)
        if operator in ("==", "!="):
            written: Sequence[syntax.Expression] = (other,)
        elif operator == "in" and isinstance(other, syntax.ListDisplay):
            written = other.items
        else:
            return
        for item in written if choices else ():
            if isinstance(item, syntax.Constant) and isinstance(item.value, str) and item.value not in choices:
                listed = ", ".join(f'"{choice}"' for choice in choices)
                message = f"this text is never equal: the value is one of {listed}"
                advice = self._choice_meant(item.value, choices)
                self._report.error("impossible-comparison", message, item.span, advice)

    def _choice_meant(self, text: str, choices: tuple[str, ...]) -> str | None:
        folded = {fold_label(choice): choice for choice in choices}
        meant = matching_label(text, folded)
        if meant is None:
            return self._report.near(text, choices)
        return f'it is written `"{folded[meant]}"`; only a `switch` overlooks capital letters and marks'

    def _item(self, item: syntax.Item) -> Type:
        owner = self._whole(item.value)
        index = self.value(item.index) if owner in (JSON, UNKNOWN) else self.fit(item.index, INT, "an index")
        if owner == JSON and index not in (INT, STR, UNKNOWN):
            message = f"found `{index}`, expected `int`, or `str` for a key, between the brackets"
            self._report.error("wrong-type", message, item.index.span, self._conversion(index, INT))
            index = UNKNOWN
        return self.applied(ITEM_OF, (owner, index), item, "takes an item")

    def _part(self, part: syntax.Part) -> Type:
        owner = self._whole(part.value)
        for bound in (part.start, part.end):
            if bound is not None:
                self.fit(bound, INT, "a bound of `[…:…]`")
        return self.applied(PART_OF, (owner, INT, INT), part, "takes a part")

    def _whole(self, value: syntax.Expression) -> Type:
        """The type of what an item or a part is taken of."""
        found = self.value(value)
        if found.is_list or found in (STR, JSON, UNKNOWN):
            return found
        message = f"found `{found}`, expected a list, a text or json to take an item of"
        self._report.error("wrong-type", message, value.span)
        return UNKNOWN

    def applied(
        self, name: str, types: Sequence[Type], place: syntax.Expression, what: str, advice: str | None = None
    ) -> Type:
        """The type of what a function gives for arguments of such types; `what` says in an error what it does."""
        function = FUNCTIONS[name]
        if UNKNOWN in types:
            return function.result or UNKNOWN
        resolved = resolve_call(function.signatures, types)
        if resolved is not None:
            result = resolved.result
            return self.list_type(result.element, place.span) if result.is_list and result.element else result
        if advice is None and JSON in types:
            advice = self._conversion(JSON, next((found for found in types if found != JSON), FLOAT))
        between = f" {name} " if name == "in" or not name.isidentifier() else ", "
        shown = between.join(f"`{found}`" for found in types)
        self._report.error("wrong-type", f"`{name}` {what}, and this is {shown}", place.span, advice)
        return UNKNOWN
