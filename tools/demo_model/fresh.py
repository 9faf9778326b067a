"""Wordings written after training, in place of the held-out ones: how far the skills carry.

The held-out templates were looked at when the training data were mended, so their figures are somewhat hopeful. Nothing was
mended after looking at these. `evaluate --fresh` asks with them: extractions, calls, and requests that no function grants.
"""

from dataclasses import replace

from .tasks import extraction
from .tasks.catalogue import CATALOGUE

SENTENCES = {
    "person": [
        "Everybody in town knows {name}",
        "Let me tell you about {name}, who is {age}",
        "{name} spends every working day at {company}",
        "Born in {city}, {name} never left",
        "Nobody bakes, builds or mends like {name}, the {job}",
        "{S} celebrated birthday number {age}",
        "{S} pays rent in {city}",
        "Since last year {S} has been earning money as a {job}",
        "{S} gets pay slips from {company}",
        "Whoever writes to {email} will hear from {S}",
        "{phone} is where {S} picks up",
        "Most evenings {S} can be found in {city}",
    ],
    "event": [
        "This year's {title} happens on {date}",
        "I look for company at the {title}",
        "{host} is the brain behind the {title}",
        "It kicks off at {time}",
        "{S} lasts all day on {date}",
        "The doors of {venue} open for it",
        "{city} hosts us this time",
        "{host} takes care of everything",
        "Organisers count on {attendees} visitors",
        "They printed {attendees} tickets",
        "At {time} the curtain rises",
    ],
    "order": [
        "{customer} would now like to have {items}",
        "We just got a call from {customer}",
        "{customer} filled the cart on {date}",
        "The cart holds {items}",
        "{S} fell in love with {items}",
        "It carries the code {order_id}",
        "On the slip you read {order_id}",
        "The clerk wrote {date} on it",
        "A truck brings it to {city}",
        "{S} will fetch it in {city}",
        "{payment} was used to settle the bill",
        "{S} settles the bill with {payment}",
    ],
    "address": [
        "{name} can be visited at {number} {street} in {city}",
        "A postcard for {name} must go to {street} {number}",
        "We are looking for {name}",
        "{S} opens the door at {number} {street}",
        "{S}'s door is in {street}, the number is {number}",
        "Write {postcode} on the envelope",
        "{S} votes in {city}",
        "That place lies in {country}",
        "{country} is where {S} feels at home",
        "The envelope says {postcode} {city}",
    ],
}
ASK = [
    "Somebody sent me this:\n{text}\n\nI want the {kind} in JSON. {form}",
    "What does this say about the {kind}? Reply in JSON. {form}\n{text}",
    "{form}\nHere you go: {text}",
]
REQUESTS = {  # by a function's first name
    "get_stock": [
        "Does our shop still sell the {product}, and how many?",
        "Have a look whether we ran out of {product}.",
    ],
    "find_route": [
        "Which roads take me to {goal} when I start in {start}?",
        "My aunt drives from {start} to {goal} tomorrow; which way should she take?",
    ],
    "play_music": ["Fill this room with {artist}.", "My party needs {artist}, quickly!"],
    "create_note": ['Something to note: "{text}"', 'Could my notebook say "{text}"?'],
    "get_price": [
        "Is the {product} within my budget? Say what it costs.",
        "Someone asks me the price of our {product}.",
    ],
    "add_user": [
        "Our system should let {person} in; the email is {email}.",
        "A login for {person}, please, mail goes to {email}, rights of {role}.",
    ],
    "run_query": ["Could I have the top {limit} rows out of {table}?", "Please look at the rows of {table}."],
    "set_temperature": [
        "It would be lovely to have {degrees} degrees inside.",
        "Let the heating go up to {degrees}.",
    ],
    "book_room": [
        "We will spend {nights} nights in {city}, so a hotel is needed.",
        "Arriving {date} in {city}, leaving after {nights} nights: find us a hotel.",
    ],
    "get_time": ["My sister lives in {city}; is she awake at this hour?", "Say the hour people have in {city}."],
    "get_weather": ["Could it be snowing in {city} today?", "Tell me whether to pack a raincoat for {city}."],
    "send_email": [
        'Write to {to}; "{subject}" should be the subject line.',
        'My boss at {to} needs a mail titled "{subject}".',
    ],
    "set_timer": [
        "My eggs need {minutes} minutes, so start the clock.",
        "In {minutes} minutes something should ring.",
    ],
    "convert_currency": [
        "If I sell {amount} {source}, how many {target} come back?",
        "She owes me {amount} {source}; say it in {target}.",
    ],
    "create_event": [
        "On {date} we all go to {title}; my calendar must know.",
        "Reserve {time} on {date} in my diary for {title}.",
    ],
    "find_contact": ["I lost the number of {person}; do you have it?", "How might one telephone {person}?"],
    "track_order": ["My parcel {order} is late. Where might it be?", "Did {order} leave the warehouse?"],
    "book_table": [
        "Tonight {people} of us would like dinner at {restaurant} at {time}.",
        "Ask {restaurant} to keep {people} seats for {time}.",
    ],
    "translate": [
        'My {language} neighbour should understand this: "{text}"',
        'Could this be in {language}: "{text}"?',
    ],
    "set_light": [
        "It is too bright in the {room}, so lamp {state}.",
        "Would you see that the {room} lamp goes {state}?",
    ],
}


def reword() -> None:
    """Puts these wordings where the held-out ones stand, for this process."""
    for kind, sentences in SENTENCES.items():
        extraction.BANK[kind, True] = extraction.by_fields(sentences)
    extraction.ASK = extraction.ASK._replace(held_out=ASK)
    CATALOGUE[:] = [replace(t, asks=t.asks._replace(held_out=REQUESTS[t.names[0]])) for t in CATALOGUE]
