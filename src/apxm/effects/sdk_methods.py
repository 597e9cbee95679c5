"""What is known of the SDKs by which programs call models: which of their methods ask one, and which only look.

By the text, a path such as ``client.chat.completions.create`` is a call of a model, unless what it begins with is seen
to be something else. When it runs, the class of the object decides: what is not of an SDK known here waits for its
turn.
"""

from __future__ import annotations

import ast
import types
from typing import Any, cast

_PATHS = frozenset(
    {
        *(("completions", method) for method in (
            "create", "parse", "stream", "create_with_completion", "create_partial", "create_iterable",
        )),
        *(("responses", method) for method in ("create", "parse", "stream")),
        *(("messages", method) for method in ("create", "stream", "create_with_completion")),
        ("embeddings", "create"),
    }
)  # fmt: skip
"""How the paths of methods end that ask a model."""
_BETWEEN = frozenset({"with_raw_response", "with_streaming_response"})
"""What may stand before their last part."""
_ASKING = frozenset(method for _, method in _PATHS)
_CLIENTS = ("openai", "anthropic", "instructor", "apxm.openai")
"""The packages whose objects have such methods."""
_MODELS = frozenset({"BaseLanguageModel", "Embeddings"})
"""Classes of LangChain that are models."""
_MODEL_METHODS = frozenset({"invoke", "stream", "embed_query", "embed_documents"})
_PURE_STEPS = frozenset({"BaseLLMOutputParser", "BasePromptTemplate"})
"""Those of what stands around a model in a chain, and only computes."""
_LOOKING = frozenset(
    {
        "copy", "dict", "get_final_completion", "get_final_message", "get_final_response", "json", "model_copy",
        "model_dump", "model_dump_json", "model_json_schema", "model_validate", "model_validate_json", "parse",
        "text", "to_dict", "to_json", "until_done",
    }
)  # fmt: skip
"""Methods of answers, and of classes of pydantic, that change nothing."""
_OF_ANSWERS = ("pydantic.", "openai.", "anthropic.", "langchain_core.messages.")
"""The packages that define those."""


def asks_by_path(callee: ast.expr) -> bool:
    """Whether what is called asks a model, as far as the text says."""
    match callee:
        case ast.Attribute(attr=method, value=ast.Attribute(attr=between, value=ast.Attribute(attr=owner))) if (
            between in _BETWEEN
        ):
            return (owner, method) in _PATHS
        case ast.Attribute(attr=method, value=ast.Attribute(attr=owner)):
            return (owner, method) in _PATHS
        case _:
            return False


def is_of_sdk(thing: object) -> bool:
    """Whether an object, or a module, belongs to one of the SDKs."""
    if isinstance(thing, types.ModuleType):
        return True  # whatever it holds
    return any(_is_in(each.__module__, _CLIENTS) for each in type(thing).__mro__)


def asks_of(owner: object, method: str) -> bool:
    """Whether a method of an object asks a model, as its class says."""
    if method in _MODEL_METHODS:
        return _is_model(owner)
    return method in _ASKING and not isinstance(owner, types.ModuleType) and is_of_sdk(owner)


def asks(function: object) -> bool:
    """Whether a function, or a bound method, asks a model."""
    name = getattr(function, "__name__", "")
    if isinstance(function, types.MethodType):
        return asks_of(function.__self__, name)
    # What stands around a method, to give its raw response or to check its arguments, has the method's own name.
    module = getattr(function, "__module__", None) or ""
    return isinstance(function, types.FunctionType) and name in _ASKING and _is_in(module, _CLIENTS)


def only_looks(function: object) -> bool:
    """Whether it is a method of an answer, or of a class of pydantic, that changes nothing."""
    if not isinstance(function, types.MethodType):
        return False
    module = cast(str | None, getattr(function.__func__, "__module__", None)) or ""
    return function.__name__ in _LOOKING and module.startswith(_OF_ANSWERS)


def is_client(made: type[object]) -> bool:
    """Whether it is the class of a client, of which to make one changes nothing."""
    return any(each.__name__ == "BaseClient" and _is_in(each.__module__, _CLIENTS) for each in made.__mro__)


def _is_model(thing: Any) -> bool:
    """Whether an object of LangChain is a model, or made of models and what only computes."""
    names = {each.__name__ for each in type(thing).__mro__ if _is_in(each.__module__, ("langchain_core",))}
    if names & _MODELS:
        return True
    if "RunnableSequence" in names:
        return all(_is_model(step) or _only_computes(step) for step in thing.steps)
    return "RunnableBinding" in names and _is_model(thing.bound)


def _only_computes(step: object) -> bool:
    names = {each.__name__ for each in type(step).__mro__ if _is_in(each.__module__, ("langchain_core",))}
    return bool(names & _PURE_STEPS) and _is_in(type(step).__module__, ("langchain_core", "langchain_openai"))


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
