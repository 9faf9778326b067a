"""Plain copying: repeat, spell out, pick from a list. The first thing to learn, since every other task copies."""

import builtins
import keyword
import re

from ..item import Item, user
from ..words import COMMON, Phrases, Words

REPEAT = Phrases(
    [
        "[Repeat|Copy|Echo|Say]: {text}",
        "[Repeat|Copy|Echo|Say|Reproduce|Mirror|Write|Type] [the line|the words|the text|what follows|what I write|all of it|the next words|everything]: {text}",
        "[Repeat|Copy|Echo|Say|Reproduce|Mirror|Write|Type] [the line|the words|the text|what follows|what I write|all of it|what stands here].\n{text}",
        "[Please|Now|Kindly|You|Just] [repeat|copy|echo|say|mirror|type|write|quote] [it|this|these words|that|back|too|aloud|word by word|as I do|with me][:|.] [|\n]{text}",
        "[One more time|Once again|Again|Back to me|Your turn|Speak|Quote|Same words]: {text}",
        "[I want to hear|Let me hear|Give back|Answer with|Reply with|Return|Print|Send] [this|the words|exactly this|only this|these words][:|:\n|.\n] {text}",
        "[Do as I do|Be an echo|Be a parrot|We repeat words|Follow my words|Speak with me][.|:] [|\n]{text}",
        "{text}\n\n[Repeat|Copy|Echo|Say|Print|Write] [it|that|this|the words|the line][| once more| again| please| back to me][.|]",
        "[Can|Could|Would] you [repeat|copy|echo|say] [this|that|the following][:|?] {text}",
        "[Tell me|Give me|Send me] back: {text}",
        "[I say|Text|Input|Words|Mirror]: {text}\n[Now you|You say|Output|The same|Again]:",
        "[Here is|This is|Look at] [a text|a line|my text]:\n{text}\n[Type|Write|Print|Return] it [unchanged|again|as it is].",
        "[Repeat|Write] this [exactly|again|once more]:\n{text}",
        "{text}\n\n[Repeat the text above|Say that again].",
    ],
    ["Please repeat the following.\n{text}", "Say after me: {text}"],
)
NTH = Phrases(
    [
        "[List|Order|Sequence]: {list}. [Name|Tell me|Give me] the [word|item|entry|one] [following|after|behind] {x}.",
        "After {x}, [which|what] [is|stands|comes] next? {list}",
        "Here is a list: {list}. What comes [right |]after {x}?",
        "{list}\nWhich [word|entry] follows {x}?",
    ],
    ["In the list {list}, what is next after {x}?"],
)
LINES = Phrases(
    [
        "[Split|Break|Divide|Turn] [this|the list|it] into lines: {list}",
        "{list}\n[A line for each|Each on its own line|As lines|Write them under each other].",
        "[List|Rows|Lines] [of|from|for]: {list}",
        "[Convert|Change|Rewrite] [commas|the commas] to line breaks: {list}",
        "[Put|Write] each on a line of its own: {list}",
        "One per line: {list}",
    ],
    ["Make lines of {list}"],
)
JOIN = Phrases(
    [
        "{lines}\n[On one line|In one line|As one line|With commas][|, please].",
        "[Make|Write|Build] [one line|a comma list|a single line] [of|from|out of] [these|this]:\n{lines}",
        "[Separate|List|Connect|Merge] [these|them|the lines] [by|with|using] commas:\n{lines}",
        "[Join|Put] these lines [with|together with] commas:\n{lines}",
        "[Commas|A comma|Only commas] [for|instead of|not|in place of] [line breaks|new lines|lines][.|:|, please:]\n{lines}",
        "[These|The|My|Our] [lines|words|entries|items] [with|and] commas[:|, please:| again:]\n{lines}",
    ],
    ["Commas between these lines:\n{lines}"],
)
MARKS = list(".,;:!?()[]{}<>/\\|@#$%^&*-_=+~'\"`") + ["=>", "->", "::", "//", "==", "&&", "€", "§", "…", "–", "«", "»"]
SCRIPTS = [
    "αβγδεζηθλμπσω",
    "абвгдежзиклмнопрст",
    "日本語中文字山川水火",
    "אבגדהוז",
    "ابتثجح",
    "가나다라마바사",
    "😀🎉🚀🌍🍞",
]

CODE_WORDS = keyword.kwlist + [name for name in dir(builtins) if name.isalpha()]


def word(w: Words) -> str:
    p = w.rng.random()
    if p < 0.35:
        return w.name() if w.chance(0.5) else w.coin()
    if p < 0.6:
        return w.rng.choice(COMMON)
    if p < 0.72:
        return w.digits(w.rng.randint(1, 6))
    if p < 0.8:
        return w.identifier()
    if p < 0.87:
        return w.rng.choice(MARKS)
    if p < 0.89:
        return "".join(w.rng.choices(w.rng.choice(SCRIPTS), k=w.rng.randint(1, 5)))
    if p < 0.93:  # letters without rule, so that every token is copied some time
        letters = "".join(w.rng.choices("abcdefghijklmnopqrstuvwxyz", k=w.rng.randint(1, 7)))
        return w.rng.choice([letters, letters.upper(), letters.capitalize()])
    if p < 0.96:
        return w.rng.choice(CODE_WORDS) + w.rng.choice(["", "", "()", "(", "):", ",", ";", ".", "[0]", "="])
    return w.rng.choice([w.email, w.phone, w.code, w.date, w.time, w.function, w.class_name])()


_around_text = re.compile(r"(.*?)([^\w\s]*\s*)\{text\}(\s*)(.*)", re.S)


def repeat(w: Words, text: str) -> str:
    """A request to repeat `text`. What is disturbed never touches the text: nothing else says where it begins."""
    template = w.pick(REPEAT, disturbed=0)
    if not w.held_out and w.chance(0.4):
        before, mark, gap, after = _around_text.fullmatch(template).groups()  # type: ignore[union-attr]
        template = (before and w.disturb(before)) + mark + "{text}" + gap + (after and w.disturb(after))
    return template.format(text=text)


def make(w: Words, longest: int = 60) -> Item:
    kind = w.rng.random()
    if kind < 0.65:
        words = [word(w) for _ in range(w.rng.randint(1, longest))]
        if w.chance(0.3):  # few distinct words: the next one is known only from more than one word of context
            words = w.rng.choices(words[: max(2, len(words) // 4)], k=len(words))
        text = " ".join(words)
        return Item("copy", [user(repeat(w, text))], text)
    words = list(dict.fromkeys(w.coin() for _ in range(w.rng.randint(3, 12))))
    if kind < 0.8:
        i = w.rng.randrange(len(words) - 1)
        return Item("copy", [user(w.pick(NTH).format(list=", ".join(words), x=words[i]))], words[i + 1])
    if kind < 0.9:
        return Item("copy", [user(w.pick(LINES).format(list=", ".join(words)))], "\n".join(words))
    return Item("copy", [user(w.pick(JOIN).format(lines="\n".join(words)))], ", ".join(words))
