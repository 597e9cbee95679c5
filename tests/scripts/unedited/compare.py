"""Every model on every prompt on every sample: nested loops, a table, and a report."""

import csv
import itertools
import statistics
import string
from collections import OrderedDict, defaultdict

from apxm import ask, each, flow

MODELS = ["small", "large"]
PROMPTS = {
    "short": "Answer briefly: {text}",
    "steps": "Think step by step, then answer: {text}",
    "persona": "You are a careful teacher. {text}",
}
SAMPLES = [f"sample {letter}" for letter in string.ascii_lowercase[:6]]


def grade(model, question, answer):
    text = ask(f"Grade this answer of {model} from 0 to 10. Reply as 'grade: N'.\nQ: {question}\nA: {answer}")
    _, _, number = text.partition("grade:")
    try:
        return int(number.split()[0])
    except (IndexError, ValueError):
        return None


class Table:
    """Grades by row and column."""

    def __init__(self):
        self.cells = OrderedDict()
        self.missing = 0

    def put(self, row, column, grade):
        if grade is None:
            self.missing += 1
        else:
            self.cells.setdefault((row, column), []).append(grade)

    def mean(self, row, column):
        return statistics.mean(self.cells.get((row, column)) or [0])


@flow
def compare(models, prompts, samples):
    table = Table()
    answers = defaultdict(dict)
    best = None
    for model in each(models):
        grades = []
        for (name, template), sample in each(itertools.product(prompts.items(), samples)):
            answer = ask(template.format(text=sample), system=f"You are {model}.")
            number = grade(model, sample, answer)
            grades.append(number)
            table.put(model, name, number)
            answers[model][name, sample] = answer
        known = [g for g in grades if g is not None]
        summary = ask(f"Sum up the grades of {model}: {known}")
        mean = statistics.mean(known or [0])
        if best is None or mean > best[1]:
            best = (model, mean)
        print(f"{model}: {len(known)} grades, mean {mean:.2f}; {summary[:20]}")
    return table, answers, best


def main():
    table, answers, best = compare(MODELS, PROMPTS, SAMPLES)
    with open("grades.csv", "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["model", *PROMPTS])
        for model in MODELS:
            rows.writerow([model, *(f"{table.mean(model, name):.2f}" for name in PROMPTS)])
    print("best:", best, "missing:", table.missing)
    print(sum(len(of) for of in answers.values()), "answers")


if __name__ == "__main__":
    main()
