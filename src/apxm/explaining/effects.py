"""What the calls of ours do that were put in where a function was rewritten, as far as the text says;
`rewriting/touching.py` does it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Protocol

from apxm.effects.expression_uses import may_be_any
from apxm.effects.libraries import ONLY_ADDS, TEXT_METHODS, Known
from apxm.effects.patterns import EVIDENT, REPLACING, called_back, is_standard_stream, root
from apxm.effects.roles import Kind, Role, Touch, touches_beside_own
from apxm.effects.rules import Rule
from apxm.effects.uses import Use
from apxm.explaining import shape
from apxm.explaining.attributes import Attributes
from apxm.explaining.callees import Scope, is_ask
from apxm.explaining.names import Bindings, Made
from apxm.explaining.ownership import Ownership
from apxm.explaining.rewritten import ours, plain
from apxm.explaining.shape import Does, Later, Place, Placed, Step, Trusted, Wait
from apxm.lanes.marks import Step as MarkedStep
from apxm.rewriting.given import READING
from apxm.rewriting.names import Entered
from apxm.rewriting.nodes import PREFIX

_FILES = frozenset({"open", "write_text", "write_bytes", "read_text", "mkdir", "unlink", "rename", "remove"})
_STREAM_METHODS = ("flush", "write", "writelines")
"""Those of standard streams that stand in for them while flows run; others are the real stream's."""


class Reading(Protocol):
    """Where the reading of a function stands."""

    @property
    def scope(self) -> Scope: ...
    @property
    def bindings(self) -> Bindings: ...
    @property
    def loops(self) -> Sequence[Entered]:
        """The loops over `each` around, the outermost first."""
        ...

    @property
    def attributes(self) -> Attributes: ...

    def place(self, node: ast.AST) -> Place: ...
    def expression(self, node: ast.expr) -> Sequence[Step]: ...
    def is_made(self, name: str) -> bool:
        """Whether a name is that of a function that is made here, or around."""
        ...

    def called(self, callee: ast.expr) -> FunctionType | None:
        """The function of the user's that is called, as far as the text says which."""
        ...

    def is_read(self, function: FunctionType) -> bool:
        """Whether a function is read, too, or is being read."""
        ...

    def hides(self, function: FunctionType) -> bool:
        """Whether a function does something that the text does not show."""
        ...


