"""What other languages write, and what AIS has instead: the help of diagnostics.

Nothing here says what is correct: the tables are asked about what was found to be wrong. Where two ways of writing are
common, keys are in small letters.
"""

from __future__ import annotations

from types import MappingProxyType

from apxm.operations.types import JSON, STR, Type

_NOTHING = "a flow that gives nothing is written without `->`"
_OBJECT = "an object is `json`; its fields are read by `x.name`"
_ANY = "`json` holds any value"
_OPTIONAL = "what may be nothing is a `T?`, such as `str?`: a value, or the literal `null`"
RECORD = "a record is declared beside the agents: `type Name { field: str }`; any other object is `json`"
_NULL = "nothing is the literal `null`, of a type such as `str?`"
NO_TERNARY = "there is no `a ? b : c`; `if a { return b } else { return c } -> x` chooses"
NO_CHOICES = (
    'no type lists its texts: it is `str`, and a description says which, as in `color: str "red or green"`; an answer '
    "is one of a few by `choices:`"
)
_FLOW = "what can be called is a flow, inside an agent: `flow name(x: str) -> str { … }`"
_LET = "a value is bound once, by `let name = value`; the result of a call by `ask(…) -> name`"
_LOOP = "`loop (max: 4, …) { … until …  next … }` repeats"
_EACH = "`for x in xs { … } -> ys` does something for each item"
_TRY = "`try { … } catch e { … }` goes on behind a failure"
_FILE = "a program is one file; a flow of another agent is called by `Agent.flow(…)`"
_WAIT = "nothing waits by name: a call starts when all that it uses is there"
_PARALLEL = "nothing is needed: calls that do not use each other's results run at once"
_SWITCH = '`switch text { case "a" => …  default => … } -> x` chooses'
_PRINT = "a line is printed by `print(a, b)`"
_OUTSIDE = "a program has its parameters, and what models answer; it reads nothing else"
_FAIL = "a run fails where a call fails; nothing is raised by hand"
_TEXT = '`"" + x` makes text of anything'
_ASK = 'a model is asked by `ask("…")`'
_UMEM = "memory is written by `umem(value, tier)`"
_QMEM = "memory is read by `qmem(query, tier)`"
_INV = 'a tool is called by `inv("name", …)`'
_SYSTEM = "how a model should answer is said by `system:`"
_NEW = 'there are no objects to make; an object is `json`: `{"key": value}`'
_CONSTANT = "a name is bound once, and its value never changes"
_METHODS = "values have no methods"


def _each(*rows: tuple[str, str]) -> MappingProxyType[str, str]:
    """The help behind the words of each row, by word."""
    return MappingProxyType({word: advice for words, advice in rows for word in words.split()})


TYPES = _each(
    ("string text char character varchar", "did you mean `str`?"),
    ("number double real decimal numeric float32 float64", "did you mean `float`, or `int` for whole numbers?"),
    ("integer long short byte uint bigint i32 i64 u32 u64 int32 int64", "did you mean `int`?"),
    ("boolean", "did you mean `bool`?"),
    ("dict dictionary map mapping object hash hashmap table typeddict", _OBJECT),
    ("any unknown auto var value generic t", _ANY),
    ("record struct class model basemodel dataclass interface", RECORD),
    ("tuple pair", "several values are a list, `list[T]`, or `json` where their types differ"),
    ("set frozenset array vector sequence iterable collection slice", "several values are a list: `list[T]`"),
    ("optional maybe union option", _OPTIONAL),
    (
        "literal enum",
        'one of a few texts is a `str`; a model gives one by `choices: ["a", "b"]`, and `switch` tells them apart',
    ),
    ("none nil void unit undefined never", _NOTHING),
    ("null", _OPTIONAL),
    ("date datetime time timedelta timestamp uuid url path", "AIS has no such values; as text they are `str`"),
    ("bytes bytearray blob buffer binary file image", "AIS has no binary values"),
    ("callable function fn lambda promise future awaitable coroutine", "flows are called and are no values"),
)
"""Help by the names of types."""

