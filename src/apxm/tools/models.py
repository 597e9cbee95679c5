"""Classes of pydantic among what a function takes and gives. `msgspec` knows nothing of them; they know themselves."""

from __future__ import annotations

from typing import Any

from apxm.operations.types import Value


def is_model(kind: Any) -> bool:
    """Whether a class is one of pydantic's models."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


class ModelSchemas:
    """The schemas of models that stand in one schema, whose definitions are at the top of that."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def schema(self, kind: Any) -> dict[str, Any]:
        """What `msgspec` is told of a class that it does not know. Raises `NotImplementedError`."""
        if not is_model(kind):
            raise NotImplementedError
        name = self._names.setdefault(kind, self._free(kind.__name__))
        found: dict[str, Any] = kind.model_json_schema(ref_template=f"#/$defs/{name}_{{model}}")
        self.definitions |= {f"{name}_{inner}": schema for inner, schema in found.pop("$defs", {}).items()}
        return found

    def _free(self, name: str) -> str:
        return name if name not in self._names.values() else f"{name}{len(self._names)}"


class Models:
    """The models in one value, and of what they were made: they need not be what they would be written as."""

    def __init__(self) -> None:
        self._given: dict[int, tuple[object, Value]] = {}

    def made(self, kind: Any, value: Value) -> Any:
        """An object of a class that `msgspec` does not know. Raises `ValueError`."""
        if not is_model(kind):
            raise NotImplementedError
        try:
            model = kind.model_validate(value)
        except ValueError as unfit:
            flaws: Any = getattr(unfit, "errors", None)
            if flaws is None:
                raise
            said = [(".".join(map(str, each["loc"])), each["msg"]) for each in flaws(include_url=False)]
            raise ValueError(
                "; ".join(f"{place}: {message}" if place else message for place, message in said)
            ) from None
        self._given[id(model)] = model, value
        return model

    def given(self, model: Any) -> Value:
        """The value that an object was made of, or else that it is written as. Raises `TypeError`."""
        if id(model) in self._given:
            return self._given[id(model)][1]
        return written(model)


def written(model: Any) -> Value:
    """A model as JSON. Raises `TypeError` for what is none."""
    if not is_model(type(model)):
        raise TypeError(f"Encoding objects of type {type(model).__name__} is unsupported")
    return model.model_dump(mode="json", by_alias=True)
