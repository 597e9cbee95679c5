"""Several agents answer arithmetic questions, read each other's answers, and answer again."""

import json
import re
from collections import Counter

from apxm import ask, each, flow

AGENTS = 3
ROUNDS = 2


def construct_message(others, question, idx):
    if len(others) == 0:
        return {"role": "user", "content": "Check your answer. Give it as (X)."}
    prefix = "These are the solutions of other agents: "
    for agent in others:
        prefix = prefix + "\n\n One agent's solution: ```" + agent[idx]["content"] + "```"
    prefix = prefix + "\n\n Using these as advice, answer again as (X): {}".format(question)
    return {"role": "user", "content": prefix}


def construct_assistant_message(completion):
    return {"role": "assistant", "content": completion}


def as_prompt(context):
    return "\n".join(f"{m['role']}: {m['content']}" for m in context)


def parse_answer(sentence):
    found = re.findall(r"\(([A-D])\)", sentence)
    if not found:
        return None
    return found[-1]


def most_frequent(answers):
    counts = Counter(a for a in answers if a is not None)
    if not counts:
        return None
    best = max(counts.values())
    return sorted(a for a in counts if counts[a] == best)[0]


@flow
def debate(questions):
    generated = {}
    scores = []
    for question, gold in each(questions):
        contexts = [
            [{"role": "user", "content": f"{question} Explain, and give the answer as (X), a letter from A to D."}]
            for _ in range(AGENTS)
        ]

        for round in range(ROUNDS):
            for i, context in enumerate(contexts):
                if round != 0:
                    others = contexts[:i] + contexts[i + 1 :]
                    context.append(construct_message(others, question, 2 * round - 1))
                completion = ask(as_prompt(context))
                context.append(construct_assistant_message(completion))

        finals = [parse_answer(context[-1]["content"]) for context in contexts]
        answer = most_frequent(finals)
        scores.append(1 if answer == gold else 0)
        generated[question] = (contexts, answer)
        print(f"{question!r}: {finals} -> {answer} (mean so far {sum(scores) / len(scores):.2f})")
    return generated, scores


if __name__ == "__main__":
    with open("questions.json") as f:
        questions = [(q["question"], q["answer"]) for q in json.load(f)]
    generated, scores = debate(questions)
    with open("debate.json", "w") as f:
        json.dump(generated, f, indent=1)
    print("performance:", sum(scores) / len(scores), len(generated))
