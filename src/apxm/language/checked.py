"""What the checker finds out about a syntax tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apxm.frozen import FrozenRecord
from apxm.language.syntax import (
    Agent,
    CallExpression,
    Capability,
    Construct,
    Expression,
    Flow,
    NamedArgument,
    Repetition,
    SyntaxTree,
)
from apxm.operations.definition import Callee, Operation
from apxm.operations.types import Type
from apxm.source import Diagnostic


class OperationCall(FrozenRecord):
    """A call that the checker resolved to an operation, its arguments sorted out."""

    operation: Operation
    arguments: tuple[Expression, ...]
    """The operation's positional parameters in order, then the variadic ones; a positional parameter given by name is
    at its place here."""
    options: Mapping[str, Expression]
    """The parameters that are only given by name, in the operation's order, the agent's defaults filled in, without
    `schema` and `tools`."""
    answer: Type | None
    """The type that `schema` says, of what the call gives."""
    tools: tuple[DeclaredCapability, ...] = ()
    """What the model may call before it answers."""
    content_kinds: tuple[str, ...] = ()
    """The operation that each variadic argument was the argument of, as `image` of a path, or empty where it is a value
    itself; empty where all are."""


class FlowCall(FrozenRecord):
    """A call that the checker resolved to a flow."""

    agent: Agent
    flow: Flow
    arguments: tuple[Expression, ...]
    """One expression per parameter, in order: the call's own, or the parameter's default."""


class DeclaredCapability(FrozenRecord):
    """A capability, with the types of what it takes and gives."""

    capability: Capability
    callee: Callee


class ToolCall(FrozenRecord):
    """A call that the checker resolved to a tool, however it is written."""

    tool: str
    arguments: Mapping[str, Expression] | Expression
    """The arguments by name, or one expression that is an object of all."""
    options: Mapping[str, Expression]
    declared: DeclaredCapability | None


class CheckedTree(FrozenRecord):
    """A syntax tree, with what the checker found out. Only a tree without errors becomes one."""

    tree: SyntaxTree
    types: Mapping[Expression, Type]
    """The type of every expression."""
    calls: Mapping[CallExpression, OperationCall | FlowCall | ToolCall]
    capabilities: Sequence[DeclaredCapability]
    """The tools that the program declares, each once."""
    results: Mapping[Construct, Type]
    """The type of every construct that gives a value; one that gives none is absent."""
    heads: Mapping[Construct, tuple[Expression, tuple[NamedArgument, ...]]]
    """Of every `for` the list whose items it takes, and what stands in its parentheses: without knowing the names,
    ``items (max: 3)`` is a call."""
    carried: Mapping[Repetition, Mapping[str, Type]]
    """The names that every repetition carries, and their types."""
    collecting: frozenset[Construct]
    """The `for`s that give a list of what their turns return."""
    records: Mapping[str, Type]
    """The records of the source by name, each behind those in it."""
    tail: frozenset[Construct]
    """The unbound constructs whose arms' `return`s give the value of the construct or flow around them."""
    entry: Flow | None
    warnings: tuple[Diagnostic, ...] = ()
