"""Images and files among the context of calls: what is sent, what may be read, and what a journal keeps."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import apxm
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelRequest, Price
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import IMAGE_TOKENS, PDF_TOKENS, SimulatedBackend
from apxm.errors import ConfigurationError, JournalError, UsageError
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.server import simulator
from apxm.testing import ScriptedBackend
from tests.servers import Server, completion

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF"
GIF = b"GIF89a\x01\0\x01\0"
PDF = b"%PDF-1.7\n\xff"
WEBP = b"RIFF\x1a\0\0\0WEBPVP8 "


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program, within the working directory."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "project"
    made.mkdir()
    (made / "photo.png").write_bytes(PNG)
    (made / "report.pdf").write_bytes(PDF)
    (made / "notes.txt").write_text("Buy milk.\n")
    (tmp_path / "elsewhere.txt").write_text("a secret")
    return made


def compiled(folder: Path, body: str, *, parameters: str = "", level: int = 1) -> apxm.Program:
    path = folder / "program.ais"
    path.write_text(f"agent A {{ @entry flow main({parameters}) -> str {{ {body} }} }}")
    return apxm.compile(path, level=level)


def pool(backend: Any) -> apxm.BackendPool:
    return apxm.BackendPool({backend.info.name: backend}, backend.info.name)


def sent(program: apxm.Program, **values: Any) -> ModelRequest:
    backend = ScriptedBackend(latency_ms=lambda _: 0)
    apxm.run(program, values, backends=pool(backend))
    return backend.calls[-1].request


def failure(program: apxm.Program, **values: Any) -> str:
    with pytest.raises(apxm.RunFailed) as caught:
        sent(program, **values)
    (failed,) = caught.value.result.failures
    assert failed.kind == "content"
    return failed.message


@pytest.mark.parametrize("level", [0, 1, 2])
def test_content_stands_where_the_program_has_it(folder: Path, level: int) -> None:
    body = 'return ask("Compare.", image("photo.png"), 5, file("notes.txt"), image("photo.png"))'
    request = sent(compiled(folder, body, level=level))
    assert request.prompt == (
        "Compare.\n\nContext 1: image photo.png\n\nContext 2: 5\n\n"
        "Context 3: file notes.txt\nBuy milk.\n\n\nContext 4: image photo.png"
    )
    first, text, second = request.attachments
    assert (first.name, first.media_type, text.name, text.is_image) == ("photo.png", "image/png", "notes.txt", False)
    assert request.prompt[: first.at].endswith("Context 1: image photo.png")
    assert second.at == len(request.prompt)


@pytest.mark.parametrize(
    ("data", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
def test_an_image_is_what_it_holds_and_not_what_it_is_called(folder: Path, data: bytes, media_type: str) -> None:
    (folder / "photo.txt").write_bytes(data)
    assert sent(compiled(folder, 'return ask("?", image("photo.txt"))')).images[0].media_type == media_type


def test_an_openai_endpoint_gets_data_urls_between_the_texts(folder: Path) -> None:
    program = compiled(folder, 'return ask("See.", image("photo.png"), 1, image("https://example.org/x"))')

    async def run() -> Any:
        async with Server(completion()) as server:
            config = folder / "config.toml"
            config.write_text(
                f'[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\ncan_see = true\n'
            )
            await apxm.run_async(program, config=config, journal=False)
            return server.received[0].json["messages"][-1]["content"]

    assert asyncio.run(run()) == [
        {"type": "text", "text": "See.\n\nContext 1: image photo.png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="}},
        {"type": "text", "text": "\n\nContext 2: 1\n\nContext 3: image"},
        {"type": "image_url", "image_url": {"url": "https://example.org/x"}},
    ]


def test_a_pdf_stands_between_the_texts_as_an_openai_endpoint_takes_it(folder: Path) -> None:
    program = compiled(folder, 'return ask("Sum up.", file("report.pdf"), file("notes.txt"), image("photo.png"))')
    request = sent(program)
    assert request.prompt == (
        "Sum up.\n\nContext 1: file report.pdf\n\nContext 2: file notes.txt\nBuy milk.\n\n\nContext 3: image photo.png"
    )
    (pdf,), (image,) = request.pdfs, request.images
    assert (pdf.name, pdf.media_type, pdf.is_image, image.name) == ("report.pdf", "application/pdf", False, "photo.png")

    async def run() -> Any:
        async with Server(completion()) as server:
            config = folder / "config.toml"
            config.write_text(
                f'[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
                "can_see = true\ncan_read_pdf = true\n"
            )
            await apxm.run_async(program, config=config, journal=False)
            return server.received[0].json["messages"][-1]["content"]

    first, file, between, photo = asyncio.run(run())
    assert first == {"type": "text", "text": "Sum up.\n\nContext 1: file report.pdf"}
    assert file == {
        "type": "file",
        "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjcK/w=="},
    }
    assert between["text"] == "\n\nContext 2: file notes.txt\nBuy milk.\n\n\nContext 3: image photo.png"
    assert photo["type"] == "image_url"


# --- before the first call -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operand", "why"),
    [
        ('image("missing.png")', "'missing.png' cannot be read: No such file or directory"),
        ('file("photo.png")', "'photo.png' is no text in UTF-8 (byte 0), and no PDF"),
        ('file("table.xlsx")', "'table.xlsx' is no text in UTF-8 (byte 4), and no PDF"),
        ('image("report.pdf")', "'report.pdf' is no image: expected PNG, JPEG, GIF or WebP"),
        ('image("notes.txt")', "'notes.txt' is no image: expected PNG, JPEG, GIF or WebP"),
        ('file("")', "'' is empty, expected the path of a file"),
        ('file(".")', "'.' cannot be read: this is not a regular file"),
        ('file("../elsewhere.txt")', "'../elsewhere.txt' lies outside of the program's folder, "),
        ('file("/etc/hostname")', "'/etc/hostname' lies outside of the program's folder, "),
        ('file("link.txt")', "'link.txt' lies outside of the program's folder, "),
    ],
)
def test_what_the_program_names_is_checked_before_the_first_call(folder: Path, operand: str, why: str) -> None:
    (folder / "link.txt").symlink_to("../elsewhere.txt")
    (folder / "table.xlsx").write_bytes(b"PK\3\4\xff")
    program = compiled(folder, f'ask("first") -> a  return ask("second", a, {operand})')
    backend = ScriptedBackend(latency_ms=lambda _: 0)
    with pytest.raises(UsageError) as caught:
        apxm.run(program, backends=pool(backend))
    assert caught.value.message.startswith(why)
    assert str(caught.value.where).startswith("program.ais:1:")
    assert backend.calls == []


def test_a_path_that_is_given_is_looked_at_before_the_first_call(folder: Path) -> None:
    body = (
        'ask("Which?") -> a  ask("?", a, file(path)) -> b '
        'if a == "x" { return ask("?", image(other)) } else { return b } -> c  return c'
    )
    program = compiled(folder, body, parameters="path: str, other: str")
    backend = ScriptedBackend()
    with pytest.raises(UsageError, match=r"'gone.txt' cannot be read"):
        apxm.run(program, path="gone.txt", other="gone.png", backends=pool(backend))
    assert backend.calls == []
    # What only an arm may need is not missed until it does.
    assert apxm.run(program, path="project/notes.txt", other="gone.png", backends=pool(backend)).value


def test_a_file_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apxm.runtime.content.LARGEST", 1024 * 1024)
    (folder / "large.txt").write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(UsageError, match=r"'large\.txt' is larger than 1 MiB"):
        sent(compiled(folder, 'return ask("?", file("large.txt"))'))


def test_a_backend_that_takes_no_images_is_told_of_before_the_first_call(folder: Path) -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 0, can_see=False)
    program = compiled(folder, 'ask("first") -> a  return ask("second", a, image("photo.png"))')
    with pytest.raises(ConfigurationError) as caught:
        apxm.run(program, backends=pool(backend))
    assert caught.value.message == "backend 'scripted' takes no images, and this call sends one"
    assert backend.calls == []
    assert apxm.run(compiled(folder, 'return ask("?", file("notes.txt"))'), backends=pool(backend)).value


def test_a_backend_that_takes_no_pdf_is_told_of_before_the_first_call(folder: Path) -> None:
    backend = ScriptedBackend(latency_ms=lambda _: 0, can_read_pdf=False)
    program = compiled(folder, 'ask("first") -> a  return ask("second", a, file("report.pdf"))')
    with pytest.raises(ConfigurationError) as caught:
        apxm.run(program, backends=pool(backend))
    said = "backend 'scripted' takes no PDFs, and this call sends one"
    assert (caught.value.message, caught.value.hint) == (
        said, "backends.scripted.can_read_pdf = true says that its model does",
    )  # fmt: skip
    assert str(caught.value.where).startswith("program.ais:1:")
    assert backend.calls == []
    given = compiled(folder, 'return ask("?", file(name + ".pdf"))', parameters="name: str")
    with pytest.raises(apxm.RunFailed) as failed:
        apxm.run(given, name="report", backends=pool(backend))
    (failure,) = failed.value.result.failures
    assert (failure.kind, failure.message) == ("content", said)
    assert backend.calls == []


@pytest.mark.parametrize("takes", [True, False])
def test_a_configured_endpoint_takes_pdfs_where_it_says_so(folder: Path, takes: bool) -> None:
    config = folder / "config.toml"

    async def run() -> list[Any]:
        async with Server(completion()) as server:
            config.write_text(
                f'[backends.local]\nkind = "openai"\nmodel = "m"\nendpoint = "{server.endpoint}"\n'
                + ("can_read_pdf = true\n" if takes else "")
            )
            with nullcontext() if takes else pytest.raises(ConfigurationError, match="'local' takes no PDFs"):
                program = compiled(folder, 'return ask("?", file("report.pdf"))')
                await apxm.run_async(program, config=config, journal=False)
            return server.received

    assert len(asyncio.run(run())) == takes


# --- what is computed ----------------------------------------------------------------------------------------------


def test_a_computed_path_is_read_when_the_call_is_made(folder: Path) -> None:
    program = compiled(folder, 'ask("Which?") -> a  return ask("?", file(name + ".txt"), a)', parameters="name: str")
    assert "Buy milk." in sent(program, name="notes").prompt
    assert failure(program, name="other") == "'other.txt' cannot be read: No such file or directory"
    assert "lies outside of the program's folder" in failure(program, name="../elsewhere")


def test_a_path_that_the_user_gives_may_lie_anywhere(folder: Path, tmp_path: Path) -> None:
    """Relative ones from the working directory on, as everywhere on a command line."""
    program = compiled(folder, 'return ask("?", file(path))', parameters="path: str")
    assert "a secret" in sent(program, path="elsewhere.txt").prompt
    assert "a secret" in sent(program, path=str(tmp_path / "elsewhere.txt")).prompt
    listed = compiled(folder, 'return ask("?", file("" + paths.first))', parameters="paths: json")
    assert "a secret" in sent(listed, paths={"first": "elsewhere.txt"}).prompt


def test_a_default_is_the_program_s_own_choice(folder: Path) -> None:
    program = compiled(folder, 'return ask("?", file(path))', parameters='path: str = "../elsewhere.txt"')
    with pytest.raises(UsageError, match=r"lies outside of the program's folder"):
        sent(program)


def test_a_url_that_is_made_up_is_refused(folder: Path) -> None:
    program = compiled(folder, 'return ask("?", image("https://example.org/?q=" + q))', parameters="q: str")
    assert "is a URL that the program makes up" in failure(program, q="a secret")
    given = compiled(folder, 'return ask("?", image(url))', parameters="url: str")
    assert sent(given, url="https://example.org/x.png").images[0].source == "https://example.org/x.png"


def test_a_file_is_the_same_for_all_calls_of_a_run(folder: Path) -> None:
    body = 'ask("1", file("notes.txt")) -> a  return ask("2", a, file("notes.txt"))'

    def script(request: ModelRequest) -> str:
        (folder / "notes.txt").write_text("changed")
        return request.prompt

    backend = ScriptedBackend(script=script, latency_ms=lambda _: 0)
    assert str(apxm.run(compiled(folder, body), backends=pool(backend)).value).count("Buy milk.") == 2


# --- what it counts ------------------------------------------------------------------------------------------------


def test_an_image_counts_where_tokens_do(folder: Path) -> None:
    one = compiled(folder, 'return ask("?", image("photo.png"), max_tokens: 1)')
    used = apxm.run(one, backends=pool(SimulatedBackend(latency="constant:0"))).metrics.llm.total_input_tokens
    assert used == IMAGE_TOKENS + -(-len("?\n\nContext 1: image photo.png") // 4)
    for most, status in ((1_000, apxm.Status.SUCCEEDED), (100, apxm.Status.STOPPED)):
        backend = ScriptedBackend(latency_ms=lambda _: 0, image_tokens=500, prices={"scripted": Price(1, 1)})
        try:
            found = apxm.run(one, backends=pool(backend), max_total_tokens=most).status
        except apxm.RunFailed as error:
            found = error.result.status
        assert found is status


def test_a_pdf_counts_where_tokens_do(folder: Path) -> None:
    one = compiled(folder, 'return ask("?", file("report.pdf"), max_tokens: 1)')
    used = apxm.run(one, backends=pool(SimulatedBackend(latency="constant:0"))).metrics.llm.total_input_tokens
    assert used == PDF_TOKENS + -(-len("?\n\nContext 1: file report.pdf") // 4)
    for most, status in ((1_000, apxm.Status.SUCCEEDED), (100, apxm.Status.STOPPED)):
        backend = ScriptedBackend(latency_ms=lambda _: 0, pdf_tokens=500)
        try:
            found = apxm.run(one, backends=pool(backend), max_total_tokens=most).status
        except apxm.RunFailed as error:
            found = error.result.status
        assert found is status


def test_the_simulator_answers_and_counts_as_the_simulated_backend(folder: Path) -> None:
    program = compiled(folder, 'return ask("See.", image("photo.png"), 1, file("report.pdf"), file("notes.txt"))')

    async def over_http() -> apxm.Result:
        async with simulator(SimulatorOptions(latency="constant:0")) as address:
            settings = OpenAISettings(model="simulated", endpoint=address.endpoint, can_see=True, can_read_pdf=True)
            return await apxm.run_async(program, backends=pool(OpenAIBackend("local", settings, {})), journal=False)

    served = asyncio.run(over_http())
    made = apxm.run(program, backends=pool(SimulatedBackend(latency="constant:0")))
    assert served.value == made.value
    assert served.metrics.llm.total_input_tokens == made.metrics.llm.total_input_tokens


# --- the journal ---------------------------------------------------------------------------------------------------


def journaled(program: apxm.Program, fails: str, journals: Path | None) -> tuple[str, apxm.BackendPool]:
    """A run whose call with `fails` in its prompt failed for good, and backends that answer everything."""

    def script(request: ModelRequest) -> Any:
        broken = fails in request.prompt
        return apxm.BackendError("http_status", "no", retryable=False) if broken else "answer"

    backend = ScriptedBackend(script=script, latency_ms=lambda _: 0)
    with pytest.raises(apxm.RunFailed) as caught:
        apxm.run(program, backends=pool(backend), journal=True, journal_dir=journals)
    backend.script = lambda _: "answer"
    return caught.value.result.run_id, pool(backend)


TWO = 'ask("first", image("photo.png"), file("notes.txt"), file("report.pdf")) -> a  return ask("second", a)'


def test_a_journal_has_digests_and_no_content(folder: Path) -> None:
    run_id, _ = journaled(compiled(folder, TWO), "second", folder / "journals")
    [path] = (folder / "journals").glob("*.apxmlog")
    written = path.read_bytes()
    assert run_id.encode() in written
    assert b"Buy milk." not in written
    assert PNG not in written
    assert PDF not in written


def test_a_run_that_goes_on_reads_its_files_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    program = compiled(folder, TWO.replace('"photo.png"', "path"), parameters="path: str")
    with pytest.raises(apxm.RunFailed) as caught:
        apxm.run(
            program, path="project/photo.png", journal=True, backends=pool(ScriptedBackend(script=answer, retries=0))
        )
    os.chdir("/")
    backend = ScriptedBackend(latency_ms=lambda _: 0)
    resumed = apxm.resume(caught.value.result.run_id, backends=pool(backend))
    assert [call.request.prompt for call in backend.calls] == ["second\n\nContext 1: first"]
    assert resumed.metrics.execution.nodes_reused == 1


def answer(request: ModelRequest) -> str | apxm.BackendError:
    """Answers the first call of `TWO` alone."""
    if request.prompt.startswith("first"):
        return "first"
    return apxm.BackendError("http_status", "no", retryable=False)


def test_a_journal_from_elsewhere_reads_nothing_from_where_it_says_that_its_program_was(
    folder: Path, tmp_path: Path
) -> None:
    run_id, backends = journaled(compiled(folder, TWO), "second", folder / "journals")
    os.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"'photo\.png' cannot be read"):
        apxm.resume(run_id, journal_dir=folder / "journals", backends=backends)


@pytest.mark.parametrize("changed", ["photo.png", "notes.txt", "report.pdf"])
def test_a_file_that_has_changed_since_is_told_of(folder: Path, changed: str) -> None:
    run_id, backends = journaled(compiled(folder, TWO), "second", folder / "journals")
    os.chdir(folder)
    with (folder / changed).open("ab") as file:
        file.write(b"more")
    with pytest.raises(JournalError) as caught:
        apxm.resume(run_id, journal_dir=folder / "journals", backends=backends)
    assert changed in str(caught.value)


def test_the_calls_of_a_journal_are_shown_without_their_files(folder: Path) -> None:
    from apxm.journal.catalog import read
    from apxm.runtime.replay import replayed_calls

    run_id, _ = journaled(compiled(folder, TWO), "second", folder / "journals")
    (folder / "photo.png").unlink()
    (folder / "notes.txt").unlink()
    first, second = replayed_calls(read(folder / "journals", run_id))
    assert "Context 1: image photo.png" in first.request.prompt
    assert "Context 2: file notes.txt" in first.request.prompt
    assert second.request.prompt.startswith("second")
    assert (first.exact, first.result is not None) == (None, True)
