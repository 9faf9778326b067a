"""Random words, names and values built from syllables, and the rule that keeps held-out ones out of training.

A coined word belongs to the held-out split if its checksum says so, and to training otherwise. Every name, place,
product and identifier is coined under that rule, so no held-out one can occur in training data, whatever the seeds.
"""

import random
import re
import zlib
from typing import Iterator, NamedTuple

ONSETS = (
    "b br c ch cl d dr f fl g gl gr h j k kl kr l m n p pl pr r s sh sk sl sm sn st str t th tr v w wh y z"
).split()
SIMPLE_ONSETS = "b d f g h j k l m n p r s t v".split()
VOWELS = "a e i o u a e i o u a e i o u a e i o u a e i o u ai au ea ee ei ia ie io oa oo ou ue".split()
ACCENTED = "á é í ó ú ä ö ü å è ñ ø".split()
CODAS = ["", "", "", "", "n", "l", "r", "s", "m", "t", "k", "d", "nd", "rt", "ld", "ck", "ss", "x", "rn", "lm", "st"]

PLACE_ENDINGS = ["", "", "ton", "berg", "ville", "mouth", "ford", "holm", "stad", "dale", "by", "field", "port", "burg"]
SURNAME_ENDINGS = ["", "", "", "son", "ez", "ski", "ov", "er", "man", "sen", "ini", "ard", "well"]
STREET_KINDS = "Street Road Lane Avenue Square Row Way Drive Court Terrace Hill Walk".split()
COMPANY_KINDS = "Ltd,Works,Group,Labs,Systems,Partners,& Sons,Foods,Energy,Logistics,Studio,Bank,Textiles,Motors".split(
    ","
)
GOODS = (
    "lamp kettle chair desk blanket jacket bicycle camera notebook speaker printer toaster mug pan knife tent backpack "
    "helmet mirror shelf radio drill ladder fan heater mixer scale clock carpet pillow monitor keyboard cable filter"
).split()
GOOD_TRAITS = (
    "steel wooden folding cordless red blue green compact heavy light travel garden kitchen cotton ceramic mini".split()
)
JOB_TRAITS = "senior junior chief assistant night field regional freelance marine railway forest school city".split()
JOBS = (
    "baker nurse teacher engineer surveyor carpenter translator pilot gardener chemist editor welder librarian cook "
    "plumber driver painter accountant designer farmer architect dentist mechanic tailor analyst biologist clerk"
).split()
# Well-known names, so that the model does not take them for something else; in training only, beside the coined ones.
KNOWN_FIRST = (
    "Anna Ben Clara David Emma Frank Grace Henry Ida Jack Kate Leo Maria Nina Oscar Paul Rosa Sam Tina Victor Alice Bob Carol "
    "Eve John Jane Mary Peter Laura Lisa Tom Sarah Michael James Robert Linda Thomas Julia Lucas Sofia Omar Fatima Wei Yuki Ivan"
).split()
KNOWN_LAST = (
    "Smith Jones Brown Miller Davis Garcia Wilson Moore Taylor Lee White Harris Clark Lewis Young Walker Hall Allen King Wright "
    "Scott Green Baker Adams Nelson Carter Weber Fischer Meyer Rossi Silva Kim Chen Singh Khan Novak Jensen Larsen Dubois Martin"
).split()
KNOWN_PLACES = (
    "Paris,London,Berlin,Madrid,Rome,Vienna,Oslo,Lisbon,Dublin,Prague,Tokyo,New York,Boston,Chicago,Toronto,Sydney,Cairo,Lima,"
    "Delhi,Seoul,Hamburg,Lyon,Milan,Zurich,Geneva,Athens,Warsaw,Helsinki,Stockholm,Copenhagen,San Francisco,Los Angeles,Munich"
).split(",")
MONTHS = "January February March April May June July August September October November December".split()
EVENT_KINDS = "Festival Workshop Meetup Conference Fair Concert Lecture Marathon Exhibition Seminar Auction Picnic Regatta".split()
EVENT_TRAITS = "Jazz Spring Book Winter Robotics Garden Film Harvest Poetry Chess Summer Science Bread Autumn".split()
VENUE_KINDS = "Hall,Park,Library,Museum,Theatre,Arena,Centre,Gardens,House,Pavilion,Tower,Barn".split(",")
ITEM_NOUNS = (
    "count limit size rate depth width index offset total score level timeout retries buffer queue cache worker batch token "
    "weight border margin ratio step user order price color host path mode region label owner group title status"
).split()
VERBS = "load read parse build send update count merge filter check fetch store scale split apply reset find make trim".split()
COMMON = (
    "the a of and to in is it on that by this with you but from they we say her she or will an my one all would there "
    "their what so up out if about who get which go when make can like time no just him know take into year your good "
    "some could them see other than then now look only come over think also back after use two how our work first well "
    "way even new want because any these give day most water light stone river small large early late open green road "
    "house table letter paper morning winter bread door window garden station market train ship field am are was were "
    "be been being do does did done has had have may might must shall should let lets get gets got put set keep keeps "
    "kept bring brings run runs ran start starts begin begins began end ends stop stops send sends sent receive call "
    "calls called tell tells told speak spoke talk talks write writes wrote written read reads ask asks asked answer "
    "find finds found lose lost show shows shown hold holds held move moves moved live lives stay stays leave left "
    "right turn turns play plays buy buys bought sell sold pay pays paid cost costs need needs needed help helps try "
    "tries tried visit visits meet meets met join joins know knows known grow grew build builds built choose chose "
    "please thanks hello yes not never always often again soon already still yet maybe perhaps quite very too more "
    "less much many few each every both either between through during before since until while without within along "
    "across behind under above below near far here where why whether though although however therefore thus else "
    "name word number list line file text place city town country street date hour minute week month price sum total "
    "order item person people friend family man woman child team group member guest host user customer client owner "
    "mail phone address message note question reply result value key code name title part side top bottom middle last "
    "next previous same different old young great big little long short high low hot cold warm dry wet dark bright "
    "red blue black white brown easy hard simple clear full empty ready happy sad quick slow strong weak rich poor "
    "third second half whole double single free busy closed important possible true false real sure nice fine better "
    "best worse bad safe clean dirty heavy soft loud quiet deep wide narrow round flat sharp sweet fresh raw tired"
).split()
NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def is_held_out(word: str) -> bool:
    return zlib.crc32(word.lower().encode()) % 10 == 0


