"""Classifies texts into folders of files; what is there already is skipped, so the script can be started again."""

import json
import os
from collections import Counter
from pathlib import Path

from apxm import ask, each, flow

LABELS = ["invoice", "complaint", "question", "spam"]
OUT = Path("labels")


def load(folder):
    for path in sorted(Path(folder).iterdir()):
        if path.suffix == ".txt":
            yield path.stem, path.read_text().strip()


def build_prompt(text):
    return f"Classify this mail as one of {', '.join(LABELS)}.\n\n{text}"


def save(path, data):
    tmp = path.with_suffix(".tmp")
    tmp.write_text(json.dumps(data, indent=2))
    os.replace(tmp, path)


@flow
def classify(documents):
    skipped = done = 0
    counts = Counter()
    for name, text in each(documents):
        path = OUT / f"{name}.json"
        if path.exists():
            skipped += 1
            counts[json.loads(path.read_text())["label"]] += 1
            continue
        label = ask(build_prompt(text), choices=LABELS)
        reason = ask(f"Why is this mail {label}? One sentence.\n\n{text}")
        urgent = False
        if label == "complaint":
            urgent = "yes" in ask(f"Is this urgent, yes or no?\n\n{text}").lower()
        save(path, {"name": name, "label": label, "reason": reason, "urgent": urgent})
        counts[label] += 1
        done += 1
        if done % 5 == 0:
            print(done, "done", skipped, "skipped")
    return counts, done, skipped


def main():
    OUT.mkdir(exist_ok=True)
    documents = list(load("mails"))
    counts, done, skipped = classify(documents)
    print(f"{done} classified, {skipped} skipped")
    for label, count in counts.most_common():
        print(f"{label:10} {count}")
    with open("index.json", "w") as f:
        json.dump(sorted(os.listdir(OUT)), f)


if __name__ == "__main__":
    main()
