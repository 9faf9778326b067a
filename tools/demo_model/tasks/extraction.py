"""Extraction: sentences about a person, an order, an event or an address, and the JSON that a given schema asks for."""

import json
from typing import Any

from ..item import Item, dumps, user
from ..words import NUMBER_WORDS, Phrases, Words, expand
from . import pieces
from .sentences import ADDRESS, EVENT, ORDER, PERSON

# Field -> (names a schema may use for it, JSON type).
KEYS: dict[str, dict[str, tuple[list[str], str]]] = {
    "person": {
        "name": (["name", "full_name", "person", "fullName"], "string"),
        "age": (["age", "age_years", "years"], "integer"),
        "city": (["city", "town", "residence", "lives_in"], "string"),
        "job": (["job", "profession", "occupation", "role", "job_title"], "string"),
        "company": (["company", "employer", "works_for", "organisation"], "string"),
        "email": (["email", "mail", "email_address", "emailAddress"], "string"),
        "phone": (["phone", "phone_number", "telephone", "phoneNumber"], "string"),
    },
    "event": {
        "title": (["title", "event", "event_name", "name"], "string"),
        "date": (["date", "day", "event_date"], "string"),
        "time": (["time", "start_time", "starts_at", "startTime"], "string"),
        "venue": (["venue", "place", "location"], "string"),
        "city": (["city", "town"], "string"),
        "host": (["host", "organiser", "hosted_by"], "string"),
        "attendees": (["attendees", "guests", "visitors", "num_guests"], "integer"),
    },
    "order": {
        "order_id": (["order_id", "id", "order_number", "orderId"], "string"),
        "customer": (["customer", "buyer", "client", "customer_name"], "string"),
        "items": (["items", "lines", "products", "positions"], "array"),
        "date": (["date", "order_date", "ordered_on"], "string"),
        "city": (["city", "ship_to", "destination"], "string"),
        "payment": (["payment", "payment_method", "paid_by"], "string"),
    },
    "address": {
        "name": (["name", "recipient", "person", "full_name"], "string"),
        "street": (["street", "road", "street_name"], "string"),
        "number": (["number", "house_number", "house"], "string"),
        "postcode": (["postcode", "zip", "postal_code", "zip_code"], "string"),
        "city": (["city", "town"], "string"),
        "country": (["country", "state", "land"], "string"),
    },
}
ITEM_KEYS = {
    "product": ["product", "article", "name", "item"],
    "quantity": ["quantity", "count", "qty", "amount"],
    "price": ["price", "unit_price", "cost"],
}
GROUPS = {  # fields that a nested schema may put into an object of their own
    "person": [(["contact", "contact_data"], ["email", "phone"]), (["work", "employment"], ["job", "company"])],
    "event": [(["when", "schedule"], ["date", "time"]), (["where", "place_info"], ["venue", "city"])],
    "order": [(["delivery", "shipping"], ["date", "city"])],
    "address": [(["address", "location"], ["street", "number", "postcode", "city", "country"])],
}
MAIN = {"person": "name", "event": "title", "order": "customer", "address": "name"}
SENTENCES = {"person": PERSON, "event": EVENT, "order": ORDER, "address": ADDRESS}
PAYMENTS = ["card", "invoice", "cash", "bank transfer", "voucher", "cheque"]

