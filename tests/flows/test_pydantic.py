"""Tools whose parameters are models of pydantic, where that is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest

from apxm.errors import OperationError, UsageError
from apxm.flows.asking import ask
from apxm.flows.classes import structure
from apxm.flows.flow import flow
from apxm.lanes.marks import tool
from tests.flows.test_tools import calling
from tests.lanes.talking import Talking, talk, told

pydantic = pytest.importorskip("pydantic")


class City(pydantic.BaseModel):
    name: str
    post_code: int = pydantic.Field(0, alias="postCode", ge=0)


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    city: City | None = None
    friends: list[Person] = []


class Upper(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def marked(cls, text: str) -> str:
        return f"<{text}>"


def sent(function: Any, arguments: object) -> tuple[list[Any], dict[str, Any]]:
    """What the model is told of a call of a function with these arguments, and the schema of that."""
    backend = Talking(calling((function.__name__, json.dumps(arguments))))
    talk(lambda: ask("?", tools=[function]), backend)
    return told(backend.asked[1]), json.loads(backend.asked[0].tools[0].schema)


def test_arguments_arrive_as_objects_of_the_class() -> None:
    met: list[Any] = []

    def greet(person: Annotated[Person, "whom to greet"], others: list[City], home: City | None = None) -> str:
        met.extend([person, others, home])
        return "done"

    given = {"person": {"name": "Ada", "city": {"name": "Rome", "postCode": 7}}, "others": [{"name": "Oslo"}]}
    said, _ = sent(greet, given)
    assert said == ["done"]
    assert met == [
        Person(name="Ada", city=City(name="Rome", postCode=7)),
        [City(name="Oslo")],
        None,
    ]


def test_the_model_is_told_the_schemas_of_the_classes() -> None:
    def greet(person: Annotated[Person, "whom to greet"], home: City | None = None) -> str:
        return f"{person}{home}"

    jsonschema = pytest.importorskip("jsonschema")
    _, schema = sent(greet, {"person": {"name": "Ada"}})
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert schema["properties"]["person"]["description"] == "whom to greet"
    assert schema["required"] == ["person"]
    assert valid({"person": {"name": "Ada", "friends": [{"name": "Bob", "city": {"name": "Rome", "postCode": 1}}]}})
    assert not valid({"person": {"name": "Ada", "friends": [{"city": None}]}})
    assert not valid({"person": {"name": "Ada"}, "home": {"name": "Rome", "postCode": -1}})
    assert valid({"person": {"name": "Ada"}, "home": None})


def test_two_classes_of_one_name_are_told_apart() -> None:
    class Inner(pydantic.BaseModel):
        a: int

    first = pydantic.create_model("Same", inner=(Inner, ...))
    class_of_other: Any = pydantic.create_model("Inner", b=(str, ...))
    second = pydantic.create_model("Same", inner=(class_of_other, ...))

    def both(one: Any, two: Any) -> list[object]:
        return [one.inner.a, two.inner.b]

    both.__annotations__ = {"one": first, "two": second}
    said, schema = sent(both, {"one": {"inner": {"a": 1}}, "two": {"inner": {"b": "x"}}})
    assert said == ['[1,"x"]']
    assert {tuple(each["properties"]) for each in schema["$defs"].values()} == {("a",), ("b",)}


def test_what_does_not_fit_the_model_is_told() -> None:
    def greet(person: Person) -> str:
        return person.name

    said, _ = sent(greet, {"person": {"name": "Ada", "city": {"postCode": -1}}})
    assert said == [
        "error: city.name: Field required; city.postCode: Input should be greater than or equal to 0 - at `$.person`"
    ]


def test_an_object_is_made_of_what_the_model_gave() -> None:
    def shout(text: Upper) -> str:
        return text.text

    assert sent(shout, {"text": {"text": "hi"}})[0] == ["<hi>"]


def test_defaults_and_results_may_be_models() -> None:
    def move(to: City = City(name="Rome", postCode=3)) -> City:  # noqa: B008  # a default of the user's
        return to

    said, schema = sent(move, {})
    assert [json.loads(each) for each in said] == [{"name": "Rome", "postCode": 3}]
    assert schema["required"] == []


def test_what_is_no_model_is_still_refused() -> None:
    class Other: ...

    def take(other: Other) -> str:
        return str(other)

    def give() -> object:
        return Other()

    take.__annotations__["other"] = Other
    with pytest.raises(UsageError, match="the tool 'take' takes what no model can give") as refused:
        talk(lambda: ask("?", tools=[take]), Talking(calling()))
    assert "pydantic models" in str(refused.value.hint)
    with pytest.raises(UsageError, match="what the tool 'give' gave is nothing that a model can be told"):
        sent(give, {})


@tool(readonly=True)
def lookup(city: City) -> str:
    return city.name


@flow
def asking() -> str:
    return ask("Where?", tools=[lookup])


def test_a_run_goes_on_with_what_such_a_tool_gave(tmp_path: Path) -> None:
    program = asking.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    result = program.run()
    again = program.resume(result.run_id)
    assert again.value == result.value
    assert result.metrics.llm.total_requests > 1
    assert again.trace.reused > again.metrics.llm.total_requests  # those of the tool, too


def test_a_model_may_stand_in_any_type_that_is_asked_for() -> None:
    @flow
    def main(schema: Any) -> Any:
        return ask("?", schema=schema)

    simulated = main.using(backend="simulated", latency="constant:1", journal=False)
    cities = simulated(list[City])
    assert [type(city) for city in cities] == [City] * len(cities)
    assert isinstance(simulated(City | None), City | None)
    assert {type(city) for city in simulated(dict[str, City]).values()} <= {City}
    assert {type(person) for person in simulated(list[Person])} <= {Person}
    with pytest.raises(UsageError, match="`schema=BaseModel` says nothing of what an answer holds"):
        simulated(pydantic.BaseModel)


def test_what_does_not_fit_a_model_in_a_list_is_asked_for_again() -> None:
    answers = iter(['{"answer": [{"name": "Rome", "postCode": -1}]}', '{"answer": [{"name": "Rome", "postCode": 1}]}'])
    found = structure(list[City])
    with pytest.raises(OperationError, match="does not fit list"):
        found.read(next(answers))
    assert found.made(found.read(next(answers))) == [City(name="Rome", postCode=1)]
