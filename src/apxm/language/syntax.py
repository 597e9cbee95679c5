"""The syntax tree of AIS. Nodes are compared and hashed by identity, so that tables can be keyed by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar, cast

from apxm.frozen import FrozenRecord
from apxm.source import SourceFile, Span

T = TypeVar("T")


class Syntax(FrozenRecord):
    """A node of the tree. What goes through all of it asks for `expressions` and `blocks`, not for kinds of nodes."""

    span: Span
    """All of the node's text."""

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions directly in it, those in its blocks left out, in the order of the text."""
        return tuple(self._inside(Expression))

    def _inside(self, kind: type[T]) -> Iterator[T]:
        for value in self.__dict__.values():
            for item in cast(tuple[Any, ...], value) if isinstance(value, tuple) else (value,):
                if isinstance(item, kind):
                    yield item
                elif isinstance(item, Fragment):
                    yield from item._inside(kind)

    def but(self, **changed: Any) -> Self:
        """The same node with other fields."""
        return type(self)(**(self.__dict__ | changed))


class Identifier(Syntax):
    """A name at the place where it is written."""

    text: str


class Fragment(Syntax):
    """A piece of another node, which means nothing alone."""


class TypeName(Syntax):
    """``str``, ``list[str]``, ``Person?``."""

    name: str
    element: TypeName | None = None
    optional: bool = False
    """Whether a `?` stands behind it."""


# --- expressions ---------------------------------------------------------------------------------------------------


class Expression(Syntax):
    """Something that has a value, or a call of something that gives none."""


class Placeholder(Syntax):
    """``{name}``, ``{{name}}`` or ``{name.field}`` in a plain text, which means nothing there."""

    name: str
    """What an f-string would look up."""
    field: str
    """All that stands between the braces."""


class Constant(Expression):
    """A literal text, number or truth value, or null; text with its escapes resolved and its indentation removed."""

    value: str | int | float | bool | None
    placeholders: tuple[Placeholder, ...] = ()


class FormatText(Expression):
    """``f"…{name.field}…"``: literal texts (as `Constant`) and the expressions between them."""

    parts: tuple[Expression, ...]


class ListDisplay(Expression):
    """``[a, b]``"""

    items: tuple[Expression, ...]


class DictDisplay(Expression):
    """``{"key": value}``"""

    keys: tuple[Constant, ...]
    values: tuple[Expression, ...]


class Name(Expression):
    """The name of a value, where it is used."""

    text: str


class FieldOf(Expression):
    """``value.name``"""

    value: Expression
    name: Identifier


class Cast(Expression):
    """``value as type``"""

    value: Expression
    type: TypeName


class TypeOrNull(Expression):
    """``Person?``, where an argument is a type. Other types look like values there, ``Person`` or ``list[Person]``."""

    type: Expression


class Item(Expression):
    """``values[index]``"""

    value: Expression
    index: Expression


class Part(Expression):
    """``values[start:end]``"""

    value: Expression
    start: Expression | None
    end: Expression | None


class Arithmetic(Expression):
    """``a + b - c`` or ``a * b / c``, flat, grouped from left to right."""

    operators: tuple[str, ...]
    """One between each two operands."""
    operands: tuple[Expression, ...]


class Negative(Expression):
    """``-value``"""

    value: Expression


class Comparison(Expression):
    """``== != < <= > >= in`` of two operands."""

    operator: str
    left: Expression
    right: Expression


class Logic(Expression):
    """``and`` or ``or`` of two operands and more, flat, as far from the left as one of them decides it."""

    operator: str
    operands: tuple[Expression, ...]


class Not(Expression):
    """``not value``"""

    value: Expression


class NamedArgument(Fragment):
    """``name: value``"""

    name: Identifier
    value: Expression


class CallExpression(Expression):
    """``ask("…", context, system: "…")``, ``flow(x)`` or ``Agent.flow(x)``."""

    callee: tuple[Identifier, ...]
    """One name, or an agent's and a flow's."""
    arguments: tuple[Expression, ...]
    named: tuple[NamedArgument, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return (*self.arguments, *(argument.value for argument in self.named))

    @property
    def written(self) -> str:
        """What is called, as it is written."""
        return ".".join(part.text for part in self.callee)


# --- statements ----------------------------------------------------------------------------------------------------


class Statement(Syntax):
    """What stands in a block."""

    target: Identifier | None = None
    """The name that it binds in the block it stands in."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks directly in it, in the order of the text."""
        return ()


