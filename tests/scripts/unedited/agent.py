"""An agent that reasons, uses tools, and reads what they say, until it knows the answer."""

import ast
import json
import operator
import re
from contextlib import contextmanager

from apxm import ask, each, flow

with open("facts.json") as f:
    FACTS = json.load(f)

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
usage = {}
depth = 0


def calculate(expression):
    def value(node):
        if isinstance(node, ast.Expression):
            return value(node.body)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        raise ValueError(f"cannot calculate {expression}")

    return str(value(ast.parse(expression, mode="eval")))


def lookup(term):
    return FACTS.get(term.strip().lower(), f"nothing known of {term}")


TOOLS = {"calculate": calculate, "lookup": lookup}


@contextmanager
def counted(tool):
    usage[tool] = usage.get(tool, 0) + 1
    try:
        yield
    finally:
        usage["last"] = tool


class Agent:
    def __init__(self, question, system="Answer by Thought, Action: tool[input], and Final: answer."):
        self.messages = [system, f"Question: {question}"]
        self.steps = 0

    def think(self):
        self.steps += 1
        reply = ask("\n".join(self.messages))
        self.messages.append(reply)
        return reply

    def act(self, reply):
        match = re.search(r"Action: (\w+)\[(.*?)\]", reply)
        if not match:
            return "Observation: no action given"
        tool, argument = match.groups()
        with counted(tool):
            try:
                result = TOOLS[tool](argument)
            except KeyError:
                result = f"there is no tool {tool}"
            except (ValueError, SyntaxError, ZeroDivisionError) as e:
                result = f"error: {e}"
        return f"Observation: {result}"

    def run(self, max_steps=5):
        while self.steps < max_steps:
            reply = self.think()
            final = re.search(r"Final: (.*)", reply)
            if final:
                return final.group(1).strip()
            self.messages.append(self.act(reply))
        return None


@flow
def answer_all(questions):
    answers = []
    for question in each(questions):
        agent = Agent(question)
        answer = agent.run()
        if answer is None:
            print("gave up:", question)
        answers.append({"question": question, "answer": answer, "steps": agent.steps, "trace": agent.messages[2:]})
    return answers


if __name__ == "__main__":
    questions = [f"How many {thing} are {k} times the known ones?" for k, thing in enumerate(sorted(FACTS) * 3, 2)]
    answers = answer_all(questions)
    with open("answers.json", "w") as f:
        json.dump(answers, f, indent=1)
    for a in answers:
        print(a["steps"], a["answer"])
    print(sorted(usage.items()))
