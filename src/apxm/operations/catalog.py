"""The one table of operations."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from apxm.operations.definition import Family, Operation, Parameter, Variadic
from apxm.operations.effects import Effect
from apxm.operations.functions import FUNCTIONS
from apxm.operations.types import BOOL, FLOAT, INT, JSON, PLAN, STR, TOOLS, TYPE, VERDICT, Type, list_of

CONTEXT = Variadic(
    "context",
    "What the model gets after the prompt: values, each as `Context K: value`, and `image(…)` and `file(…)`.",
    content=True,
)
CONTENT_KINDS = "content-kinds"
"""The option that says which operand of the context is an image or a file, and not a value."""

OPTIONS = (
    Parameter("system", STR, "The system text; default: the agent's."),
    Parameter("backend", STR, "A configured backend by its name; default: the agent's, else the run's.", literal=True),
    Parameter("model", STR, "The model to ask for; default: the agent's, else the backend's.", literal=True),
    Parameter("temperature", FLOAT, "Sampling temperature.", literal=True, minimum=0, maximum=2),
    Parameter("max_tokens", INT, "Most tokens to answer with.", literal=True, minimum=1),
    Parameter("timeout", FLOAT, "Seconds one attempt may take; default: the backend's.", literal=True, above=0),
    Parameter(
        "timeout_first_token",
        FLOAT,
        "Seconds until the first part of its answer, which then comes in parts; default: the backend's.",
        literal=True,
        above=0,
    ),
    Parameter("retries", INT, "Further attempts after a failure that may pass.", literal=True, minimum=0, maximum=100),
    Parameter(
        CONTENT_KINDS,
        list_of(STR),
        "The family's operation of each operand; empty for a value.",
        literal=True,
        noted=True,
    ),
)

ANSWERS = (
    Parameter("schema", TYPE, "The type as a value of which the answer is read; default: its text.", literal=True),
    Parameter("choices", list_of(STR), "The texts of which the answer is one, instead of `schema`.", literal=True),
)
MOST_ROUNDS = 10
"""How many rounds of calls of tools an `ask` has at most that does not say."""
ROUNDS = "rounds"
"""The option of an `ask` with tools that has what they were called for so far, and gave."""
ANSWERS_AS = "answers-as"
"""The option of an `ask` with tools that has the type of its answer, as its value holds calls as well."""
_TOOLS = (
    Parameter("tools", TOOLS, "What the model may call; default: the agent's.", literal=True),
    Parameter(
        "max_rounds", INT, f"Most rounds of such calls; default: {MOST_ROUNDS}.", literal=True, minimum=1, maximum=1000
    ),
    Parameter(ROUNDS, list_of(JSON), "", noted=True),
    Parameter(ANSWERS_AS, STR, "", literal=True, noted=True),
)
_BUDGET = Parameter("budget", INT, "Tokens to think with.", literal=True, minimum=1)


def _model_call(
    name: str,
    summary: str,
    first: tuple[str, str],
    *further: Parameter,
    variadic: Variadic = CONTEXT,
    result: Type = STR,
    **more: Any,
) -> Operation:
    """An operation that calls a model; `first` is what it is asked, by name and meaning."""
    prompt = Parameter(first[0], JSON, first[1], required=True, by_position=True)
    return Operation(
        name=name,
        summary=summary,
        family=Family.MODEL,
        effect=Effect.MODEL,
        parameters=(prompt, *further, *(ANSWERS if result == STR else ()), *OPTIONS),
        variadic=variadic,
        result=result,
        **more,
    )


_MODEL_CALLS = (
    _model_call(
        "ask",
        "One chat call.",
        ("prompt", "What to ask; a value that is not text is sent as compact JSON."),
        *_TOOLS,
        typical_ms=1000,
        example='ask("Name three uses of a brick.", temperature: 0.7) -> uses',
    ),
    _model_call(
        "think",
        "One chat call with room to think before the answer.",
        ("prompt", "What to think about."),
        _BUDGET,
        instruction="Think the problem through carefully before you answer. Then give the answer alone.",
        reasons=True,
        typical_ms=3000,
        example='think("Which of the two designs fails first?", budget: 1000) -> verdict_text',
    ),
    _model_call(
        "reason",
        "One chat call that works step by step from the context and ends with its conclusion.",
        ("prompt", "The question."),
        _BUDGET,
        instruction="Work step by step from the given context, and state your conclusion last.",
        typical_ms=2000,
        example='reason("Who is right?", claim, evidence) -> conclusion',
    ),
    _model_call(
        "plan",
        "The steps to a goal, and for each step those that it needs.",
        ("goal", "What to reach."),
        instruction="Break the goal down into steps that can each be done on their own. Order them so that each comes "
        "after the steps it needs, and name those by their numbers.",
        result=PLAN,
        typical_ms=2000,
        example='plan("Move the archive without downtime.") -> steps',
    ),
    _model_call(
        "verify",
        "A verdict on a claim: confirmed, refuted or insufficient, with a confidence and a reason.",
        ("claim", "The text of the claim."),
        variadic=Variadic("evidence", "What the verdict is to be based on."),
        instruction="Judge the claim by the evidence in the context, or by what you know where there is none. It is "
        "confirmed if that shows it to be true, refuted if that shows it to be false, and insufficient otherwise.",
        result=VERDICT,
        typical_ms=1000,
        example='verify("The proof is complete.", proof) -> v',
    ),
    _model_call(
        "reflect",
        "A critique of a value.",
        ("value", "What to look at."),
        instruction="Criticize what you are given: say what is wrong, what is missing and what is unclear in it, and "
        "what would make it better. Do not rewrite it.",
        typical_ms=1000,
        example="reflect(draft) -> critique",
    ),
)

_CONTENT = (
    Operation(
        name="image",
        summary="An image among the context of a model call: PNG, JPEG, GIF or WebP.",
        family=Family.CONTENT,
        effect=Effect.NONE,
        parameters=(
            Parameter(
                "path",
                STR,
                "Its file, from the program's folder on, or a URL that the endpoint is to read.",
                required=True,
                by_position=True,
            ),
        ),
        result=Type("image"),
        example='ask("What is on this photo?", image("photo.png")) -> seen',
    ),
    Operation(
        name="file",
        summary="A file of text or a PDF among the context of a model call, with its name.",
        family=Family.CONTENT,
        effect=Effect.NONE,
        parameters=(
            Parameter("path", STR, "The file, from the program's folder on.", required=True, by_position=True),
        ),
        result=Type("file"),
        example='ask("Sum up these notes.", file("notes.txt")) -> summary',
    ),
)

TOOL_OPTIONS = (
    Parameter("timeout", FLOAT, "Seconds one attempt may take; default: the tool's.", literal=True, above=0),
    Parameter(
        "retries",
        INT,
        "Further attempts after a failure, of a tool that is declared `readonly`.",
        literal=True,
        minimum=0,
        maximum=100,
    ),
)

_TIERS = ("stm", "ltm", "episodic")
_OTHERS = (
    Operation(
        name="merge",
        summary="Waits for all its operands; text is joined by newlines, in the order of the arguments.",
        family=Family.DATAFLOW,
        effect=Effect.NONE,
        variadic=Variadic("values", "What to wait for, at least one.", minimum=1),
        result=list_of(JSON),
        result_of_text=STR,
        example="merge(a, b, c) -> all",
    ),
    Operation(
        name="wait_all",
        summary="Waits for all its operands and gives them as a list.",
        family=Family.DATAFLOW,
        effect=Effect.NONE,
        variadic=Variadic("values", "What to wait for, at least one.", minimum=1),
        result=list_of(JSON),
        result_of_text=list_of(STR),
        example="wait_all(a, b) -> both",
    ),
    Operation(
        name="print",
        summary="Prints one line: the text forms of its operands, separated by a space.",
        family=Family.OUTPUT,
        effect=Effect.OUTPUT,
        variadic=Variadic("values", "What to print; nothing prints an empty line."),
        example='print("report:", all)',
    ),
    Operation(
        name="inv",
        summary="Calls a tool by its name: one that a `capability` declares, whose arguments and result are checked, "
        "or any other, which takes its arguments by name and gives json.",
        family=Family.TOOL,
        effect=Effect.TOOL,
        parameters=(
            Parameter("tool", STR, "The tool's name.", required=True, by_position=True, literal=True),
            *TOOL_OPTIONS,
            Parameter("readonly", BOOL, "", literal=True, noted=True),
        ),
        variadic=Variadic("arguments", "Those of a declared tool in order; else one json object of all.", minimum=1),
        result=JSON,
        result_declared=True,
        open_arguments=True,
        typical_ms=200,
        example='inv("search", q: "dataflow") -> hits',
    ),
    Operation(
        name="qmem",
        summary="Reads memory: by search, or one entry by its exact key.",
        family=Family.MEMORY,
        effect=Effect.READ,
        parameters=(
            Parameter("query", STR, "What to search for.", by_position=True),
            Parameter("tier", STR, "Which memory.", required=True, by_position=True, literal=True, choices=_TIERS),
            Parameter("key", STR, "The exact key, instead of a query."),
            Parameter("limit", INT, "Most entries to return.", literal=True, minimum=1),
        ),
        result=list_of(STR),
        result_by_key=STR,
        alternatives=("query", "key"),
        available=False,
        example='qmem("what the user likes", "ltm", limit: 5) -> notes',
    ),
    Operation(
        name="umem",
        summary="Writes memory.",
        family=Family.MEMORY,
        effect=Effect.WRITE,
        parameters=(
            Parameter("value", JSON, "What to keep.", required=True, by_position=True),
            Parameter("tier", STR, "Which memory.", required=True, by_position=True, literal=True, choices=_TIERS),
            Parameter("key", STR, "The key to keep it under."),
            Parameter("tags", list_of(STR), "Words to find it by."),
        ),
        available=False,
        example='umem(findings, "ltm", key: "findings")',
    ),
    Operation(
        name="fence",
        summary="Orders all memory operations before it before all after it.",
        family=Family.MEMORY,
        effect=Effect.ALL_MEMORY,
        available=False,
        example="fence()",
    ),
    Operation(
        name="communicate",
        summary="Sends a message to another agent.",
        family=Family.AGENT,
        effect=Effect.OTHER,
        variadic=Variadic("values", "The receiver and the message."),
        open_arguments=True,
        available=False,
        example='communicate("Reviewer", draft)',
    ),
    Operation(
        name="pause",
        summary="Stops until a person answers.",
        family=Family.AGENT,
        effect=Effect.OTHER,
        variadic=Variadic("values", "What to show."),
        result=JSON,
        open_arguments=True,
        available=False,
        example='pause("Publish this?", draft) -> answer',
    ),
)


_ARGUMENTS = {
    "text": "The text.",
    "texts": "The texts.",
    "part": "What to look for.",
    "separator": "What stands between the parts.",
    "old": "What is replaced; not empty.",
    "new": "What stands there instead.",
    "pattern": "The expression, as RE2 has them, in linear time; `^` and `$` are the ends of the text.",
    "value": "The value; what json holds, only the run can tell.",
    "first": "The first number; the end, where it stands alone.",
    "end": "The end.",
    "items": "The list.",
    "lists": "The lists.",
}
"""What the arguments of functions are, by their names."""


def _function(name: str, summary: str, arguments: str, example: str) -> Operation:
    """A function of values, whose `arguments` are given by name; their types are the function's."""
    function = FUNCTIONS[name]
    signature, *others = function.signatures
    repeats = Variadic(arguments, _ARGUMENTS[arguments], minimum=1) if signature.repeats else None
    parameters = tuple(
        Parameter(
            argument,
            JSON if others or signature.is_generic else type_,  # the checker asks the function
            _ARGUMENTS[argument],
            required=position < function.least,
            by_position=True,
            is_pattern=argument == "pattern",
        )
        for position, (argument, type_) in enumerate(zip(arguments.split(), signature.parameters, strict=True))
    )
    return Operation(
        name=name,
        summary=summary,
        family=Family.VALUE,
        effect=Effect.NONE,
        parameters=() if repeats else parameters,
        variadic=repeats,
        result=signature.result,
        example=example,
    )


