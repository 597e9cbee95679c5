"""What is made in an iteration is called what it is called line by line."""

from __future__ import annotations

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared


def test_classes_and_functions_have_their_names() -> None:
    @flow
    def named(rows: list[str]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            answer = ask(row)

            class Found:
                text = answer

                def tell(self) -> str:
                    return self.text

            def told() -> str:
                return ""

            found += [Found.__qualname__, Found.tell.__qualname__, told.__qualname__]
        return found

    compared(lambda: (named, (["a", "b"],)), 1)
