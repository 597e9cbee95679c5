"""The shape of the tree, and what a parse does to its surroundings."""

import gc
import logging
import re
from concurrent.futures import ThreadPoolExecutor

import lark
import pytest
from lark import Lark

from apxm.errors import SourceError
from apxm.language.lalr import RESERVED_WORDS
from apxm.language.parser import parse
from apxm.language.syntax import Identifier, Syntax, SyntaxTree
from apxm.source import SourceFile, Span
from tests.language.grammar_tables import GRAMMAR as GRAMMAR_FILE
from tests.language.grammar_tables import TABLES, tables

GRAMMAR = GRAMMAR_FILE.read_text(encoding="utf-8")


def tree_of(text: str) -> SyntaxTree:
    return parse(SourceFile("t.ais", text))


def body(statements: str) -> str:
    """The statements of a flow, as a compact outline."""
    tree = tree_of(f"agent A {{ flow f() {{ {statements} }} }}")
    return "; ".join(outline(statement) for statement in tree.agents[0].flows[0].body.statements)


def outline(node: object) -> str:
    """`Kind(field, …)`, spans left out, names bare, constants as Python writes them."""
    if isinstance(node, Identifier):
        return node.text
    if isinstance(node, tuple):
        return "[" + ", ".join(outline(item) for item in node) + "]"
    if not isinstance(node, Syntax):
        return repr(node)
    values = [outline(value) for name, value in vars(node).items() if name not in ("span", "placeholders")]
    return f"{type(node).__name__}({', '.join(values)})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ask("p", a) -> x', "CallStatement(CallExpression([ask], [Constant('p'), Name('a')], []), x)"),
        ("print()", "CallStatement(CallExpression([print], [], []), None)"),
        (
            "B.g(1, k: -2.5,)",
            "CallStatement(CallExpression([B, g], [Constant(1)], [NamedArgument(k, Constant(-2.5))]), None)",
        ),
        ("let x = a.b.c", "Let(x, None, FieldOf(FieldOf(Name('a'), b), c))"),
        ("let x = f().b", "Let(x, None, FieldOf(CallExpression([f], [], []), b))"),
        ("return a + (b + c) + 1", "Return(Arithmetic(['+', '+'], [Name('a'), Arithmetic(['+'], [Name('b'), "
         "Name('c')]), Constant(1)]))"),
        ("return n-1 -2 - -3", "Return(Arithmetic(['-', '-', '-'], [Name('n'), Constant(1), Constant(2), "
         "Constant(-3)]))"),
        ("return -n * - - - n / 2", "Return(Arithmetic(['*', '/'], [Negative(Name('n')), Negative(Name('n')), "
         "Constant(2)]))"),
        ("return - - n", "Return(Negative(Negative(Name('n'))))"),
        ("return -9223372036854775808", "Return(Constant(-9223372036854775808))"),
        ("return a - b * c + d", "Return(Arithmetic(['-', '+'], [Name('a'), Arithmetic(['*'], [Name('b'), Name('c')]), "
         "Name('d')]))"),
        ("return not not not a", "Return(Not(Name('a')))"),
        ("return not not a in b", "Return(Not(Not(Comparison('in', Name('a'), Name('b')))))"),
        ("return a[0].b[c[1]]", "Return(Item(FieldOf(Item(Name('a'), Constant(0)), b), Item(Name('c'), Constant(1))))"),
        ("return -a[-1]", "Return(Negative(Item(Name('a'), Constant(-1))))"),
        ('return f()[:1][2:][:]["k"]', "Return(Item(Part(Part(Part(CallExpression([f], [], []), None, Constant(1)), "
         "Constant(2), None), None, None), Constant('k')))"),
        ("return [null][0]", "Return(Item(ListDisplay([Constant(None)]), Constant(0)))"),
        ("let x: list[str] = []", "Let(x, TypeName('list', TypeName('str', None, False), False), ListDisplay([]))"),
        ('let x = [1, true, {"k": []}]', "Let(x, None, ListDisplay([Constant(1), Constant(True), "
         "DictDisplay([Constant('k')], [ListDisplay([])])]))"),
        ("let x = 1; let y = 2;", "Let(x, None, Constant(1)); Let(y, None, Constant(2))"),
        ("let x = [0, 0.0, -0.0]", "Let(x, None, ListDisplay([Constant(0), Constant(0.0), Constant(-0.0)]))"),
        ("return a", "Return(Name('a'))"),
        ("return", "Return(None)"),
        ("f(switch: 1, default: 2)", "CallStatement(CallExpression([f], [], [NamedArgument(switch, Constant(1)), "
         "NamedArgument(default, Constant(2))]), None)"),
        ("let x = a.next", "Let(x, None, FieldOf(Name('a'), next))"),
        ("letter(returned, ifs)", "CallStatement(CallExpression([letter], [Name('returned'), Name('ifs')], []), None)"),
    ],
)  # fmt: skip
def test_a_statement_becomes_this_tree(text: str, expected: str):
    assert body(text) == expected


