"""Prompts whose answers, by SmolLM2 135M at temperature 0, end by themselves within 150 tokens, of many kinds of text."""

REPEAT = "Repeat exactly this text, nothing else:\n\n"

PROMPTS = {
    "prose": "Explain photosynthesis in three sentences.",
    "letter": "Write a polite email of four sentences that asks for a day off.",
    "code": "Write a Python function that returns the larger of two numbers.",
    "docstring": "Write a short Python function that reverses a list, and explain it in a table.",
    "html": "Write an HTML page with a nested list of fruits and vegetables.",
    "markdown": "List five tips for better sleep in Markdown, with a bold title for each.",
    "emoji": REPEAT + "🎉 Party at 8 pm! 👩‍👩‍👧 Bring cake 🍰, juice 🧃 and a smile 😀👍🏽.\nLove, Zoë & Jürgen — naïve café, 20 €.",
    "chinese": REPEAT + "我喜欢猫和狗。你喜欢什么动物？\n- 猫\n- 狗",
    "japanese": REPEAT + "東京は日本の首都です。人口は多い。",
}

# Its answer goes round in circles until something ends it.
ENDLESS = "Translate to Chinese: I like cats and dogs."

LIMIT = 300

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 40},
                "age": {"type": "integer", "minimum": 1, "maximum": 120},
                "hobbies": {"type": "array", "items": {"type": "string", "maxLength": 30}, "minItems": 2, "maxItems": 3},
            },
            "required": ["name", "age", "hobbies"],
            "additionalProperties": False,
        },
    },
}
JSON_PROMPT = "Describe a person named Ann, 31, who likes chess and rowing, as JSON with name, age and hobbies."


def kind(text, at):
    """The kind of text that the loss falls into, for the table of places."""
    before, behind = text[at - 1], text[at : at + 1]
    if ord(before) > 0x2E7F or (behind and ord(behind) > 0x2E7F):
        return "CJK, emoji"
    if before == "\n" or text[:at].split("\n")[-1].strip() == "":
        return "line start, indentation"
    if before in " \t":
        return "behind a blank"
    if before.isalnum() and behind.isalnum():
        return "in a word"
    if not before.isalnum():
        return "behind a mark"
    return "behind a word"