WORDS = _each(
    ("def fn func function fun proc sub method procedure export public private static async", _FLOW),
    ("var const val auto mut final set my local int float str string bool", _LET),
    ("import from include require use using package module", _FILE),
    ("class interface trait struct enum object namespace", "agents hold flows: `agent Name { … }`; " + RECORD),
    ("record data schema model type typedef", RECORD),
    ("while do repeat foreach", _LOOP),
    ("elif elsif elseif", "it is written `else if … { … }`"),
    ("unless", "it is written `if not … { … }`"),
    ("then begin end", "a block stands in braces: `{ … }`"),
    ("match when select", _SWITCH + "; `match`, on records, comes with a later version"),
    ("break continue", "`until` ends a loop; what a turn does is chosen by `if` or `switch`"),
    ("except finally rescue ensure", _TRY),
    ("raise throw assert panic", _FAIL),
    ("await", _WAIT),
    ("parallel spawn go concurrently fork", _PARALLEL),
    ("pass", "an empty block is `{ }`"),
    ("yield", "a value is given by `return`"),
    ("lambda", _FLOW),
    ("with open", "there is nothing to open or to close"),
    ("new", _NEW),
    ("del delete global nonlocal typeof instanceof", _CONSTANT),
    ("echo puts printf println", _PRINT),
    ("is", "values are compared by `==`"),
    ("entry main", "the entry is marked by `@entry flow name(…) { … }`"),
    ("memory state", "an agent has no `memory` of its own; " + _UMEM + ", which comes with a later version"),
    (
        "tool tools skill action",
        "tools are declared by `capability name(x: str) -> str`",
    ),
    ("prompt template instructions instruction role persona", _SYSTEM),
)
"""Help by a word where a statement or a declaration starts, or that stands before one."""

VALUES = _each(
    ("none nil undefined", _NULL),
    ("true", "it is written `true`"),
    ("false", "it is written `false`"),
    ("self this", "an agent has no values of its own; its flows are called by `flow(…)`"),
    ("await", _WAIT),
    ("lambda function", _FLOW),
    ("new", _NEW),
    ("typeof delete", _CONSTANT),
)
"""Help by names that nothing binds."""

CALLS = _each(
    ("llm exec chat complete completion generate call_llm query prompt", _ASK),
    ("store_fact store_memory update_memory remember save", _UMEM),
    ("mem", _UMEM + ", and read by `qmem(query, tier)`"),
    ("query_memory recall retrieve load", _QMEM),
    ("invoke tool call_tool call", _INV),
    ("talk send", "another agent is told something by `communicate(agent, message)`"),
    ("log echo puts println printf write", _PRINT),
    ("str string repr to_string tostring", _TEXT),
    ("int float parse_int parse_float parsefloat parseint to_number", "the number that a text writes: `number(text)`"),
    ("bool", "whether something holds is said by a comparison: `x == …`"),
    ("list dict tuple array object", 'a list is written `[a, b]`, an object `{"key": value}`'),
    ("input read open readline fetch", _OUTSIDE),
    ("map filter foreach enumerate", _EACH),
    ("gather wait await all join_all parallel", "`wait_all(a, b)` waits for several; " + _PARALLEL),
    ("concat concatenate combine", "text is joined by `+`, the lines of several values by `merge(a, b)`"),
    ("format sprintf", 'values are put into text by `f"…{name}…"`'),
    ("length size count", "it is written `len(x)`"),
    ("strip", "it is written `trim(x)`"),
    ("sorted", "it is written `sort(xs)`"),
    ("uppercase toupper to_upper", "it is written `upper(x)`"),
    ("lowercase tolower to_lower", "it is written `lower(x)`"),
    ("startswith", "it is written `starts_with(text, part)`"),
    ("endswith", "it is written `ends_with(text, part)`"),
    ("includes has", "it is written `x in xs`"),
    ("match test regex re_match search", 'it is written `matches(text, "pattern")`'),
    ("json_parse parse loads json_loads", "it is written `parse_json(text)`"),
    ("dumps json_dumps stringify", "it is written `to_json(x)`"),
    ("set dedupe distinct uniq", "it is written `unique(xs)`"),
    ("raise throw error fail exit quit abort assert", _FAIL),
    ("sleep delay", _WAIT),
)
"""Help by the names of things that are called."""