def test_the_arms_of_a_switch():
    assert body('switch x { case "a" => f()  case "b" => { }  case "c" => {"k": 1}  default => y } -> r') == (
        "Switch(Name('x'), ["
        "Case(Constant('a'), Block([Return(CallExpression([f], [], []))], True)), "
        "Case(Constant('b'), Block([])), "
        "Case(Constant('c'), Block([Return(DictDisplay([Constant('k')], [Constant(1)]))], True))], "
        "Block([Return(Name('y'))], True), r)"
    )


def test_precedence():
    assert body("return a or not b == c + 1 and d") == (
        "Return(Logic('or', [Name('a'), Logic('and', [Not(Comparison('==', Name('b'), "
        "Arithmetic(['+'], [Name('c'), Constant(1)]))), Name('d')])]))"
    )


def test_the_limit_of_a_for_looks_like_a_call():
    assert body("for x in items (max: 3) { }") == (
        "For(x, CallExpression([items], [], [NamedArgument(max, Constant(3))]), [], Block([]), None)"
    )


def test_casts_and_types_where_arguments_are_types():
    assert body("let x = -a as list[str?]? as json + 1") == (
        "Let(x, None, Arithmetic(['+'], [Negative(Cast(Cast(Name('a'), "
        "TypeName('list', TypeName('str', None, True), True)), TypeName('json', None, False))), Constant(1)]))"
    )
    assert body("f(schema: list[Person?]?)") == (
        "CallStatement(CallExpression([f], [], [NamedArgument(schema, "
        "TypeOrNull(Item(Name('list'), TypeOrNull(Name('Person')))))]), None)"
    )


def test_constructs_that_later_versions_run_have_their_parts():
    assert body("if a { } else if b { f() } else { }") == (
        "If([Name('a'), Name('b')], [Block([]), Block([CallStatement(CallExpression([f], [], []), None)])], "
        "Block([]), None)"
    )
    assert body("loop (max: 4, d: x) { until d  next d: y } -> z") == (
        "Loop([NamedArgument(max, Constant(4)), NamedArgument(d, Name('x'))], "
        "Block([Until(Name('d')), Next([NamedArgument(d, Name('y'))])]), z)"
    )
    assert body("try { f() } catch e { g(e) } -> z") == (
        "Try(Block([CallStatement(CallExpression([f], [], []), None)]), e, "
        "Block([CallStatement(CallExpression([g], [Name('e')], []), None)]), z)"
    )


@pytest.mark.parametrize(
    ("text", "expressions", "blocks"),
    [
        ("f(a, k: b)", ["f(a, k: b)"], []),
        ("return a", ["a"], []),
        ('switch a { case "x" => b  default => { } } -> c', ["a", '"x"'], ["b", "{ }"]),
        ("if a { f() } else if b { } else { g() }", ["a", "b"], ["{ f() }", "{ }", "{ g() }"]),
        ("loop (max: 4, d: a) { }", ["4", "a"], ["{ }"]),
        ("for x in a (max: 3) { f() }", ["a (max: 3)"], ["{ f() }"]),
        ("try { f() } catch e { } -> x", [], ["{ f() }", "{ }"]),
        ("until a", ["a"], []),
        ("next d: a, e: b", ["a", "b"], []),
    ],
)
def test_a_statement_tells_what_is_in_it(text: str, expressions: list[str], blocks: list[str]):
    (statement,) = tree_of(f"agent A {{ flow f() {{ {text} }} }}").agents[0].flows[0].body.statements
    assert [written(node) for node in statement.expressions] == expressions
    assert [written(node) for node in statement.blocks] == blocks


def written(node: Syntax) -> str:
    return node.span.source.text[node.span.start : node.span.end]


