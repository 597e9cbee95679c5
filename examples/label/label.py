from apxm import ask, each, flow


@flow
def label(rows: list[str]) -> dict[str, str]:
    labels = {}
    for row in each(rows):  # all rows at once
        answer = ask(f"Label this: {row}")
        if "unsure" in answer:
            answer = ask(f"Think again: {row}", answer)
        labels[row] = answer  # in their order
    return labels


if __name__ == "__main__":
    print(label(["a bee", "a stone", "a fern"]))
