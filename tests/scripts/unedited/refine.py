"""Self-refinement: a draft, feedback on it, a better draft, until the feedback is content; then the first good title."""

import json
import textwrap
from typing import NamedTuple

from apxm import ask, each, flow

MAX_ATTEMPTS = 4


class Attempt(NamedTuple):
    draft: str
    feedback: str
    score: int


def get_score(feedback):
    for line in feedback.splitlines():
        if line.lower().startswith("score:"):
            try:
                return int(line.split(":")[1].strip().split("/")[0])
            except ValueError:
                return 0
    return 0


def feedback_on(draft):
    return ask(f"Give feedback on this text. End with a line 'Score: N/10'.\n{draft}")


def improve(topic, history):
    shown = "\n\n".join(f"Draft: {a.draft}\nFeedback: {a.feedback}" for a in history)
    return ask(f"Improve the text on {topic}.\n\n{shown}")


def refine(topic):
    history = []
    draft = ask(f"Write a short text on {topic}.")
    for _ in range(MAX_ATTEMPTS):
        feedback = feedback_on(draft)
        attempt = Attempt(draft, feedback, get_score(feedback))
        history.append(attempt)
        if attempt.score >= 8:
            break
        draft = improve(topic, history)
    return max(history, key=lambda a: a.score), history


@flow
def main(topics):
    results = {}
    attempts = 0
    for n, topic in enumerate(each(topics), start=1):
        best, history = refine(topic)
        attempts += len(history)
        results[topic] = {"best": best.draft, "score": best.score, "scores": [a.score for a in history]}
        print(f"[{n}] {topic}: {results[topic]['scores']}")

    # The first title that is liked: this loop is left on an answer.
    title = None
    for candidate in each(sorted(topics)):
        verdict = ask(f"Is '{candidate}' a good title? yes or no")
        if verdict.lower().startswith("yes"):
            title = candidate
            break
    else:
        title = "Untitled"
    return results, attempts, title


if __name__ == "__main__":
    topics = ["bees", "stones", "rivers", "clocks", "maps", "knots", "salt", "glass"]
    results, attempts, title = main(topics)
    with open("refined.json", "w") as f:
        json.dump(results, f, indent=2, sort_keys=True)
    print(title, attempts)
    print(textwrap.shorten(" ".join(r["best"] for r in results.values()), 100))
