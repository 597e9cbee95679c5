"""Tree of thoughts: proposes next steps, rates each, keeps the best ones of each depth."""

import heapq
import itertools
import re

from apxm import ask, each, flow

CALLS = 0
value_cache = {}


def gpt(prompt):
    global CALLS
    CALLS += 1
    return ask(prompt)


class Node:
    counter = itertools.count()

    def __init__(self, steps, parent=None):
        self.steps = steps
        self.parent = parent
        self.value = 0.0
        self.id = next(Node.counter)

    def text(self):
        return " -> ".join(self.steps) or "(start)"

    def path(self):
        node, found = self, []
        while node is not None:
            found.append(node.id)
            node = node.parent
        return list(reversed(found))

    def __lt__(self, other):
        return self.id < other.id


def propose(node, problem, n):
    answer = gpt(f"Problem: {problem}\nSo far: {node.text()}\nPropose {n} next steps, one per line.")
    lines = [line.strip("- ").strip() for line in answer.splitlines() if line.strip()]
    return lines[:n]


def rate(node, problem):
    answer = gpt(f"Problem: {problem}\nRate this way from 1 to 10: {node.text()}")
    numbers = re.findall(r"\d+", answer)
    return float(numbers[0]) if numbers else 1.0


def search(problem, depth, breadth, beams):
    frontier = [Node([])]
    for _ in range(depth):
        proposals = [(node, propose(node, problem, breadth)) for node in each(frontier)]
        candidates = [Node([*node.steps, step], node) for node, steps in proposals for step in steps]
        values = [rate(node, problem) for node in each(candidates)]
        for node, value in zip(candidates, values):
            node.value = value
        frontier = [node for _, node in heapq.nlargest(beams, ((n.value, n) for n in candidates))]
        if not frontier:
            break
    return max(frontier, key=lambda n: n.value, default=None)


@flow
def solve_all(problems):
    solutions = []
    for problem in problems:
        best = search(problem, depth=3, breadth=3, beams=2)
        print(f"{problem}: {best.text()} ({best.value}) path {best.path()} after {CALLS} calls")
        solutions.append((problem, best.steps, best.value))
    return solutions


if __name__ == "__main__":
    solutions = solve_all(["make 24 of 4 9 10 13", "make 24 of 1 4 8 8"])
    for problem, steps, value in solutions:
        print(problem, len(steps), value)
    print("calls:", CALLS)
