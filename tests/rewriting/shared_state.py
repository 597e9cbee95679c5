"""A module that keeps something for others, which `test_modules.py` loops over."""

# It is written as people write it.
# ruff: noqa

STATE = {"last": ""}
SEEN = []
count = 0


class Settings:
    tone = "plain"


settings = Settings()


def begin():
    global count
    count = 0
    STATE["last"] = ""
    SEEN.clear()
    settings.tone = "plain"


def prompt(row):
    return f"{row} {STATE['last']}"


def known():
    return len(SEEN)


def text_of_seen():
    return "".join(SEEN)


def numbered(text):
    return f"{count} {text}"


def put(where, what):
    where.append(what)


def toned(row):
    return f"{row} {settings.tone}"
