"""What calls of a model are told, and calls outside of flows."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.errors import ConfigurationError, JournalError, OperationError, UsageError
from apxm.flows.asking import ask, think, verify
from apxm.flows.calling import Content, file, image
from apxm.flows.flow import flow
from tests.lanes.talking import Talking, talk

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


def echo(request: ModelRequest) -> str:
    return request.prompt


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"temprature": 1}, "`ask` has no option 'temprature'", "did you mean temperature?"),
        ({"temperature": 3}, "`ask`: temperature= goes from 0 to 2, and this is 3", None),
        ({"max_tokens": "many"}, "`ask`: max_tokens= must be an int, not a str", None),
        ({"choices": "yes"}, "`ask`: choices= must be a list[str], not a str", None),
        ({"budget": 10}, "`ask` has no option 'budget'", "docs/python.md"),
    ],
)
def test_an_option_that_is_none_is_refused_before_anything_is_asked(options: Any, said: str, hint: str | None) -> None:
    backend = Talking(echo)
    with pytest.raises(UsageError) as refused:
        talk(lambda: ask("?", **options), backend)
    assert (refused.value.message, refused.value.hint, backend.asked) == (said, hint, [])


def test_each_operation_has_options_of_its_own() -> None:
    assert talk(lambda: think("?", budget=10), Talking(echo))[0].value == "?"
    with pytest.raises(UsageError, match="`verify` has no option 'choices'"):
        talk(lambda: verify("?", choices=["a"]), Talking(echo))  # type: ignore[call-arg]


def test_what_has_no_form_as_json_is_refused() -> None:
    with pytest.raises(UsageError, match="what `ask` is given must be a JSON value"):
        talk(lambda: ask("?", object()), Talking(echo))


# --- images and files --------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "chart.png"
    path.write_bytes(PNG)
    return path


def test_images_and_files_stand_among_the_context(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "notes.txt").write_text("bees")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    backend = Talking(echo)
    url = "https://example.org/x.png"

    def main() -> str:
        notes, paper = file(tmp_path / "notes.txt"), file(tmp_path / "paper.pdf")
        return ask("Look.", image(picture), "a value", notes, paper, image(url))

    run, _ = talk(main, backend)
    assert run.value == (
        "Look.\n\nContext 1: image chart.png\n\nContext 2: a value\n\nContext 3: file notes.txt\nbees\n\n"
        "Context 4: file paper.pdf\n\nContext 5: image"
    )
    sent = backend.asked[0].attachments
    assert [(each.name, each.media_type, each.url) for each in sent] == [
        ("chart.png", "image/png", ""),
        ("notes.txt", "", ""),
        ("paper.pdf", "application/pdf", ""),
        ("", "", url),
    ]


def test_a_file_that_the_code_writes_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "state.txt"

    def main() -> list[str]:
        found: list[str] = []
        for text in ("one", "two"):
            path.write_text(text)
            found.append(ask("?", file(path)))
        return found

    assert talk(main, Talking(echo))[0].value == [f"?\n\nContext 1: file state.txt\n{t}" for t in ("one", "two")]


def test_what_a_backend_does_not_take_is_refused_before_anything_is_asked(picture: Path, tmp_path: Path) -> None:
    blind = Talking(echo, can_see=False, can_read_pdf=False)
    with pytest.raises(ConfigurationError, match="backend 'talking' takes no images") as refused:
        talk(lambda: ask("?", image(picture)), blind)
    assert (refused.value.hint, blind.asked) == ("backends.talking.can_see = true says that its model does", [])
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(OperationError, match="takes no PDFs"):
        talk(lambda: ask("?", file(tmp_path / "paper.pdf")), blind)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match=r"none.png' cannot be read: No such file"):
        talk(lambda: ask("?", image(tmp_path / "none.png")), Talking(echo))


def test_an_image_in_place_of_the_prompt_is_refused(picture: Path) -> None:
    with pytest.raises(UsageError, match="is given an image") as refused:
        talk(lambda: ask(image(picture)), Talking(echo))
    assert refused.value.hint == f"what to do with it comes first: ask(PROMPT, image({str(picture)!r}))"


@flow
def looking(path: Path) -> str:
    return ask("?", image(path))


def test_a_run_goes_on_only_with_the_same_image(picture: Path, tmp_path: Path) -> None:
    program = looking.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    result = program.run(picture)
    assert program.resume(result.run_id, picture).trace.reused == 1
    picture.write_bytes(PNG + b"1")
    with pytest.raises(JournalError, match="took another way"):
        program.resume(result.run_id, picture)


def test_what_is_held_in_memory_is_sent_as_a_file_without_a_name(picture: Path) -> None:
    backend = Talking(echo)

    def main() -> str:
        here = "data:image/png;base64," + b64encode(PNG).decode()
        return ask("Look.", image(PNG), file(b"bees \xc3\xa9"), file(b"%PDF-1.7"), image(here), image(picture))

    run, _ = talk(main, backend)
    assert run.value == (
        "Look.\n\nContext 1: image\n\nContext 2: file\nbees é\n\nContext 3: file\n\nContext 4: image\n\n"
        "Context 5: image chart.png"
    )
    sent = backend.asked[0].attachments
    assert [(each.name, each.media_type) for each in sent] == [
        ("", "image/png"), ("", ""), ("", "application/pdf"), ("", "image/png"), ("chart.png", "image/png"),
    ]  # fmt: skip
    assert sent[0].digest == sent[3].digest == sent[4].digest
    assert sent[2].source == "data:application/pdf;base64,JVBERi0xLjc="


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (image(b"text"), "is no image: expected PNG, JPEG, GIF or WebP"),
        (file(b"\xff"), "is no text in UTF-8 (byte 0), and no PDF"),
        (file(b"x" * (20 * 1024 * 1024 + 1)), "is larger than 20 MiB"),
        (image("data:image/png,x"), "is no URL that holds a file: it has no `;base64,`"),
        (image("data:image/png;base64,a*b"), "is no URL that holds a file: "),
    ],
)
def test_bytes_that_are_nothing_to_send_are_refused(content: Content, said: str) -> None:
    backend = Talking(echo)
    with pytest.raises(OperationError) as refused:
        talk(lambda: ask("?", content), backend)
    assert said in refused.value.message
    assert len(refused.value.message) < 200
    assert backend.asked == []


def test_bytes_in_place_of_the_prompt_are_not_printed_whole() -> None:
    with pytest.raises(UsageError, match="is given an image") as refused:
        talk(lambda: ask(image(PNG * 1000)), Talking(echo))
    assert len(str(refused.value)) < 400


@flow
def seeing(data: bytes) -> str:
    return ask("?", image(data))


def test_a_run_goes_on_only_with_the_same_bytes_and_keeps_their_digest(tmp_path: Path) -> None:
    program = seeing.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    data = PNG + b"secret" * 100
    result = program.run(data)
    assert program.resume(result.run_id, data).trace.reused == 1
    with pytest.raises(JournalError, match="took another way"):
        program.resume(result.run_id, data + b"1")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in kept
    assert b64encode(data)[200:260] not in kept


# --- outside of flows --------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration and no key, so that the simulated model answers."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "APXM_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("nowhere")
def test_a_call_outside_of_a_flow_is_a_run_of_its_own() -> None:
    assert ask("Hello").endswith("Hello")
    assert verify("Water is wet.").confidence >= 0


@pytest.mark.usefixtures("nowhere")
def test_so_is_one_with_tools() -> None:
    def lookup(q: str) -> str:
        """Looks something up."""
        return q

    assert ask("row 1", tools=[lookup])


def test_in_a_running_loop_it_says_what_to_do() -> None:
    async def go() -> None:
        ask("Hello")

    with pytest.raises(UsageError, match=r"apxm\.ask cannot be called inside a running event loop") as refused:
        asyncio.run(go())
    assert refused.value.hint == "call it in a function under @apxm.flow, and await its run_async(…)"


@pytest.mark.parametrize("journal", [False, True])
def test_half_of_a_surrogate_pair_is_sent_as_the_mark_of_what_is_no_character(tmp_path: Path, journal: bool) -> None:
    @flow
    def asking() -> list[str]:
        return [ask("a \udc80"), ask("b", "c \udc80")]

    told = asking.using(backend="simulated", latency="constant:1", journal=journal, journal_dir=tmp_path)
    assert [text.partition(": ")[2] for text in told.run().value or ()] == ["a \ufffd", "b Context 1: c \ufffd"]


def test_a_tuple_is_given_as_a_list() -> None:
    assert ask(("a", {"b": (1, 2)})).endswith(': ["a",{"b":[1,2]}]')


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": ""}, "model= is a name"),
        ({"backend": ""}, "backend= is a name"),
        ({"max_rounds": 0}, "max_rounds= goes from 1 to 1000, and this is 0"),
    ],
)
def test_an_option_that_says_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ask("a", **options)
