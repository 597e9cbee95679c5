"""A judge compares pairs of answers; what it writes is parsed with a regex, and asked for again where that fails."""

import json
import re
import sys
import time

from apxm import ask, each, flow

MAX_RETRIES = 3
one_score_pattern = re.compile(r"\[\[(\d+\.?\d*)\]\]")
verdicts = {"A": 0, "B": 0, "tie": 0, "error": 0}


class ParseError(Exception):
    pass


def judge_prompt(question, answer_a, answer_b, attempt=0):
    prompt = (
        "Judge two answers. Rate the first, then the second, each as [[rating]] from 1 to 10.\n\n"
        f"[Question]\n{question}\n[A]\n{answer_a}\n[B]\n{answer_b}"
    )
    if attempt:
        prompt += f"\n\nYour last reply had no two ratings (attempt {attempt + 1})."
    return prompt


def parse(judgment):
    found = one_score_pattern.findall(judgment)
    if len(found) < 2:
        raise ParseError(f"{len(found)} ratings in {judgment[:30]!r}")
    return float(found[0]), float(found[1])


def judge(question, a, b):
    last = None
    for attempt in range(MAX_RETRIES):
        try:
            return parse(ask(judge_prompt(question, a, b, attempt)))
        except ParseError as e:
            last = e
            time.sleep(0.5 * (attempt + 1))
    raise last


def winner(first, second):
    if abs(first - second) < 1:
        return "tie"
    return "A" if first > second else "B"


@flow
def judge_all(pairs):
    judgments = []
    failed = []
    for pair in each(pairs):
        question = pair["question"]
        try:
            a, b = judge(question, pair["a"], pair["b"])
            # the other way around, since judges like what comes first
            b2, a2 = judge(question, pair["b"], pair["a"])
        except ParseError as e:
            verdicts["error"] += 1
            failed.append((question, str(e)))
            print("failed:", question, e, file=sys.stderr)
            continue
        verdict = winner((a + a2) / 2, (b + b2) / 2)
        verdicts[verdict] += 1
        judgments.append({"question": question, "verdict": verdict, "scores": [a, b, a2, b2]})
        print(".", end="", flush=True)
    print()
    return judgments, failed


if __name__ == "__main__":
    pairs = [{"question": f"q{k}", "a": f"first answer to q{k}", "b": f"other answer to q{k}"} for k in range(24)]
    judgments, failed = judge_all(pairs)
    with open("judgments.jsonl", "w") as out:
        out.writelines(json.dumps(judgment) + "\n" for judgment in judgments)
    print(verdicts, len(failed))
    for question, error in failed:
        print(question, error)
