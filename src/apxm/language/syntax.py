"""The syntax tree of AIS. Nodes are compared and hashed by identity, so that tables can be keyed by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apxm.operations.definition import Operation
from apxm.operations.types import Type
from apxm.source import Diagnostic, SourceFile, Span


@dataclass(frozen=True, eq=False, kw_only=True)
class Syntax:
    """A node of the tree; `span` is all of its text."""

    span: Span


@dataclass(frozen=True, eq=False, kw_only=True)
class Identifier(Syntax):
    """A name at the place where it is written."""

    text: str


# --- types and expressions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class TypeName(Syntax):
    """``str``, ``list[str]``."""

    name: str
    element: TypeName | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Placeholder(Syntax):
    """``{name}``, ``{{name}}`` or ``{name.field}`` in a plain text, which means nothing there."""

    name: str
    """What an f-string would look up."""
    field: str
    """All that stands between the braces."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Constant(Syntax):
    """A literal text, number or truth value; text with its escapes resolved and its indentation removed."""

    value: str | int | float | bool
    placeholders: tuple[Placeholder, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class FormatText(Syntax):
    """``f"…{name.field}…"``: literal texts (as `Constant`) and the expressions between them."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ListDisplay(Syntax):
    items: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class DictDisplay(Syntax):
    keys: tuple[Constant, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Name(Syntax):
    text: str


@dataclass(frozen=True, eq=False, kw_only=True)
class FieldOf(Syntax):
    """``value.name``"""

    value: Expression
    name: Identifier


@dataclass(frozen=True, eq=False, kw_only=True)
class Addition(Syntax):
    """``a + b + c``, flat, grouped from left to right."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(Syntax):
    """``== != < <= > >= and or not``: known to the language, not built yet."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class NamedArgument(Syntax):
    name: Identifier
    value: Expression


@dataclass(frozen=True, eq=False, kw_only=True)
class CallExpression(Syntax):
    """``ask("…", context, system: "…")``, ``flow(x)`` or ``Agent.flow(x)``."""

    callee: tuple[Identifier, ...]
    """One name, or an agent's and a flow's."""
    arguments: tuple[Expression, ...]
    named: tuple[NamedArgument, ...]


Expression = Constant | FormatText | ListDisplay | DictDisplay | Name | FieldOf | Addition | Comparison | CallExpression


# --- statements ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class CallStatement(Syntax):
    call: CallExpression
    target: Identifier | None
    """The name after ``->``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Let(Syntax):
    target: Identifier
    value: Expression


@dataclass(frozen=True, eq=False, kw_only=True)
class Return(Syntax):
    value: Expression | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Block(Syntax):
    """Statements in braces. An arm that is a bare expression is a block of one `Return` of it (where the construct is
    bound or in tail position) or of one call (elsewhere); the parser writes it as `Return`, and `bare` says so."""

    statements: tuple[Statement, ...]
    bare: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Case(Syntax):
    label: Constant
    body: Block


@dataclass(frozen=True, eq=False, kw_only=True)
class Switch(Syntax):
    selector: Expression
    cases: tuple[Case, ...]
    default: Block | None
    target: Identifier | None


@dataclass(frozen=True, eq=False, kw_only=True)
class LaterConstruct(Syntax):
    """``if``, ``loop``, ``for``, ``try``, ``until``, ``next``: known to the language, not built yet.

    Expressions and blocks are kept in the order of the text, so that what they contain is checked all the same."""

    keyword: Identifier
    expressions: tuple[Expression, ...] = ()
    options: tuple[NamedArgument, ...] = ()
    """What `loop`, `for` and `next` are given by name: the limit, and what is carried."""
    bindings: tuple[Identifier, ...] = ()
    """The ``x`` of ``for x in`` and the ``e`` of ``catch e``, which are visible inside its blocks."""
    blocks: tuple[Block, ...] = ()
    target: Identifier | None = None


Statement = CallStatement | Let | Return | Switch | LaterConstruct


# --- declarations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Parameter(Syntax):
    name: Identifier
    type: TypeName
    default: Expression | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Flow(Syntax):
    annotations: tuple[Identifier, ...]
    """``@entry``, ``@no_fuse``, without the ``@``."""
    name: Identifier
    parameters: tuple[Parameter, ...]
    result: TypeName | None
    body: Block


@dataclass(frozen=True, eq=False, kw_only=True)
class Capability(Syntax):
    """``capability search(q: str) -> str readonly;``: known to the language, not built yet."""

    name: Identifier
    parameters: tuple[Parameter, ...]
    result: TypeName | None
    readonly: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class AgentDefault(Syntax):
    """``system: "…"``"""

    name: Identifier
    value: Expression


@dataclass(frozen=True, eq=False, kw_only=True)
class Agent(Syntax):
    name: Identifier
    defaults: tuple[AgentDefault, ...]
    capabilities: tuple[Capability, ...]
    flows: tuple[Flow, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class SyntaxTree(Syntax):
    source: SourceFile
    agents: tuple[Agent, ...]


# --- what the checker adds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class OperationCall:
    """A call that the checker resolved to an operation, its arguments sorted out."""

    operation: Operation
    arguments: tuple[Expression, ...]
    """The operation's positional parameters in order, then the variadic ones; a positional parameter given by name is
    at its place here."""
    options: Mapping[str, Expression]
    """The parameters that are only given by name, in the operation's order, the agent's defaults filled in."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowCall:
    """A call that the checker resolved to a flow."""

    agent: Agent
    flow: Flow
    arguments: tuple[Expression, ...]
    """One expression per parameter, in order: the call's own, or the parameter's default."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedTree:
    """The same tree, with what the checker found out. Only a tree without errors becomes one."""

    tree: SyntaxTree
    types: Mapping[Expression, Type]
    """The type of every expression."""
    calls: Mapping[CallExpression, OperationCall | FlowCall]
    results: Mapping[Switch, Type]
    """The type of every construct that gives a value; one that gives none is absent."""
    tail: frozenset[Switch]
    """The unbound constructs whose arms' `return`s give the value of the construct or flow around them."""
    entry: Flow | None
    warnings: tuple[Diagnostic, ...] = field(default=())
