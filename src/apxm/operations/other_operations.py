"""Operations that call no model: joining, printing, and the ones that later versions bring."""

from __future__ import annotations

from apxm.operations.definition import Family, Operation, Parameter, Variadic
from apxm.operations.effects import Effect
from apxm.operations.types import INT, JSON, STR, list_of

TIERS = ("stm", "ltm", "episodic")

MERGE = Operation(
    name="merge",
    summary="Waits for all its operands; text is joined by newlines, in the order of the arguments.",
    family=Family.DATAFLOW,
    effect=Effect.NONE,
    variadic=Variadic("values", "What to wait for, at least one.", minimum=1),
    result=list_of(JSON),
    result_of_text=STR,
    example="merge(a, b, c) -> all",
)

WAIT_ALL = Operation(
    name="wait_all",
    summary="Waits for all its operands and gives them as a list.",
    family=Family.DATAFLOW,
    effect=Effect.NONE,
    variadic=Variadic("values", "What to wait for, at least one.", minimum=1),
    result=list_of(JSON),
    result_of_text=list_of(STR),
    example="wait_all(a, b) -> both",
)

PRINT = Operation(
    name="print",
    summary="Prints one line: the text forms of its operands, separated by a space.",
    family=Family.OUTPUT,
    effect=Effect.OUTPUT,
    variadic=Variadic("values", "What to print; nothing prints an empty line."),
    example='print("report:", all)',
)

INV = Operation(
    name="inv",
    summary="Calls a tool by its name.",
    family=Family.TOOL,
    effect=Effect.TOOL,
    parameters=(Parameter("tool", STR, "The tool's name.", required=True, by_position=True, literal=True),),
    variadic=Variadic("arguments", "The tool's arguments in order."),
    result=JSON,
    open_arguments=True,
    available=False,
    example='inv("search", q: "dataflow") -> hits',
)

QMEM = Operation(
    name="qmem",
    summary="Reads memory: by search, or one entry by its exact key.",
    family=Family.MEMORY,
    effect=Effect.READ,
    parameters=(
        Parameter("query", STR, "What to search for.", by_position=True),
        Parameter("tier", STR, "Which memory.", required=True, by_position=True, literal=True, choices=TIERS),
        Parameter("key", STR, "The exact key, instead of a query."),
        Parameter("limit", INT, "Most entries to return.", literal=True, minimum=1),
    ),
    result=list_of(STR),
    result_by_key=STR,
    alternatives=("query", "key"),
    available=False,
    example='qmem("what the user likes", "ltm", limit: 5) -> notes',
)

UMEM = Operation(
    name="umem",
    summary="Writes memory.",
    family=Family.MEMORY,
    effect=Effect.WRITE,
    parameters=(
        Parameter("value", JSON, "What to keep.", required=True, by_position=True),
        Parameter("tier", STR, "Which memory.", required=True, by_position=True, literal=True, choices=TIERS),
        Parameter("key", STR, "The key to keep it under."),
        Parameter("tags", list_of(STR), "Words to find it by."),
    ),
    available=False,
    example='umem(findings, "ltm", key: "findings")',
)

FENCE = Operation(
    name="fence",
    summary="Orders all memory operations before it before all after it.",
    family=Family.MEMORY,
    effect=Effect.ALL_MEMORY,
    available=False,
    example="fence()",
)

COMMUNICATE = Operation(
    name="communicate",
    summary="Sends a message to another agent.",
    family=Family.AGENT,
    effect=Effect.OTHER,
    variadic=Variadic("values", "The receiver and the message."),
    open_arguments=True,
    available=False,
    example='communicate("Reviewer", draft)',
)

PAUSE = Operation(
    name="pause",
    summary="Stops until a person answers.",
    family=Family.AGENT,
    effect=Effect.OTHER,
    variadic=Variadic("values", "What to show."),
    result=JSON,
    open_arguments=True,
    available=False,
    example='pause("Publish this?", draft) -> answer',
)

OTHER_OPERATIONS = (MERGE, WAIT_ALL, PRINT, INV, QMEM, UMEM, FENCE, COMMUNICATE, PAUSE)