class Phrases(NamedTuple):
    """Templates of one kind: `[a|b]` is a choice, `{x}` a field. The two lists share no template."""

    train: list[str]
    held_out: list[str]


_choice = re.compile(r"\[([^\[\]]*)\]")


def expand(rng: random.Random, template: str) -> str:
    """Replaces each `[a|b]` by one of its alternatives; innermost first."""
    while "[" in template:
        template, changed = _choice.subn(lambda m: rng.choice(m[1].split("|")), template)
        if not changed:
            break
    return template


def expansions(template: str, most: int = 20_000) -> Iterator[str]:
    """Everything a template can expand to, up to a bound."""
    pending = [template]
    while pending and most:
        text = pending.pop()
        choice = _choice.search(text)
        if choice:
            pending += [text[: choice.start()] + option + text[choice.end() :] for option in choice[1].split("|")]
        else:
            most -= 1
            yield text


class Words:
    """All randomness of one item: coined words of one split, values, templates of the same split."""

    def __init__(self, rng: random.Random, held_out: bool = False):
        self.rng = rng
        self.held_out = held_out

    def pick(self, phrases: Phrases, disturbed: float = 0.5) -> str:
        """A template with its choices made. Training ones are often disturbed, so that no exact wording is relied on."""
        if self.held_out:
            return expand(self.rng, self.rng.choice(phrases.held_out))
        text = expand(self.rng, self.rng.choice(phrases.train))
        return self.disturb(text) if self.rng.random() < disturbed else text

    def disturb(self, text: str) -> str:
        """Drops, replaces and adds some of the words that are not fields."""
        rng, out = self.rng, []
        rate = rng.choice([0.05, 0.1, 0.2])
        for word in text.split(" "):
            p = rng.random()
            if not word.isascii() or not word.strip(",.?!:").isalpha() or p > rate:
                out.append(word)
                if p > 1 - rate / 2:
                    out.append(self.any_word())
            elif p > rate * 0.4:
                out.append(self.any_word())
        return " ".join(out) if out else text

    def any_word(self) -> str:
        return self.rng.choice(COMMON) if self.rng.random() < 0.7 else self.coin()

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def coin(self, endings: list[str] | None = None, syllables: int = 0) -> str:
        """A lower-case word of this split."""
        rng = self.rng
        while True:
            count = syllables or (2 if rng.random() < 0.7 else 3)
            parts = []
            for left in range(count - 1, -1, -1):
                vowel = rng.choice(ACCENTED) if rng.random() < 0.015 else rng.choice(VOWELS)
                coda = rng.choice(CODAS) if left == 0 or rng.random() < 0.25 else ""
                parts += (rng.choice(ONSETS if rng.random() < 0.6 else SIMPLE_ONSETS), vowel, coda)
            word = "".join(parts)
            if endings:
                word += rng.choice(endings)
            if is_held_out(word) == self.held_out and len(word) < 16:
                return word

    def name(self, endings: list[str] | None = None) -> str:
        return self.coin(endings).capitalize()

    def first_name(self) -> str:
        return self.name(["", "", "a", "o", "i"])

    def surname(self) -> str:
        word = self.name(SURNAME_ENDINGS)
        return f"{word}-{self.name()}" if self.chance(0.03) else word

    def person(self) -> str:
        if not self.held_out and self.chance(0.06):
            return f"{self.rng.choice(KNOWN_FIRST)} {self.rng.choice(KNOWN_LAST)}"
        middle = f" {self.name()}" if self.chance(0.05) else ""
        return f"{self.first_name()}{middle} {self.surname()}"

    def place(self) -> str:
        if not self.held_out and self.chance(0.06):
            return self.rng.choice(KNOWN_PLACES)
        word = self.name(PLACE_ENDINGS)
        return (
            f"{self.rng.choice(['New', 'Port', 'Upper', 'San', 'Lake', 'North'])} {word}" if self.chance(0.1) else word
        )

    def street(self) -> str:
        return f"{self.name()} {self.rng.choice(STREET_KINDS)}"

    def company(self) -> str:
        return f"{self.name()} {self.rng.choice(COMPANY_KINDS)}"

    def product(self) -> str:
        trait = f"{self.rng.choice(GOOD_TRAITS)} " if self.chance(0.4) else ""
        model = f" {self.rng.choice('ABCDEFGHKLMPRSTVXZ')}{self.rng.randint(1, 99)}" if self.chance(0.3) else ""
        return f"{self.name()}{model} {trait}{self.rng.choice(GOODS)}"

    def job(self) -> str:
        """Known nouns, as jobs are; held-out pairs of trait and noun are kept apart by the same checksum rule."""
        while True:
            trait = f"{self.rng.choice(JOB_TRAITS)} " if self.held_out or self.chance(0.6) else ""
            job = f"{trait}{self.rng.choice(JOBS)}"
            if not trait or is_held_out(job) == self.held_out:
                return job

    def event(self) -> str:
        trait = f"{self.rng.choice(EVENT_TRAITS)} " if self.chance(0.6) else ""
        return f"{self.name()} {trait}{self.rng.choice(EVENT_KINDS)}"

    def venue(self) -> str:
        return f"{self.name()} {self.rng.choice(VENUE_KINDS)}"

    def email(self, person: str | None = None) -> str:
        parts = (person or self.person()).lower().split()
        form = self.rng.randrange(4)
        local = [
            f"{parts[0]}.{parts[-1]}",
            parts[0],
            f"{parts[0][0]}{parts[-1]}",
            f"{parts[-1]}{self.rng.randint(1, 99)}",
        ][form]
        return f"{local}@{self.coin()}.{self.rng.choice(['com', 'org', 'net', 'io', 'example', 'co'])}"

    def digits(self, count: int) -> str:
        return str(self.rng.randint(1, 9)) + "".join(self.rng.choices("0123456789", k=count - 1))

    def phone(self) -> str:
        form = self.rng.randrange(4)
        d = self.digits
        return [f"+{d(2)} {d(3)} {d(4)}", f"{d(3)}-{d(3)}-{d(4)}", f"0{d(3)} {d(6)}", f"{d(3)} {d(2)} {d(2)}"][form]

    def date(self) -> str:
        r = self.rng
        year, month, day = r.randint(1990, 2049), r.randint(1, 12), r.randint(1, 28)
        form = r.randrange(4)
        name = MONTHS[month - 1]
        return [f"{year}-{month:02}-{day:02}", f"{day} {name} {year}", f"{name} {day}", f"{day} {name}"][form]

    def time(self) -> str:
        return f"{self.rng.randint(0, 23):02}:{self.rng.choice([0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]):02}"

    def price(self) -> int | float:
        if self.chance(0.4):
            return self.rng.randint(1, 999)
        return float(f"{self.rng.randint(1, 399)}.{self.rng.randint(0, 9)}{self.rng.randint(1, 9)}")

    def code(self) -> str:
        letters = "".join(self.rng.choices("ABCDEFGHKLMNPRSTUVWXZ", k=self.rng.randint(1, 3)))
        return f"{letters}{self.rng.choice(['-', '', '-'])}{self.digits(self.rng.randint(3, 5))}"

    def postcode(self) -> str:
        return (
            self.digits(5)
            if self.chance(0.6)
            else f"{self.digits(4)} {''.join(self.rng.choices('ABCDEFGHJKLMNPRSTVWXZ', k=2))}"
        )

    def identifier(self) -> str:
        """snake_case, at least one part coined."""
        form = self.rng.randrange(4)
        coined, noun = self.coin(), self.rng.choice(ITEM_NOUNS)
        return [f"{coined}_{noun}", f"{noun}_{coined}", coined, f"{coined}_{self.rng.choice(ITEM_NOUNS)}_{noun}"][form]

    def function(self) -> str:
        return f"{self.rng.choice(VERBS)}_{self.coin()}" + (
            f"_{self.rng.choice(ITEM_NOUNS)}" if self.chance(0.3) else ""
        )

    def class_name(self) -> str:
        return self.name() + self.rng.choice(ITEM_NOUNS).capitalize()

    def filler(self, low: int = 4, high: int = 12) -> str:
        """A sentence without sense, of common and coined words."""
        count = self.rng.randint(low, high)
        words = [self.coin() if self.chance(0.15) else self.rng.choice(COMMON) for _ in range(count)]
        return " ".join(words).capitalize() + "."
