"""Plants faults into undisturbed texts and counts what the judge finds: nobody need believe a checker that finds nothing.
At each place one character is said twice or left out, or a line gets another indentation. Some places are no fault and
are not planted. There the fault leaves the very same text (one of two equal letters), or the rest of the text cannot
tell.
"""

from collections import Counter

from seam import judge


def kinds(character):
    if character == "\n":
        return "line break"
    if character in " \t":
        return "blank"
    return "letter" if character.isalnum() else "mark"


def planted(text, at):
    """(name, text with the fault at the joint), for a joint at the character `at`."""
    before, behind = text[:at], text[at:]
    yield f"{kinds(text[at - 1])} repeated", before + text[at - 1] + behind
    yield f"{kinds(text[at])} missing", before + behind[1:]
    if len(behind) > 8:
        word = behind[: 1 + next((i for i, c in enumerate(behind[1:], 1) if not c.isalnum()), len(behind))]
        yield "word missing", before + behind[len(word) :]
        back = max(before.rfind(" "), before.rfind("\n"))
        if 0 <= back < at - 1:
            yield "beginning of a word repeated", before + before[back + 1 :] + behind
    if before.endswith("\n") and behind[:1] == " ":
        deep = len(behind) - len(behind.lstrip(" "))
        yield "indentation", before + " " * (deep + 1) + behind.lstrip(" ")
        yield "indentation", before + " " * (deep - 1) + behind.lstrip(" ")
        yield "indentation", before + " " * deep + behind


def run(references):
    """({fault: (found, planted)}, false alarms, sound joints tried)."""
    found, all_, alarms, sound = Counter(), Counter(), 0, 0
    for reference in references:
        text = reference.text
        for at in range(1, len(text)):
            sound += 1
            alarms += judge(reference, text, at) != "equal"
            for name, lie in planted(text, at):
                if lie[at : at + 16] == text[at : at + 16]:
                    continue
                all_[name] += 1
                found[name] += judge(reference, lie, at) == "fault"
    return {name: (found[name], all_[name]) for name in sorted(all_)}, alarms, sound


def report(references):
    counts, alarms, sound = run(references)
    for name, (found, all_) in counts.items():
        print(f"planted: {name}: {found} of {all_} found")
    hits, all_ = sum(f for f, _ in counts.values()), sum(a for _, a in counts.values())
    print(f"the checker finds {hits} of {all_} planted faults; false alarms at undisturbed joints: {alarms} of {sound}", flush=True)
    return hits, all_, alarms, sound