_FUNCTIONS = tuple(
    _function(*row)
    for row in (
        ("len", "How many items a list, characters a text, or entries an object has.", "value", "len(names) -> count"),
        ("join", "The texts of a list as one text.", "texts separator", 'join(names, ", ") -> line'),
        (
            "split",
            "The parts of a text between separators, else between blanks.",
            "text separator",
            "split(a) -> words",
        ),
        ("lines", "The lines of a text, without what ends them.", "text", "lines(answer) -> points"),
        ("trim", "A text without the blanks around it.", "text", "trim(answer) -> clean"),
        ("lower", "A text in small letters.", "text", "lower(answer) -> small"),
        ("upper", "A text in capital letters.", "text", "upper(title) -> loud"),
        ("replace", "A text with one part replaced wherever it stands.", "text old new", 'replace(a, "-", " ") -> b'),
        ("contains", "Whether a text has another one in it.", "text part", 'contains(answer, "yes") -> agrees'),
        ("starts_with", "Whether a text begins with another one.", "text part", 'starts_with(line, "- ") -> is_item'),
        ("ends_with", "Whether a text ends with another one.", "text part", 'ends_with(line, "?") -> asks'),
        (
            "matches",
            "Whether a part of a text fits a regular expression.",
            "text pattern",
            'matches(a, "^[0-9]+$") -> b',
        ),
        ("parse_json", "The value that a text, all of it, writes as JSON.", "text", "parse_json(answer) -> record"),
        ("to_json", "A value as compact JSON: text, too, stands in quotes.", "value", "to_json(names) -> written"),
        ("number", "The number that a text writes in decimal digits.", "text", "number(answer) -> score"),
        (
            "range",
            "The whole numbers from 0, or from the first, to before the end.",
            "first end",
            "range(3) -> numbers",
        ),
        ("unique", "The items of a list, each once, where it comes first.", "items", "unique(names) -> different"),
        ("sort", "The numbers of a list, or its texts by their characters' codes.", "items", "sort(names) -> ordered"),
        ("zip", "The first items of all lists, then the second, to the shortest's end.", "lists", "zip(a, b) -> pairs"),
    )
)

OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (*_MODEL_CALLS, *_CONTENT, *_OTHERS, *_FUNCTIONS)}
)
"""Every operation of the language, by name."""
AVAILABLE: MappingProxyType[str, Operation] = MappingProxyType(
    {name: operation for name, operation in OPERATIONS.items() if operation.available}
)
"""Those that this version runs."""
