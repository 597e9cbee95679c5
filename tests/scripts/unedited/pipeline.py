"""A pipeline of classes: each stage keeps its settings and its statistics in attributes."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass

from apxm import ask, each, flow

log = logging.getLogger("pipeline")


@dataclass
class Ticket:
    id: int
    text: str
    language: str = ""
    category: str = ""
    reply: str = ""
    approved: bool = False


class Stage:
    name = "stage"

    def __init__(self, template):
        self.template = template
        self.stats = Counter()

    def prompt(self, **values):
        return self.template.format(**values)

    def process(self, ticket):
        raise NotImplementedError


class Detect(Stage):
    name = "detect"

    def process(self, ticket):
        ticket.language = ask(self.prompt(text=ticket.text), choices=["en", "de", "fr"])
        self.stats[ticket.language] += 1
        return ticket


class Route(Stage):
    name = "route"
    categories = ["billing", "technical", "other"]

    def process(self, ticket):
        ticket.category = ask(self.prompt(text=ticket.text), choices=self.categories)
        self.stats[ticket.category] += 1
        return ticket


class Reply(Stage):
    name = "reply"

    def __init__(self, template, signature):
        super().__init__(template)
        self.signature = signature
        self.longest = 0

    def process(self, ticket):
        draft = ask(self.prompt(text=ticket.text, category=ticket.category, language=ticket.language))
        verdict = ask(f"Is this reply polite? yes or no\n{draft}")
        if "no" in verdict.lower().split():
            draft = ask(f"Make it polite: {draft}")
            self.stats["rewritten"] += 1
        ticket.reply = f"{draft}\n-- {self.signature}"
        ticket.approved = True
        self.longest = max(self.longest, len(ticket.reply))
        return ticket


class Pipeline:
    def __init__(self, stages):
        self.stages = stages
        self.processed = 0
        self.digest = hashlib.sha256()

    @flow
    def run(self, tickets):
        done = []
        for ticket in each(tickets):
            for stage in self.stages:
                ticket = stage.process(ticket)
            self.processed += 1
            self.digest.update(ticket.reply.encode())
            done.append(ticket)
            log.info("ticket %d done", ticket.id)
        return done


if __name__ == "__main__":
    pipeline = Pipeline(
        [
            Detect("Which language is this? en, de or fr\n{text}"),
            Route("Which department?\n{text}"),
            Reply("Reply in {language} as {category}:\n{text}", signature="the team"),
        ]
    )
    tickets = [Ticket(k, f"ticket number {k}: it does not work") for k in range(15)]
    done = pipeline.run(tickets)
    with open("tickets.json", "w") as f:
        json.dump([asdict(ticket) for ticket in done], f, indent=1)
    for stage in pipeline.stages:
        print(stage.name, sorted(stage.stats.items()))
    print(pipeline.processed, pipeline.digest.hexdigest()[:12], pipeline.stages[-1].longest)
