"""Summaries of long documents: map-reduce, and a variant that refines one summary from part to part."""

import argparse
import textwrap
from pathlib import Path

from apxm import ask, each, flow

CHUNK = 400


def split_text(text, size=CHUNK):
    """The paragraphs of a text, gathered to chunks."""
    chunk = []
    length = 0
    for paragraph in text.split("\n\n"):
        if chunk and length + len(paragraph) > size:
            yield "\n\n".join(chunk)
            chunk, length = [], 0
        chunk.append(paragraph)
        length += len(paragraph)
    if chunk:
        yield "\n\n".join(chunk)


def combine(parts):
    while len(parts) > 1:
        groups = [parts[i : i + 3] for i in range(0, len(parts), 3)]
        parts = [ask("Combine these summaries into one:\n\n" + "\n---\n".join(group)) for group in each(groups)]
    return parts[0]


@flow
def map_reduce(paths):
    summaries = {}
    for path in each(paths):
        text = path.read_text()
        parts = []
        for chunk in each(split_text(text)):
            parts.append(ask(f"Summarize:\n\n{chunk}"))
        summary = combine(parts)
        if len(summary) > 60:
            summary = ask("Shorten this to one sentence: " + summary)
        summaries[path.name] = summary
        print(f"{path.name}: {len(text)} characters, {len(parts)} chunks")
    return summaries


@flow
def refining(paths):
    """Each part needs the summary of those before it, so only the documents overlap."""
    summaries = {}
    for path in each(paths):
        summary = ""
        for n, chunk in enumerate(split_text(path.read_text())):
            if n == 0:
                summary = ask(f"Summarize:\n\n{chunk}")
            else:
                summary = ask(f"Here is a summary so far: {summary}\nRefine it with:\n\n{chunk}")
        summaries[path.name] = summary
    return summaries


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="documents")
    parser.add_argument("--out", default="summaries.txt")
    args = parser.parse_args()
    paths = sorted(Path(args.folder).glob("*.txt"))
    reduced = map_reduce(paths)
    refined = refining(paths)
    out = Path(args.out)
    with out.open("w") as f:
        for name in reduced:
            f.write(f"# {name}\n")
            f.write(textwrap.fill(reduced[name], 80) + "\n")
            f.write(textwrap.fill(refined[name], 80) + "\n")
    print(f"{len(reduced)} documents, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
