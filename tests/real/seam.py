"""Whether a continuation joins without a seam.

A joint is *sound* in two cases. The 16 characters on each side are those of the undisturbed text. Or the first character
that differs is in a token that the undisturbed model held for nearly as likely there (within NEAR nats of its best).
The text around it must then show no mark of a bad joint that the undisturbed text does not show, too.

Temperature 0 does not give the same text when it is read as a prompt and not said token by token: near ties fall otherwise.
A letter, blank, mark or indentation that is repeated or missing is no near tie; `selftest.py` plants them and counts.
"""

import re

WINDOW = 16
NEAR = 1.0

# The marks of a bad joint, in any text.
MARKS = [
    r"\S  +\S",  # two blanks within a line
    r"\n\n\n",
    r"[ \t]\n",
    r"\w [,.;:!?](\s|$)",
    r"\b(\w{2,})\s+\1\b",  # a word twice
    r"\*{4,}|`{4,}|_{4,}|\|\|",
    r"^(\s*[-*+>] ){2,}",
    r"^\s*\d+\. \d+\. ",
    r"[,;]\w*[A-Za-z]{2}",  # no blank behind a comma
]


def judge(reference, text, at):
    """For the joint at the character `at` of `text`: `equal`, `near tie`, `fault`, or `drifted`: it went another way before."""
    verdicts = {compare(one, text, at) for one in reference.beside(text, at)}
    return next((v for v in ("equal", "near tie", "fault") if v in verdicts), "drifted")


def compare(reference, text, at):
    after, wanted = text[at : at + WINDOW], reference.text[at : at + WINDOW]
    if reference.finish == "length":
        # Either may have been ended a token earlier.
        after, wanted = after[: len(wanted)], wanted[: len(after)]
    if after == wanted:
        return "equal"
    return "near tie" if near_tie(reference, text) and not marked(reference, text, at) else "fault"


def near_tie(reference, text):
    have, want = text.encode(), reference.text.encode()
    differs = next((i for i, (a, b) in enumerate(zip(have, want)) if a != b), min(len(have), len(want)))
    # The other token may begin before the character that differs: `F` and `ro`, or `Fruit`.
    for token in reference.tokens:
        rest = have[token.start :]
        for other, less in token.others if token.start <= differs else []:
            reaches = token.start + len(other) > differs and rest.startswith(other)
            # No bytes are the end of the answer.
            if less <= NEAR and (reaches if other else not rest):
                return True
    return differs >= reference.tokens[-1].end and reference.finish == "length"


def marked(reference, text, at):
    window = text[max(0, at - WINDOW) : at + WINDOW]
    return any(re.search(m, window, re.M) and not re.search(m, reference.text, re.M) for m in MARKS)