class CallStatement(Statement):
    """``call(…) -> name``"""

    call: CallExpression

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return (self.call,)  # most statements are calls, and to look for it takes 2 µs


class Let(Statement):
    """``let name: type = value``"""

    target: Identifier  # pyright: ignore[reportGeneralTypeIssues]  # here it is always given
    type: TypeName | None
    value: Expression


class Return(Statement):
    """``return value``"""

    value: Expression | None


class Block(Syntax):
    """Statements in braces. An arm that is a bare expression is a block of one `Return` of it (where the construct is
    bound or in tail position) or of one call (elsewhere); the parser writes it as `Return`, and `bare` says so."""

    statements: tuple[Statement, ...]
    bare: bool = False


class Construct(Statement):
    """A statement that holds blocks."""

    keyword: ClassVar[str]
    passes_return: ClassVar[bool] = True
    """Whether a `return` in its blocks gives the value of what stands around it, where it is not bound itself."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self._inside(Block))


class Case(Fragment):
    """``case "label" => body``"""

    label: Constant
    body: Block


class Switch(Construct):
    """``switch selector { case "label" => …  default => … } -> name``"""

    keyword = "switch"
    selector: Expression
    cases: tuple[Case, ...]
    default: Block | None


class If(Construct):
    """``if condition { … } else if condition { … } else { … } -> name``"""

    keyword = "if"
    conditions: tuple[Expression, ...]
    bodies: tuple[Block, ...]
    """One for each condition."""
    otherwise: Block | None


class Repetition(Construct):
    """A construct whose one block runs any number of times."""

    passes_return = False
    arguments: tuple[NamedArgument, ...]
    """What stands in its parentheses: the limit `max`, and the start of each name that it carries."""
    body: Block


class Loop(Repetition):
    """``loop (max: 4, name: start) { …  until condition  …  next name: value } -> name``"""

    keyword = "loop"


class For(Repetition):
    """``for item in items (max: 100) { … } -> name``"""

    keyword = "for"
    item: Identifier
    items: Expression


class Try(Construct):
    """``try { … } catch error { … } -> name``"""

    keyword = "try"
    body: Block
    error: Identifier | None
    handler: Block


class Until(Statement):
    """``until condition``: the loop around it ends here where that holds."""

    condition: Expression


class Next(Statement):
    """``next name: value``: what the loop around it carries into its next iteration."""

    arguments: tuple[NamedArgument, ...]


# --- declarations --------------------------------------------------------------------------------------------------


class FlowParameter(Syntax):
    """``name: type "description" = default``, of a flow or a capability."""

    name: Identifier
    type: TypeName
    description: Constant | None
    """What the model is told that may call the capability."""
    default: Expression | None


class Flow(Syntax):
    """``@entry flow name(parameters) -> type { … }``"""

    annotations: tuple[Identifier, ...]
    """``@entry``, ``@no_fuse``, without the ``@``."""
    name: Identifier
    parameters: tuple[FlowParameter, ...]
    result: TypeName | None
    body: Block


class Capability(Syntax):
    """``capability search(q: str) -> str readonly "description";``"""

    name: Identifier
    parameters: tuple[FlowParameter, ...]
    result: TypeName | None
    readonly: bool
    description: Constant | None
    """What the model is told that may call it."""


class AgentDefault(Syntax):
    """``system: "…"``"""

    name: Identifier
    value: Expression


class Memory(Syntax):
    """``memory { … }`` of an agent, which other implementations of AIS take; here it has no effect."""


class Agent(Syntax):
    """``agent Name { … }``"""

    name: Identifier
    defaults: tuple[AgentDefault, ...]
    capabilities: tuple[Capability, ...]
    flows: tuple[Flow, ...]
    memories: tuple[Memory, ...]


class RecordField(Syntax):
    """``name: type "description" = default``"""

    name: Identifier
    type: TypeName
    description: Constant | None
    """What the model is told that is asked for such a record."""
    default: Expression | None


class Record(Syntax):
    """``type Name { … }``"""

    name: Identifier
    fields: tuple[RecordField, ...]


class SyntaxTree(Syntax):
    """All of one file."""

    source: SourceFile
    agents: tuple[Agent, ...]
    records: tuple[Record, ...]
