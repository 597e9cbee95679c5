"""Makes harder instructions of seed instructions, as Evol-Instruct does, and appends what is good to a JSONL file."""

import json
import os
import random

from apxm import ask, each, flow

DEPTH = [
    "Add one more constraint to the prompt.",
    "Replace general concepts with more specific ones.",
    "Make it need several steps of reasoning.",
]
BREADTH = "Write a new prompt in the same domain, but rarer."


def create_prompt(instruction, method):
    return f"Rewrite the prompt into a more complex one. {method}\n#Given#: {instruction}\n#Rewritten#:"


def elimination_prompt(before, after):
    return f"Are these two instructions equal in meaning? Answer 'Equal' or 'Not Equal'.\nOne: {before}\nTwo: {after}"


def is_bad(text):
    lowered = text.lower()
    return "sorry" in lowered and len(lowered.split()) < 80


def save(path, record):
    with open(path, "a") as f:
        f.write(json.dumps(record) + "\n")


@flow
def evolve(seeds, out, rounds=2):
    pool = [{"instruction": seed, "category": "seed"} for seed in seeds]
    kept_total = 0
    for generation in range(rounds):
        evolved = []
        failures = 0
        for item in each(pool):
            depth = random.random() < 0.7
            method = random.choice(DEPTH) if depth else BREADTH
            prompt = create_prompt(item["instruction"], method)

            instruction = ask(prompt, temperature=1.0)
            if is_bad(instruction):
                failures += 1
                continue
            verdict = ask(elimination_prompt(item["instruction"], instruction))
            if verdict.strip().startswith("Equal"):
                failures += 1
                continue
            answer = ask(instruction)
            record = {
                "generation": generation,
                "category": "depth" if depth else "breadth",
                "instruction": instruction,
                "output": answer,
            }
            evolved.append(record)
            save(out, record)
        print(f"generation {generation}: {len(evolved)} kept, {failures} failed of {len(pool)}")
        kept_total += len(evolved)
        random.shuffle(evolved)
        pool = evolved or pool
    return kept_total


if __name__ == "__main__":
    random.seed(7)
    out = "evolved.jsonl"
    if os.path.exists(out):
        os.remove(out)
    seeds = [f"Write a function that handles task {k}." for k in range(12)]
    kept = evolve(seeds, out)
    with open(out) as f:
        lines = [json.loads(line) for line in f]
    print(kept, "kept,", len(lines), "written, next random", random.randrange(1000))
