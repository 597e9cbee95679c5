"""Which case an answer belongs to."""

import pytest

from apxm.operations.labels import fold_label, matching_label

LABELS = ("billing", "c", "c++", "-1", "1", "yes", "yes!", '"q"', "a.b", ".net", "ä ö", "?", "")


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (" BILLING\n", "billing"),
        ("Billing.", "billing"),
        ("Billing!?", "billing"),
        ("Billing…", "billing"),
        ("Billing:", "billing"),
        ('"Billing"', "billing"),
        ('"Billing."', "billing"),
        ('"Billing".', "billing"),
        ("“Billing”", "billing"),
        ("„Billing“", "billing"),
        ("«Billing»", "billing"),
        ("'billing'", "billing"),
        ("`billing`", "billing"),
        ("```\nbilling\n```", "billing"),
        ("**Billing**", "billing"),
        ("**Billing.**", "billing"),
        ("***Billing***.\n", "billing"),
        ("_billing_", "billing"),
        ("__Billing:__ ", "billing"),
        ("[billing]", "billing"),
        ("<billing>", "billing"),
        ("( billing )", "billing"),
        ("「billing」。", "billing"),
        ("Ä Ö.", "ä ö"),
        # a label is what it says, and the longest one counts
        ("C", "c"),
        ("C.", "c"),
        ("C++", "c++"),
        ("C++.", "c++"),
        ("`C++`", "c++"),
        ("-1.", "-1"),
        ("1", "1"),
        ("Yes", "yes"),
        ("Yes.", "yes"),
        ("Yes!", "yes!"),
        ("**Yes!**", "yes!"),
        ("Yes!!", "yes!"),
        ('"Q"', '"q"'),
        ('"Q".', '"q"'),
        ("A.B.", "a.b"),
        (".NET", ".net"),
        ("?", "?"),
        ("**?**", "?"),
        ("  ", ""),
        # words, signs and marks on one side only are never left out
        ("Category: billing", None),
        ("not billing.", None),
        ("billing, yes", None),
        ("billing\nyes", None),
        ("- billing", None),
        ("# billing", None),
        ("billing)", None),
        ('"billing', None),
        ("+1", None),
        ("C+", None),
        ("net", None),
        (".billing", None),
        ("q", None),
        # marks alone are no empty answer
        ("...", None),
        ('""', None),
        ("*", None),
    ],
)
def test_an_answer_is_the_label_within_its_marks(answer: str, label: str | None) -> None:
    assert matching_label(answer, LABELS) == label


def test_every_label_matches_itself_whatever_others_there_are() -> None:
    assert [matching_label(label, LABELS) for label in LABELS] == [fold_label(label) for label in LABELS]


def test_a_long_answer_of_marks_is_looked_at_for_a_few_layers_only() -> None:
    assert matching_label("billing" + "." * 10, LABELS) == "billing"
    assert matching_label("billing" + "." * 1_000_000, LABELS) is None