ASK = Phrases(
    train=[
        "Extract the {kind} from the text as JSON. {form}\n\n{text}",
        "[Read the text|Here is a text] and [answer|reply] with JSON only. {form}\n\nText: {text}",
        "{text}\n\n[Extract|Return|Give me] the {kind} as a JSON object. {form}",
        "Text: {text}\n\nTurn this into JSON. {form}",
        "{form}\n\n[Fill it from|Extract from|Use] this text:\n{text}",
        'Convert the following text to JSON. {form}\n\n"{text}"',
        "[Which|What] {kind} [is described|is mentioned] here? [Answer in JSON|JSON only]. {form}\n\n{text}",
        "[Parse|Analyse] this: {text}\n{form}",
        "Find the {kind} [in this message|in this note|in this mail]:\n{text}\n\n{form}",
        "{text}\n\n{form}",
        "{form}\n\n{text}",
        "[Take|Look at|Consider] this [text|note|mail|letter]:\n\n{text}\n\n[Now|Then] [make|build|produce|print] JSON [of|about|for] the {kind}. {form}",
        "[I need|We need|I want|Can I have] the {kind} as [data|JSON|an object|structured data]. {form}\n{text}",
        "{text}\n[Which|What] {kind} is it? {form}",
        "[Collect|Gather|List|Note|Store|Save|Record] the {kind} in JSON[:|.] {form}\n\nInput: {text}\nOutput:",
        "{kind}:\n{text}\n\n[Convert|Transform|Translate] it [to|into] JSON. {form}",
        "[My|Our] [system|program|database] [needs|wants|reads] JSON. {form} [The text|The source|What I have]: {text}",
        "[Note|Mail|Letter|Memo|Report|Story|Entry|Post]: {text}\n\n[JSON|As JSON|JSON now|To JSON|The {kind} as JSON][.|:|, please.] {form}",
        "[From|Out of|Of] [this|the following|the next] [text|note|mail] [I need|we need|take|read] the {kind}. {form}\n\n{text}",
    ],
    held_out=[
        "Please get the {kind} out of this text. {form}\n\n{text}",
        "Give the data of the {kind} as JSON. {form}\n\nText:\n{text}",
        "{text}\n\nWrite the {kind} down as JSON. {form}",
        "Message: {text}\n\nNow the JSON. {form}",
    ],
)
FORM_KEYS = Phrases(
    train=[
        "With {spec}.",
        "[Only|Exactly|Just] {spec}.",
        "[I need|We want|Give|Show|Include|Write] {spec}",
        "[Properties|Columns|Entries|Names]: {spec}",
        "[An object|One object|JSON] [with|of|having] {spec}.",
        "Use the keys {spec}.",
        "Keys: {spec}",
        "[The keys are|Fields:|It has the fields] {spec}.",
    ],
    held_out=["The JSON has the keys {spec}.", "Fields to fill: {spec}."],
)
FORM_SCHEMA = Phrases(
    train=[
        "{spec}",
        "[It must|Must|It has to] [match|fit|validate against|conform to] {spec}",
        "[Types and keys|Definition|Specification]: {spec}",
        "[Here is|This is|We have|I give you] [a|the|our] JSON schema: {spec}",
        "[Follow|Use|Obey] this [schema|JSON schema]: {spec}",
        "Schema:\n{spec}",
        "JSON schema: {spec}",
    ],
    held_out=["The schema is {spec}", "Stick to this JSON schema:\n{spec}"],
)
FORM_SHAPE = Phrases(
    train=[
        "{spec}",
        "[Like this|Like so|Example|Pattern|Structure|Model]: {spec}",
        "[Fill in|Complete|Fill out]: {spec}",
        "[I want|We want|Give me|Make] [something like|an object like] {spec}",
        "[Use this shape|The shape is|Format]: {spec}",
        "Answer in this form: {spec}",
        "Template:\n{spec}",
    ],
    held_out=["It should look like {spec}", "The form is: {spec}"],
)
HEDGES = [
    "",
    "",
    "",
    "",
    "",
    "As far as I know, ",
    "By the way, ",
    "According to the note, ",
    "Also, ",
    "And ",
    "In short, ",
]


def values(w: Words, kind: str) -> dict[str, Any]:
    r = w.rng
    if kind == "person":
        name = w.person()
        return {
            "name": name, "age": r.randint(16, 99), "city": w.place(), "job": w.job(), "company": w.company(),
            "email": w.email(name if w.chance(0.6) else None), "phone": w.phone(),
        }  # fmt: skip
    if kind == "event":
        return {
            "title": w.event(), "date": w.date(), "time": w.time(), "venue": w.venue(), "city": w.place(),
            "host": w.person(), "attendees": r.randint(10, 950),
        }  # fmt: skip
    if kind == "order":
        count = r.choices([1, 2, 3, 4], [5, 4, 2, 1])[0]
        items = [{"product": w.product(), "quantity": r.randint(1, 60), "price": w.price()} for _ in range(count)]
        return {
            "order_id": w.code(), "customer": w.person() if w.chance(0.7) else w.company(), "items": items,
            "date": w.date(), "city": w.place(), "payment": r.choice(PAYMENTS),
        }  # fmt: skip
    return {
        "name": w.person() if w.chance(0.8) else w.company(), "street": w.street(), "number": str(r.randint(1, 299)),
        "postcode": w.postcode(), "city": w.place(), "country": w.name(["ia", "land", "a", "stan"]),
    }  # fmt: skip


