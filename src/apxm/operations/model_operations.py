"""Operations that call a model."""

from __future__ import annotations

from apxm.operations.definition import Family, Operation, Parameter, Variadic
from apxm.operations.effects import Effect
from apxm.operations.types import FLOAT, INT, JSON, STR, VERDICT, Type

CONTEXT = Variadic("context", "Values the model gets after the prompt, each as `Context K: value`.")

OPTIONS = (
    Parameter("system", STR, "The system text; default: the agent's."),
    Parameter("backend", STR, "A configured backend by its name; default: the agent's, else the run's.", literal=True),
    Parameter("model", STR, "The model to ask for; default: the agent's, else the backend's.", literal=True),
    Parameter("temperature", FLOAT, "Sampling temperature.", literal=True, minimum=0, maximum=2),
    Parameter("max_tokens", INT, "Most tokens to answer with.", literal=True, minimum=1),
    Parameter("timeout", FLOAT, "Seconds one attempt may take; default: the backend's.", literal=True, above=0),
    Parameter("retries", INT, "Further attempts after a failure that may pass.", literal=True, minimum=0, maximum=100),
)


def _prompt(name: str, doc: str) -> Parameter:
    return Parameter(name, JSON, doc, required=True, by_position=True)


ASK = Operation(
    name="ask",
    summary="One chat call.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(_prompt("prompt", "What to ask; a value that is not text is sent as compact JSON."), *OPTIONS),
    variadic=CONTEXT,
    result=STR,
    typical_ms=1000,
    example='ask("Name three uses of a brick.", temperature: 0.7) -> uses',
)

THINK = Operation(
    name="think",
    summary="One chat call with room to think before the answer.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(
        _prompt("prompt", "What to think about."),
        Parameter("budget", INT, "Tokens to think with.", literal=True, minimum=1),
        *OPTIONS,
    ),
    variadic=CONTEXT,
    result=STR,
    instruction="Think the problem through carefully before you answer. Then give the answer alone.",
    reasons=True,
    typical_ms=3000,
    example='think("Which of the two designs fails first?", budget: 1000) -> verdict_text',
)

REASON = Operation(
    name="reason",
    summary="One chat call that works step by step from the context and ends with its conclusion.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(_prompt("prompt", "The question."), *OPTIONS),
    variadic=CONTEXT,
    result=STR,
    instruction="Work step by step from the given context, and state your conclusion last.",
    typical_ms=2000,
    example='reason("Who is right?", claim, evidence) -> conclusion',
)

PLAN = Operation(
    name="plan",
    summary="A typed decomposition of a goal into steps.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(_prompt("goal", "What to reach."), *OPTIONS),
    variadic=CONTEXT,
    result=Type("plan"),
    available=False,
    typical_ms=2000,
    example='plan("Move the archive without downtime.") -> steps',
)

VERIFY = Operation(
    name="verify",
    summary="A verdict on a claim: confirmed, refuted or insufficient, with a confidence.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(_prompt("claim", "The text of the claim."), *OPTIONS),
    variadic=Variadic("evidence", "What the verdict is to be based on."),
    result=VERDICT,
    available=False,
    typical_ms=1000,
    example='verify("The proof is complete.", proof) -> v',
)

REFLECT = Operation(
    name="reflect",
    summary="A critique of a value.",
    family=Family.MODEL,
    effect=Effect.MODEL,
    parameters=(_prompt("value", "What to look at."), *OPTIONS),
    variadic=CONTEXT,
    result=STR,
    available=False,
    typical_ms=1000,
    example="reflect(draft) -> critique",
)

MODEL_OPERATIONS = (ASK, THINK, REASON, PLAN, VERIFY, REFLECT)