_FUNCTIONS_OF_METHODS = _each(
    ("upper touppercase upcase", "upper"),
    ("lower tolowercase downcase casefold", "lower"),
    ("strip trim lstrip rstrip trimend trimstart", "trim"),
    ("split", "split"),
    ("splitlines lines", "lines"),
    ("join", "join"),
    ("replace replaceall sub", "replace"),
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("contains includes has", "contains"),
    ("match test", "matches"),
    ("length len size count", "len"),
    ("sort sorted", "sort"),
    ("unique", "unique"),
)
_OTHER_METHODS = _each(
    ("append push add extend concat insert", "`xs + [x]` is a list with one item more; a value never changes"),
    ("format", 'values are put into text by `f"…{name}…"`'),
    ("tostring", _TEXT),
    ("get keys values items", "a field of json is read by `x.name`"),
    ("map filter foreach reduce", _EACH),
    ("then", _WAIT),
)
TOOL_NAMES = (
    'a tool of a server gets a name of its own by `[tools.NAME] mcp = "SERVER.TOOL"` and `capability NAME(…)`; what '
    "a flow does, a model cannot call"
)
"""Help for what is no name in a list of tools."""
AGENTS = _each(
    ("console logging logger log", _PRINT),
    ("self this", "a flow of the same agent is called by `flow(…)`"),
    ("math os sys re random time datetime np pd", "there are no libraries; " + _OUTSIDE),
    ("json yaml", "JSON is written by `to_json(x)`, and read by `parse_json(text)`"),
    ("asyncio promise", _WAIT),
)
"""Help by what stands before the point of a call, where it is neither an agent nor a value."""

ARGUMENTS = _each(
    ("context contexts", 'context stands behind the prompt, `ask("…", x)`; ' + _SYSTEM),
    ("instructions instruction system_prompt role persona", _SYSTEM),
    ("budget_tokens thinking_budget", "how much thought is given is said by `budget:`"),
    ("text question message messages query content", "the prompt comes first, without a name"),
    ("max_length max_output_tokens maxtokens", "the length of an answer is bound by `max_tokens:`"),
    ("max_retries", "how often a call is tried again is said by `retries:`"),
    ("stream", "an answer comes whole"),
    (
        "format response_format output_format output_type response_model json_schema returns type output",
        "what an answer is read as is said by `schema:`, a type",
    ),
    ("tools max_rounds", "a model calls tools in an `ask` alone: `ask(…, tools: [search])`"),
    ("functions tool_choice capabilities", "what a model may call is said by `tools:` of an `ask`, `[search, fetch]`"),
    ("max_turns max_steps max_iterations max_tool_calls", "how often a model may call tools is said by `max_rounds:`"),
    ("options labels enum categories one_of", "the texts of which an answer is one are said by `choices:`"),
)
"""Help by the names of arguments that a call does not have."""

SAME_ARGUMENTS = MappingProxyType({("plan", "prompt"): "goal"})
"""Operations, a name that others give an argument of theirs, and its name here."""

DEFAULTS = _each(
    ("instructions instruction prompt role persona description", "it is said by `system:`"),
    ("temperature max_tokens timeout retries budget", 'it is given to each call: `ask("…", temperature: 0.2)`'),
    ("memory state", WORDS["memory"]),
    ("name", "the name of an agent stands behind `agent`"),
    ("llm engine", "it is said by `model:`"),
)
"""Help by the names of defaults that an agent does not have."""


def method_advice(value: str, method: str) -> str:
    """Where `method` of `value`, as it is written, was called."""
    name = method.lower().replace("_", "")
    if (function := _FUNCTIONS_OF_METHODS.get(name)) is not None:
        return f"{_METHODS}; it is written `{function}({value})`"
    return f"{_METHODS}; {_OTHER_METHODS[name]}" if name in _OTHER_METHODS else _METHODS


def field_advice(owner: Type, field: str) -> str | None:
    """Where `field` of a value of type `owner` was read, which has no fields."""
    if (function := _FUNCTIONS_OF_METHODS.get(field.lower())) is not None:
        return f"it is written `{function}(x)`"
    if owner.is_list:
        return "an item of a list is `xs[i]`; `for x in xs { … }` takes them one by one"
    if owner.present.fields is not None or owner.present == JSON:
        return f"`(x as {owner.present}).{field}` reads it, and fails where it is null"
    return "an answer is text; one with fields is asked for by `schema: Type`" if owner == STR else None


def cast_advice(found: Type, target: Type) -> str | None:
    """Where a value of type `found` was said to be a `target`."""
    if found == STR and target.is_number:
        return "text is not read by `as`; `number(x)` reads a number"
    if found == STR:
        return f"text is not read by `as`; `parse_json(x) as {target}` reads JSON"
    if target == STR:
        return _TEXT
    if found.fields is not None and target.fields is not None:
        return f"`(x as json) as {target}` looks at the fields alone"
    return None


def word_advice(word: str) -> str | None:
    return WORDS.get(word) or WORDS.get(word.lower())