def items_text(w: Words, items: list[dict[str, Any]]) -> str:
    form, priced = (
        w.rng.randrange(4),
        w.rng.choice(["at {} each", "for {} each", "at {} euros each", "({} each)", "at a price of {}"]),
    )
    parts = []
    for item in items:
        n = item["quantity"]
        count = NUMBER_WORDS[n] if 1 < n <= 12 and w.chance(0.15) else str(n)
        head = [
            f"{count} x {item['product']}",
            f"{count} {item['product']}",
            f"{count} pieces of {item['product']}",
            f"{count} of the {item['product']}",
        ]
        parts.append(f"{head[form]} {priced.format(item['price'])}")
    if len(parts) == 1:
        return parts[0]
    return w.rng.choice([", ", ", ", "; "]).join(parts[:-1]) + w.rng.choice([" and ", ", and "]) + parts[-1]


Bank = list[tuple[frozenset[str], str]]  # what a sentence says, and the sentence


def by_fields(sentences: list[str]) -> Bank:
    return [(frozenset(pieces.FIELDS.findall(s)) - {"S"}, s) for s in sentences]


BANK: dict[tuple[str, bool], Bank] = {
    (kind, held): by_fields(p.held_out if held else p.train) for kind, p in SENTENCES.items() for held in (False, True)
}


def describe(w: Words, kind: str, record: dict[str, Any], fields: set[str]) -> str:
    """Sentences that say exactly `fields`, the main one first."""
    main = MAIN[kind]
    shown = {k: items_text(w, v) if k == "items" else v for k, v in record.items()}
    left, said, subject = set(fields), [], ""
    while left:
        fitting = [s for need, s in BANK[kind, w.held_out] if need <= left and (main in need) == (main in left)]
        text = expand(w.rng, w.rng.choice(fitting))
        if not w.held_out:
            made = pieces.sentence(w, kind, main, left) if w.chance(0.3) else ""
            text = made if made and not pieces.is_held_out_template(made, SENTENCES[kind]) else text
            text = w.disturb(text) if w.chance(0.4) else text
        left -= set(pieces.FIELDS.findall(text))
        said.append(text.format(S=subject, **shown))
        if kind == "event":
            subject = w.rng.choice(["It", "The event", f"The {record['title']}"])
        else:
            first = record[main].split()[0] if record[main].count(" ") and kind != "order" else record[main]
            subject = w.rng.choice(["She", "He", first, record[main], first])
    return join_sentences(w, said)


def join_sentences(w: Words, said: list[str]) -> str:
    out = []
    for i, text in enumerate(said):
        hedge = w.rng.choice(HEDGES) if i else ""
        if hedge:
            text = hedge + (text[0].lower() + text[1:] if text.startswith(("The ", "She ", "He ", "It ")) else text)
        text = text.replace("She's", "Her").replace("He's", "His").replace("It's ", "Its ").replace("her's", "her")
        out.append(text if text.endswith(".") else text + ".")
        if not w.held_out and w.chance(0.06):
            out.append(w.filler())
    return " ".join(out)


def plan(w: Words, kind: str, nested: bool) -> tuple[dict[str, Any], list[str]]:
    """A schema as {key: field | item keys | {key: field}}, and the fields it asks for."""
    keys = KEYS[kind]
    names = list(keys)
    wanted = w.rng.sample(names, w.rng.randint(2, len(names)))
    if MAIN[kind] not in wanted and w.chance(0.8):
        wanted[0] = MAIN[kind]
    if kind == "order" and w.chance(0.7) and "items" not in wanted:
        wanted[-1] = "items"
    if w.chance(0.5):
        wanted.sort(key=names.index)
    schema: dict[str, Any] = {}
    used: set[str] = set()
    titles = [(w.rng.choice(choices), fields) for choices, fields in GROUPS[kind]]
    grouped = {f: title for title, fields in titles if nested for f in fields}
    for f in wanted:
        key = w.rng.choice(keys[f][0][:1] * 2 + keys[f][0])
        if f == "items":
            schema[key] = {"[]": {w.rng.choice(ITEM_KEYS[k]): k for k in ITEM_KEYS if k != "price" or w.chance(0.7)}}
        elif f in grouped:
            schema.setdefault(grouped[f], {})[key] = f
        else:
            while key in used:
                key = w.rng.choice(keys[f][0])
            schema[key] = f
        used.add(key)
    return schema, wanted


