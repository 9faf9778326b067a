"""Sentences and requests put together from pieces in any order, for training beside the written templates.

Written templates mostly begin with what they are about, and so taught that what comes first is the name or the start. A
text may as well open with the place or the time, and a request may take two sentences. A piece says one or more `{fields}`
with the words that mark them; `[a|b]` is a choice.
"""

import re
from functools import lru_cache

from ..words import Phrases, Words, expand, expansions

FIELDS = re.compile(r"\{(\w+)\}")

PIECES: dict[str, list[str]] = {
    "person": [
        "[in|from|near|out of|at home in|based in|born in] {city}",
        "[aged {age}|{age} years old|{age} years of age|at the age of {age}|at {age}|({age})|with {age} years|just {age}]",
        "[a|as a|the|this|like a|no longer a|still a] {job}",
        "[at|for|of|from|on behalf of|paid by] {company}",
        "[under|at|by mail at|mail to|with the mail] {email}",
        "[under|on|by phone on|phone|with the number|ring] {phone}",
    ],
    "event": [
        "[on|from|for|since|until|as early as] {date}",
        "[at|from|by|after|around|as late as] {time}",
        "[at|in|inside|in front of|close to|up at] {venue}",
        "[in|in the city of|near|over in|all over] {city}",
        "[by|with|led by|under|hosted by|together with|thanks to] {host}",
        "[for|with|in front of|before|some|about] {attendees} [guests|people|visitors|seats|tickets]",
    ],
    "order": [
        "[as order|under|number|as|with the number|no.] {order_id}",
        "[on|from|dated|as of|since] {date}",
        "[in|delivered to|sent to|bound for|via|at home in] {city}",
        "[by|with|against|in exchange for|on] {payment}",
        "[|with|of|about|on|for|exactly|only] {items}",
        "[sends|gets|receives|takes|picks|we send|we ship|we wrap|it is|you see] {items}",
    ],
    "address": [
        "[at|in|near|behind|opposite] {number} {street}",
        "[at|in|near|behind|opposite] {street} {number}",
        "[in|in the town of|near|over in] {city}",
        "[in|with the postcode|at] {postcode} {city}",
        "[under|postcode|with the code] {postcode}",
        "[in|over in|far away in|within] {country}",
    ],
}
SUBJECTS = {
    "person": "[|||a certain |one |dear |our friend |old ]{x}",
    "event": "the {x}",
    "order": "[|for |from |by |because of |on behalf of ]{x}",
    "address": "[|||for |with |to ]{x}",
}
VERBS = (
    "is,was,works,stays,sits,waits,sleeps,has been,we have,we know,there is,we met,you find,goes,has a life,stands,"
    "began,one hears,we wrote,they saw,rests,is known,will be,we are told,it says,shows up,arrives"
).split(",")
OPENINGS = ["", "", "", "", "now ", "yes, ", "so ", "today ", "I hear: ", "it says here: ", "here ", "well, ", "then "]
CLOSINGS = (
    "[Please|Kindly|Will you] [do it|see to it|help me|arrange that|take care of it|go ahead|be quick|be so kind][.|!|?]",
    "[Tell me|Give me|I need|I want|Send me] [the answer|the result|it|an answer] [soon|now|today|, please][.|!]",
    "[Can|Could] you [do that|manage|see to that|help]?",
    "[That is|This is] [it|all|what I need|important|for tomorrow|my wish].",
    "[I am|We are] [in a hurry|waiting|counting on you].",
)


@lru_cache(256)
def _written(templates: tuple[str, ...]) -> frozenset[str]:
    return frozenset(text.lower() for template in templates for text in expansions(template))


def is_held_out_template(text: str, phrases: Phrases) -> bool:
    """Whether chance has put together a template of the held-out list."""
    return text.lower() in _written(tuple(phrases.held_out))


def sentence(w: Words, kind: str, main: str, left: set[str]) -> str:
    """A template that says some of the fields `left` around its subject: the main field, or `{S}` once that was said.

    Empty if no piece fits.
    """
    r = w.rng
    fitting = [p for p in PIECES[kind] if set(FIELDS.findall(p)) <= left - {main}]
    chosen: list[str] = []
    for piece in r.sample(fitting, min(len(fitting), r.choice([1, 1, 2, 2, 3]))):
        if not set(FIELDS.findall(piece)) & set(FIELDS.findall("".join(chosen))):
            chosen.append(piece)
    if not chosen and main not in left:
        return ""
    subject = SUBJECTS[kind].format(x="{" + main + "}") if main in left else "{S}"
    chosen.insert(r.randint(0, len(chosen)), subject)
    text, *rest = [" ".join(expand(r, piece).split()) for piece in chosen]
    for piece in rest:
        text += r.choice([", ", " ", " ", f" {r.choice(VERBS)} ", f" {r.choice(VERBS)} ", " - ", "; "]) + piece
    return capital(r.choice(OPENINGS) + text)


def request(w: Words, wishes: tuple[str, ...], parts: tuple[str, ...]) -> str:
    """A template that utters a wish and its particulars in any order; parts that begin with `?` may be left out."""
    r = w.rng
    whole = r.random() < 0.6
    said = [p.lstrip("?") for p in parts if whole or not p.startswith("?") or r.random() < 0.5]
    r.shuffle(said)
    said.insert(0 if r.random() < 0.4 else r.randint(0, len(said)), r.choice(wishes))
    said = [" ".join(expand(r, piece).split()) for piece in said]
    text = capital(r.choice(OPENINGS) + said[0])
    for piece in said[1:]:
        joint = r.choices([" ", ", ", "; ", ": ", ". "], [5, 4, 1, 1, 2])[0]
        text += joint + (capital(piece) if joint == ". " else piece)
    text += r.choice([".", ".", "?", "", "!", ", please.", " - thanks."])
    return f"{text} {expand(r, r.choice(CLOSINGS))}" if r.random() < 0.25 else text


def capital(text: str) -> str:
    """The first letter of a sentence; a field keeps its own."""
    return text[:1].upper() + text[1:]
