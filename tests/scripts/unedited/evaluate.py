"""Accuracy of a model on questions with known answers, by category."""

import csv
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field

from apxm import ask, each, flow
from tqdm import tqdm

logging.basicConfig(level=logging.WARNING)
logger = logging.getLogger(__name__)

PROMPT = """Answer with one letter of A, B, C, D in brackets, such as [A].

Question: {question}
Answer:"""


@dataclass
class Scores:
    correct: int = 0
    total: int = 0
    by_category: dict = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def add(self, category, right):
        self.total += 1
        self.by_category[category][1] += 1
        if right:
            self.correct += 1
            self.by_category[category][0] += 1

    @property
    def accuracy(self):
        return self.correct / max(1, self.total)


def extract(text):
    match = re.search(r"\[([A-D])\]", text)
    if match:
        return match.group(1)
    logger.warning("no letter in %r", text[:40])
    return None


@flow
def evaluate(items, path):
    scores = Scores()
    wrong = []
    unanswered = 0
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=["id", "gold", "prediction", "right"])
        writer.writeheader()
        for i, item in enumerate(each(tqdm(items, disable=True))):
            answer = ask(PROMPT.format(question=item["question"]), temperature=0)
            prediction = extract(answer)
            if prediction is None:
                answer = ask("Only the letter, as [A]. " + item["question"])
                prediction = extract(answer)
            if prediction is None:
                unanswered += 1
            right = prediction == item["gold"]
            scores.add(item["category"], right)
            if not right:
                wrong.append(item["id"])
            writer.writerow({"id": item["id"], "gold": item["gold"], "prediction": prediction, "right": right})
            if (i + 1) % 10 == 0:
                print(f"{i + 1}/{len(items)} accuracy {scores.accuracy:.3f}")
    return scores, wrong, unanswered


def main():
    items = [
        {"id": k, "question": f"question {k}?", "gold": "ABCD"[k % 4], "category": ("math", "law", "art")[k % 3]}
        for k in range(40)
    ]
    scores, wrong, unanswered = evaluate(items, "predictions.csv")
    print(f"accuracy {scores.accuracy:.3f} ({scores.correct} of {scores.total}), {unanswered} without an answer")
    for category, (correct, total) in sorted(scores.by_category.items()):
        print(f"  {category:6} {correct}/{total}")
    print("wrong:", wrong)


if __name__ == "__main__":
    main()