class Effects:
    """Those of one function."""

    def __init__(self, reader: Reading) -> None:
        self._reader = reader
        self.whose = Ownership(reader.bindings, reader.loops, reader.scope, reader.attributes)

    # --- names

    def turn(self, call: ast.Call, thing: ast.expr | None) -> Iterator[Step]:
        """``_apxm_turn``, in front of `thing`, and ``_apxm_turn_of``."""
        levels = _levels(call)
        if levels == 0:
            return
        line = call.lineno
        given = None if thing is None else plain(thing)
        name = given.id if isinstance(given, ast.Name) else None
        for loop in reversed(self._reader.loops):
            names = {name for name, rule in loop.loop.rules.items() if rule is Rule.TURN and name[0] not in ".:"}
            uses = [use for use in loop.uses.found if _plain_name(use.name) in names]
            here = [use for use in uses if _line(use) == line]
            of_name = [use for use in uses if _plain_name(use.name) == name] or here
            if of_name:
                why, seen = self._why(of_name, line)
                yield Wait(self._reader.place(call), why, levels, seen)
                return
        why = "it sets a name that outlives the function"
        if name is not None:  # a function that is made around the loop
            why = f"`{name}` uses names that iterations change in their order"
        yield Wait(self._reader.place(call), why, levels, True)

    def _why(self, uses: Sequence[Use], line: int) -> tuple[str, bool]:
        changes = [use for use in uses if use.kind is not Kind.LOAD]
        name = _plain_name(uses[0].name)
        unseen = [use for use in changes if not self._is_seen(use)]
        here = [use for use in uses if _line(use) == line]
        own = next((use for use in here if use.kind is not Kind.LOAD), None)
        other = next((use for use in (*unseen, *changes) if _line(use) != line), None)
        if own is not None:
            reads = next((use for use in uses if use.kind is Kind.LOAD and _line(use) != line), None)
            more = f", which line {_line(reads)} reads" if reads is not None else ""
            subject = f"`{_shown(plain(own.node.func))}`" if isinstance(own.node, ast.Call) else "it"
            return f"{subject} {self._doing(own)} `{name}`{more}", not unseen
        if other is None:
            return f"it reads `{name}`, which iterations change", not unseen
        return f"it reads `{name}`, which line {_line(other)} {self._doing(other)}", not unseen

    def _doing(self, use: Use) -> str:
        return use.kind.value if self._is_seen(use) else "may change"

    def _is_seen(self, use: Use) -> bool:
        """Whether the text says that it is changed, and how."""
        node = use.node
        if use.kind is not Kind.CHANGE or not isinstance(node, ast.Call):
            return True
        callee = plain(node.func)
        role = self._reader.scope.role_of(callee)
        function = self._reader.called(callee)
        if function is None:
            return not role.is_unknown
        return self._reader.scope.is_run_as_written(callee) and not self._reader.hides(function)

    def shared(self, entered: Entered) -> Iterator[Step]:
        """For what a loop runs its iterations one after the other."""
        place = self._reader.place(entered.node)
        for name in sorted(entered.uses.shared):
            yield Wait(place, f"functions that outlive an iteration see what it leaves in `{name}`", None, True)
        if entered.uses.puts_streams:
            yield Wait(place, "an iteration puts something in the place of `sys.stdout` or `sys.stderr`", None, True)

    def contexts(self, entered: Entered) -> Iterator[Step]:
        """Context variables that an iteration leaves set: line by line, the ones behind it would see that."""
        for name, uses in entered.uses.contexts_set.items():
            last = next(use for use in reversed(uses) if use.method == "set")
            why = f"what it sets `{name}` to is there for its own iteration alone, and not behind the loop"
            yield Trusted(self._reader.place(last.node), why, seen=True)

    def given(self, call: ast.Call) -> Iterator[Step]:
        """What is read at the turn, and may be changed until then: an object of the user's, which nobody copies."""
        match ours(call), call.args:
            case "later_change", [_, _, *given]:
                pass
            case "later_call" | "call_of", [_, ast.Attribute(attr=method), *given] if method in READING:
                pass
            case "add_to_item", [_, _, _, _, ast.Constant(value=str(method)), *given] if method in READING:
                pass
            case "set_attribute" | "set_item", [_, ast.Name(), *given] | [_, ast.Constant(None), *given]:
                given = given[:1] if isinstance(call.args[1], ast.Name) else []
            case "adding", [_, _, *given]:
                pass
            case "count", [_, _, _, *given]:
                given = given[:1]
            case _:
                given = []
        for each in map(plain, given):
            made = self._reader.bindings.made(each.id) if isinstance(each, ast.Name) else None
            if made is Made.OBJECT or (isinstance(each, ast.Call) and self._reader.scope.class_of(each) is not None):
                yield self._wait(call, f"it reads `{_shown(each)}`, which may be changed until then", None, True)

    def later(self, call: ast.Call) -> Iterator[Step]:
        """``_apxm_later`` and its kin."""
        place = self._reader.place(call)
        match ours(call), call.args:
            case "later" | "later_change", [_, ast.Name(id=setter), *_]:
                name = setter.removeprefix(PREFIX).partition("_")[2].rpartition("_")[0]
                is_last = setter.startswith(f"{PREFIX}set_")
                why = "is read behind the loop, where the last iteration's counts" if is_last else "is added to"
                yield Later(place, f"`{name}` {why}")
            case "later_call", [_, method, *_]:
                yield Later(place, f"`{ast.unparse(plain(method))}` only adds to it")
            case _:
                pass

    def placed(self, call: ast.Call) -> Iterator[Step]:
        """What is done to attributes, and to names of modules."""
        match ours(call), call.args:
            case "reading", [thing, *places]:
                for place in places:
                    yield from self._of_place(call, place, Does.READS, thing)
            case "reads", [place]:
                yield from self._of_place(call, place, Does.READS, None)
            case "setting", [place, *_]:
                yield from self._of_place(call, place, Does.SETS, None)
            case "adding", [place, *_]:
                yield from self._of_place(call, place, Does.CHANGES, None)
            case "set_attribute", [place, _, _, thing, ast.Constant(value=name)]:
                written = self._reader.scope.role_of(ast.Attribute(plain(thing), str(name), ast.Load())).written
                if touches := touches_beside_own(written):
                    yield self._wait(call, f"what sets `.{name}` may {_said(touches)}", None, None)
                yield from self._of_place(call, place, Does.CHANGES, thing)
            case "set_item", [place, _, _, thing, *_]:
                yield from self._of_place(call, place, Does.CHANGES, thing)
            case "add_to_item", [place, container, *_]:
                yield from self._of_place(call, place, Does.CHANGES, container)
            case "count", [place, _, _, _, counts, *_]:
                yield from self._of_place(call, place, Does.CHANGES, counts)
            case "call_of", [place, ast.Attribute(value=thing, attr=method), *_]:
                yield from self._of_place(call, place, Does.CHANGES, thing, adds=method in ONLY_ADDS)
            case _:
                pass

    def _of_place(
        self, call: ast.Call, place: ast.expr, does: Does, thing: ast.expr | None, *, adds: bool = True
    ) -> Iterator[Step]:
        assert isinstance(place, ast.Constant)
        if not isinstance(place.value, str):  # so many loops around: it is only added to
            shown = "it" if thing is None else f"`{_shown(plain(thing))}`"
            yield Later(self._reader.place(call), f"{shown} is only added to")
            return
        name = place.value
        found = Placed(self._reader.place(call), name, does, adds)
        if thing is None or name.startswith(":"):
            yield found
            return
        thing = plain(thing)
        reads = does is Does.READS
        # What is read of an object of one's own may be a list that others have.
        part = ast.Attribute(thing, name[1:], ast.Load()) if reads and isinstance(thing, ast.Name) else thing
        if self.whose.is_own(part):
            return
        if self.whose.is_mine(thing):
            if not reads:
                yield Trusted(found.place, self.whose.promised(thing))
            return
        yield replace(found, about=self.whose.parameter(thing), part=self.whose.part(part))

    def rules(self, entered: Entered) -> dict[str, shape.Rule]:
        """What holds in a loop for attributes, and for names of modules."""
        found: dict[str, shape.Rule] = {}
        for name, rule in (entered.loop.rules | entered.loop.places).items():
            if name.startswith((".", ":")):
                uses = [use for use in entered.uses.found if _plain_name(use.name) == _plain_name(name)]
                through = {use.through for use in uses}
                wholes = (use for use in entered.uses.found if use.name in through and use.kind is Kind.CHANGE)
                changes = [*(use for use in uses if use.kind is not Kind.LOAD), *wholes]
                found[name] = shape.Rule(
                    rule.value,
                    tuple(map(_line, changes)),
                    tuple(_line(use) for use in uses if use.kind is Kind.LOAD),
                    all(map(self._is_seen, changes)),
                )
        return found

    def property_read(self, node: ast.Attribute) -> Iterator[Step]:
        """What a property of the user's changes where it is read."""
        read = self._reader.scope.role_of(plain(node)).read if isinstance(node.ctx, ast.Load) else None
        touches = [] if read is None else [touch for touch in read.touches if touch.kind is not Kind.LOAD]
        if touches:
            yield self._wait(node, f"what gives `.{node.attr}` may {_said(touches)}", None, None)

    # --- objects

    def touch(self, call: ast.Call) -> Iterator[Step]:
        thing = plain(call.args[0])
        if is_standard_stream(thing):
            yield from self._written(call, thing)
        elif self.whose.is_mine(thing):
            yield Trusted(self._reader.place(call), self.whose.promised(thing))
        elif not self.whose.is_own(thing):
            name = root(thing)
            bindings = self._reader.bindings
            if name is not None and not bindings.binds(name) and name not in bindings.parameters:
                yield self._wait(call, f"it changes `{ast.unparse(thing)}`", None, True)
                return
            yield self._wait(call, self.whose.promised(thing), thing, None)

    def item(self, call: ast.Call) -> Iterator[Step]:
        container = plain(call.args[0])
        made = self._reader.bindings.values(container.id) if isinstance(container, ast.Name) else []
        is_default = any(
            self._reader.scope.factories(each) is not None for each in (container, *made) if each is not None
        )
        if is_default and not self.whose.is_own(container):
            yield self._wait(call, f"to read an item of `{_shown(container)}` may make it", container, True)

    def iterate(self, call: ast.Call) -> Iterator[Step]:
        items = plain(call.args[0])
        name = root(items)
        if name is None or not isinstance(items, ast.Name):
            return
        made = self._reader.bindings.made(name)
        if made is Made.ITERATOR and not self.whose.is_iterations(name):
            yield self._wait(call, f"`{name}` can be gone through only once, and all iterations share it", items, True)

    def manage(self, call: ast.Call) -> Iterator[Step]:
        manager = plain(call.args[0])
        if isinstance(manager, ast.Call):
            for method in ("__enter__", "__exit__"):
                role = self._reader.scope.role_of(ast.Attribute(manager, method, ast.Load()))
                if touches := [] if role.guessed else touches_beside_own(role.summary):
                    why = f"`{method}` of `{_shown(manager.func)}` may {_said(touches)}"
                    yield self._wait(call, why, None, None)
        elif not self.whose.is_own(manager):
            yield self._wait(call, f"what `with {ast.unparse(manager)}` does is not known", manager, None)

    def _wait(self, node: ast.AST, why: str, about: ast.expr | None, seen: bool | None) -> Wait:
        """`about` is the object; where that is a parameter, its caller knows whose it is. `seen` is None where that
        depends on nothing else."""
        whose = self.whose
        return Wait(self._reader.place(node), why, None, bool(seen), whose.parameter(about), whose.part(about))

    # --- functions

    def call(self, call: ast.Call, callee: ast.expr, role: Role) -> Iterator[Step]:
        """A call of anything but a model."""
        if ours(call.func) == "call":
            yield from self._met(call, callee, role)
        elif isinstance(callee, ast.Name) and callee.id == "print" and not any(k.arg == "file" for k in call.keywords):
            yield Later(self._reader.place(call), "it is printed")

    def _written(self, call: ast.Call, stream: ast.expr) -> Iterator[Step]:
        """What is written to a standard stream; standard error has it at once."""
        if isinstance(stream, ast.Attribute) and stream.attr == "stdout":
            yield Later(self._reader.place(call), "it is printed")

    def _met(self, call: ast.Call, callee: ast.expr, role: Role) -> Iterator[Step]:
        written = _shown(callee)
        if isinstance(callee, ast.Attribute) and is_standard_stream(callee.value) and callee.attr in _STREAM_METHODS:
            yield from self._written(call, callee.value)
            return
        match role.known:
            case Known.NOTHING | Known.ITS_OWN:
                yield from self._given(call, callee, written)
                return
            case Known.ASKS:
                return
            case Known.DRAWS:
                draws = Wait(self._reader.place(call), f"`{written}` draws behind a call", None, True, draws=True)
                yield from self.whose.seen_from([draws], {})
                return
            case Known.LOOKS_OUTSIDE:
                loops = self._reader.loops
                if not loops or _is_among(call, loops[-1].uses.called_late):
                    yield self._wait(call, f"`{written}` looks at files behind a call", None, True)
                return
            case Known.ITS_FIRST | Known.REDIRECTS:
                if call.args and not self.whose.is_own(first := plain(call.args[0])):
                    yield self._wait(call, f"`{written}` changes `{ast.unparse(first)}`", first, True)
                return
            case Known.CALLS_BACK:
                yield from self._given(call, callee, written)
                return
            case None:
                pass
        if role.is_cached:
            yield self._wait(call, f"`{written}` gives what it gave before, whoever asked", None, True)
        if role.summary is not None:
            if isinstance(marked := self._reader.scope.found(callee), MarkedStep) and marked.effect:
                yield Wait(self._reader.place(call), f"`{written}` is a step with an effect", None, True)
            yield from self._one_of(call, callee, role)
            return
        if self._is_followed(callee) or self._is_harmless(callee):
            return
        about = callee.value if isinstance(callee, ast.Attribute) and callee.attr in EVIDENT else None
        if about is not None and self.whose.is_mine(about):
            yield Trusted(self._reader.place(call), self.whose.promised(about))
            return
        if about is not None:
            why = f"`{written}` changes `{_shown(about)}`"
        elif written.rpartition(".")[2] in _FILES:
            why = f"`{written}` reads or writes a file"
        else:
            why = f"nothing is known of `{written}`"
        name = root(about) if about is not None else None
        seen = name is not None and not self._reader.bindings.binds(name)
        yield self._wait(call, why, about, seen)

    def _given(self, call: ast.Call, callee: ast.expr, written: str) -> Iterator[Step]:
        """What is called back by a function such as `sorted`."""
        for argument in called_back(ast.Call(callee, call.args, call.keywords)):
            if isinstance(argument, ast.Lambda):
                yield from self._reader.expression(argument.body)
                continue
            given = plain(argument)
            role = self._reader.scope.role_of(given)
            known = role.summary is not None or is_ask(role) or not may_be_any(given, self._reader.scope)
            may_be_text = written.rpartition(".")[2] in REPLACING and not role.found
            if not (known or may_be_text or self._is_followed(given)):
                yield self._wait(call, f"nothing is known of `{_shown(given)}`, which `{written}` calls", None, None)
            yield from self._one_of(call, given, role)

    def _one_of(self, call: ast.Call, callee: ast.expr, role: Role) -> Iterator[Step]:
        """A call of one of the functions that a collection holds: which is known when it runs, and so are the lines of
        its own that wait."""
        if isinstance(callee, ast.Subscript) and role.summary is not None and role.summary.touches:
            why = f"`{_shown(callee.value)}` holds functions, of which some {_said(role.summary.touches)}"
            yield self._wait(call, why, None, None)

    def _is_followed(self, callee: ast.expr) -> bool:
        """Whether what is called is read, too."""
        reader = self._reader
        if isinstance(callee, ast.Name) and reader.is_made(callee.id):
            return True
        function = reader.called(callee)
        return function is not None and reader.scope.is_run_as_written(callee) and reader.is_read(function)

    def _is_harmless(self, callee: ast.expr) -> bool:
        """Whether a method looks only, or changes what the iteration itself made."""
        if not isinstance(callee, ast.Attribute):
            return False
        if callee.attr in TEXT_METHODS and callee.attr not in EVIDENT:
            return True
        if not isinstance(callee.value, ast.Name):
            return root(callee.value) is None and callee.attr in EVIDENT
        name = callee.value.id
        made = self._reader.bindings.made(name)
        if made is Made.VALUE:
            return True
        if self.whose.has_turn_already(name):
            return True
        return made is Made.CONTAINER and self.whose.is_iterations(name)


def _levels(call: ast.Call) -> int | None:
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, int) else None


def _is_among(call: ast.Call, calls: Sequence[ast.Call]) -> bool:
    """Whether a call stands at the place of one of several."""
    return any((each.lineno, each.col_offset) == (call.lineno, call.col_offset) for each in calls)


def _plain_name(name: str) -> str:
    """The name of which something is said, whether it is known as one of a function or of its module."""
    return name.partition("@")[0].strip(":=")


def _line(use: Use) -> int:
    return getattr(use.node, "lineno", 0)


def _shown(callee: ast.expr) -> str:
    text = " ".join(ast.unparse(callee).split())
    return text if len(text) <= 60 else f"…{text[-60:]}"


def _said(touches: Iterable[Touch]) -> str:
    """What a function does to names of the module, and to what it is given."""
    changed = sorted({touch.name.lstrip(":") for touch in touches if touch.kind is not Kind.LOAD})
    read = sorted({touch.name.lstrip(":") for touch in touches})
    return f"change `{'`, `'.join(changed)}`" if changed else f"read `{'`, `'.join(read)}`"