def fill(schema: dict[str, Any], record: dict[str, Any], said: set[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, source in schema.items():
        if isinstance(source, str):
            out[key] = record[source] if source in said else None
        elif "[]" in source:
            out[key] = [{k: item[f] for k, f in source["[]"].items()} for item in record["items"]]
        else:
            out[key] = fill(source, record, said)
    return out


ITEM_TYPES = {"product": "string", "quantity": "integer", "price": "number"}


def spec_keys(schema: dict[str, Any], kind: str) -> str:
    parts = []
    for key, source in schema.items():
        if isinstance(source, str):
            parts.append(key)
        elif "[]" in source:
            parts.append(f"{key} (a list with {', '.join(source['[]'])})")
        else:
            parts.append(f"{key} (with {', '.join(source)})")
    return ", ".join(parts)


def spec_shape(schema: dict[str, Any], kind: str) -> Any:
    out: dict[str, Any] = {}
    for key, source in schema.items():
        if isinstance(source, str):
            out[key] = KEYS[kind][source][1]
        elif "[]" in source:
            out[key] = [{k: ITEM_TYPES[f] for k, f in source["[]"].items()}]
        else:
            out[key] = spec_shape(source, kind)
    return out


def spec_schema(shape: Any) -> Any:
    if isinstance(shape, str):
        return {"type": shape}
    if isinstance(shape, list):
        return {"type": "array", "items": spec_schema(shape[0])}
    return {"type": "object", "properties": {k: spec_schema(v) for k, v in shape.items()}, "required": list(shape)}


def ask(w: Words, kind: str, schema: dict[str, Any], text: str, many: str = "") -> str:
    shape = spec_shape(schema, kind)
    if many:
        shape = {many: [shape]}
    form = w.rng.choices(["keys", "schema", "shape"], [4, 3, 3])[0]
    if form == "keys":
        spec = spec_keys(schema, kind)
        spec, phrases = (f"{many} (a list with {spec})" if many else spec), FORM_KEYS
    elif form == "schema":
        spec, phrases = dumps(spec_schema(shape)), FORM_SCHEMA
    else:
        spec, phrases = dumps(shape), FORM_SHAPE
    noun = "people" if many else kind
    return w.pick(ASK).format(kind=noun, form=w.pick(phrases).format(spec=spec), text=text)


def make(w: Words) -> Item:
    """One record, flat or nested; some fields asked for are missing (null), some told are not asked for."""
    nested = w.chance(0.4)
    if w.chance(0.12):
        return make_list(w)
    kind = w.rng.choice(list(SENTENCES))
    record = values(w, kind)
    schema, wanted = plan(w, kind, nested)
    said = {f for f in wanted if f in (MAIN[kind], "items") or not w.chance(0.07)}
    said |= {MAIN[kind]} | {f for f in record if f not in wanted and w.chance(0.25)}
    if kind == "address" and not {"street", "number"} <= said:
        said -= {"street", "number"}  # no sentence says one without the other
    text = describe(w, kind, record, said)
    answer = fill(schema, record, said)
    deep = any(not isinstance(s, str) for s in schema.values())
    return Item("extract nested" if deep else "extract flat", [user(ask(w, kind, schema, text))], dumps(answer))


def make_list(w: Words) -> Item:
    """Two or three people, each with the same few fields."""
    fields = ["name"] + w.rng.sample(["age", "city", "job", "company"], w.rng.randint(1, 2))
    schema = {w.rng.choice(KEYS["person"][f][0]): f for f in fields}
    people = [values(w, "person") for _ in range(w.rng.randint(2, 3))]
    text = " ".join(describe(w, "person", p, set(fields)) for p in people)
    many = w.rng.choice(["people", "persons", "members"])
    answer = {many: [fill(schema, p, set(fields)) for p in people]}
    return Item("extract nested", [user(ask(w, "person", schema, text, many))], dumps(answer))


QUESTION = Phrases(
    ["What is the {key}?", "[Tell me|And] the {key}[|, please]?", "Only the {key}[|, please]."],
    ["Give me just the {key}."],
)


def follow_up(w: Words) -> Item:
    """An extraction, then a question about one of its values."""
    first = make_simple(w)
    record = {k: v for k, v in json.loads(first.answer).items() if isinstance(v, (str, int, float))}
    key = w.rng.choice(list(record) or ["name"])
    value = record.get(key)
    question = user(w.pick(QUESTION).format(key=key))
    return Item("follow up", first.messages + [first.reply(), question], "null" if value is None else str(value))


def make_simple(w: Words) -> Item:
    while True:
        item = make(w)
        if item.task == "extract flat":
            return item