def test_records():
    tree = tree_of('type P { name: str "as written" age: int = 3 tags: list[str] "words" = [] }')
    assert [outline(record) for record in tree.records] == [
        "Record(P, [RecordField(name, TypeName('str', None, False), Constant('as written'), None), "
        "RecordField(age, TypeName('int', None, False), None, Constant(3)), "
        "RecordField(tags, TypeName('list', TypeName('str', None, False), False), Constant('words'), ListDisplay([]))])"
    ]


def test_declarations():
    tree = tree_of("""
        agent A {
            system: "s"
            capability look(q: str "for what" = "x") readonly "Looks.";
            capability find() -> list[str]
            @entry @no_fuse flow f(a: str, b: list[int] = [1],) -> str { return a }
            flow g { }
        }
        agent B { }
    """)
    assert [outline(agent) for agent in tree.agents] == [
        "Agent(A, [AgentDefault(system, Constant('s'))], "
        "[Capability(look, [FlowParameter(q, TypeName('str', None, False), Constant('for what'), Constant('x'))], "
        "None, True, Constant('Looks.')), "
        "Capability(find, [], TypeName('list', TypeName('str', None, False), False), False, None)], "
        "[Flow([entry, no_fuse], f, [FlowParameter(a, TypeName('str', None, False), None, None), "
        "FlowParameter(b, TypeName('list', TypeName('int', None, False), False), None, ListDisplay([Constant(1)]))], "
        "TypeName('str', None, False), Block([Return(Name('a'))])), "
        "Flow([], g, [], None, Block([]))], [])",
        "Agent(B, [], [], [], [])",
    ]


def test_every_span_is_the_text_of_its_node():
    text = 'agent A {\n  @entry flow f(a: str = "x") -> str { (ask(a + "é", k: a.b)) -> x\n return (x) + f"{x}" }\n}'
    text = text.replace('(ask(a + "é", k: a.b))', 'ask((a) + "é", k: a.b)')
    spans = {text[span.start : span.end] for span in spans_of(tree_of(text))}
    assert spans == {
        text,
        text.removesuffix("\n"),
        "A",
        '@entry flow f(a: str = "x") -> str { ask((a) + "é", k: a.b) -> x\n return (x) + f"{x}" }',
        "@entry",
        "f",
        'a: str = "x"',
        "a",
        "str",
        '"x"',
        '{ ask((a) + "é", k: a.b) -> x\n return (x) + f"{x}" }',
        'ask((a) + "é", k: a.b) -> x',
        'ask((a) + "é", k: a.b)',
        "ask",
        '(a) + "é"',
        "(a)",
        '"é"',
        "k: a.b",
        "k",
        "a.b",
        "b",
        "x",
        'return (x) + f"{x}"',
        '(x) + f"{x}"',
        "(x)",
        'f"{x}"',
    }


def spans_of(node: object) -> list[Span]:
    if isinstance(node, tuple):
        return [span for item in node for span in spans_of(item)]
    if not isinstance(node, Syntax):
        return []
    return [node.span, *(span for value in vars(node).values() for span in spans_of(value))]


def conflicts(grammar: str, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        Lark(grammar, parser="lalr", debug=True)
    return caplog.text


def test_the_grammar_has_no_conflict(caplog: pytest.LogCaptureFixture):
    """Where two readings are possible lark takes the first, and says so in its log only."""
    assert "conflict" in conflicts('start: "if" start ("else" start)? | "x"', caplog).lower()
    assert conflicts(GRAMMAR, caplog) == ""


def test_the_tables_are_those_of_the_grammar():
    assert TABLES.read_text(encoding="utf-8") == tables(), "grammar.lark has changed: run `make grammar`"


def test_the_reserved_words_are_those_of_the_grammar():
    words = set(re.findall(r'"([a-z]+)"', GRAMMAR.partition("// --- tokens")[0]))
    assert words - {"type", "memory"} == RESERVED_WORDS  # which start a declaration, and are names elsewhere


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("text", ["agent A { }", "agent {"])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool, text: str):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        try:
            tree_of(text)
        except SourceError:
            assert text == "agent {"
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_parses_in_several_threads_do_not_mix():
    texts = [f'agent A{i} {{ flow f{i}() {{ ask("{i}") -> x{i} }} }}' for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(tree_of, texts))
    assert [tree.source.text for tree in trees] == texts
    assert [tree.agents[0].flows[0].name.text for tree in trees] == [f"f{i}" for i in range(40)]
