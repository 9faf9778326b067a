"""Writes texts.json: 200 texts that an embedding server may meet, hard ones among them.

All sentences are our own. The file is ASCII (escapes for everything else), so that invisible
characters survive editors. No text is empty: the OpenAI API refuses an empty input.
"""

import json
import random
from pathlib import Path

OUT = Path(__file__).parent / "texts.json"

PLAIN = [
    "The mill stands where two streams meet.",
    "Water turns the wheel, and the wheel turns the stone.",
    "How do I reset my password?",
    "What is the refund policy for damaged parcels?",
    "A cat sleeps on the warm hood of the car.",
    "The kitten is napping on top of the engine cover.",
    "Interest rates rose by a quarter of a point on Tuesday.",
    "She plays the cello in a small chamber orchestra.",
    "Add two eggs, fold in the flour, and bake until golden.",
    "The train to the coast leaves at ten past six.",
    "Our telescope saw a faint comet near the horizon.",
    "Please restart the router and wait for the green light.",
    "The goalkeeper saved the penalty in the final minute.",
    "Black holes bend light so strongly that none escapes.",
    "An index makes reads faster and writes slower.",
    "Is this mushroom safe to eat?",
    "Bees tell each other where the flowers are by dancing.",
    "Turn left at the bakery, then walk up the hill.",
    "My left knee hurts after long runs.",
    "Quarterly revenue grew, but margins shrank.",
    "Don't touch the wet paint!",
    "it's the dogs' bowl, isn't it?",
    "ALL CAPITALS ARE LOUD AND OFTEN UNNECESSARY",
    "mIxEd CaSe WoRdS aRe HaRd To ReAd",
    "well-known state-of-the-art twenty-one-year-old rules",
    "antidisestablishmentarianism and floccinaucinihilipilification",
]

LANGUAGES = [
    "Die Mühle steht am Fluss; das große Rad dreht sich langsam.",
    "Äpfel, Öl und Übermut: süße Grüße aus Köln, Straße 5.",
    "Le café est déjà fermé, mais la boulangère nous a gardé une brioche.",
    "L'œuvre naïve du garçon plaît à sa mère.",
    "¿Dónde está la estación? ¡El niño perdió su mochila!",
    "A manhã está fria e o pão ainda não chegou.",
    "Il mulino gira perché l'acqua è tornata.",
    "Kvarnen står stilla när ån fryser på vintern.",
    "Møllen på øen blev bygget af min oldefar.",
    "Mylly seisoo kosken äärellä, eikä jää pysäytä sitä.",
    "Młyn stoi nad rzeką, a koło skrzypi całą noc.",
    "Příliš starý mlýn čeká na nového mlynáře.",
    "A malom kereke őszi esőben is forog.",
    "Moara veche încă macină grâu în fiecare toamnă.",
    "İstanbul'da ılık bir sabah; ığdır ve ışık.",
    "Cối xay nước quay suốt ngày đêm bên dòng suối.",
    "Kinu cha maji kinazunguka polepole.",
    "Ο μύλος γυρίζει όταν φυσάει· ο μυλωνάς κοιμάται.",
    "ΟΔΥΣΣΕΥΣ και Ὀδυσσεύς: ένας ήρωας, δύο γραφές.",
    "Мельница стоит у реки, и колесо скрипит всю ночь.",
    "Йод, ёлка и съёмка: буквы с точками.",
    "Їжак і ґава живуть біля млина.",
    "Воденицата мели жито само през есента.",
    "ჭალაში ძველი წისქვილი დგას.",
    "Ջրաղացը կանգնած է գետի ափին։",
    "הטחנה עומדת ליד הנחל והגלגל מסתובב.",
    "שָׁלוֹם לַטּוֹחֵן הַזָּקֵן",
    "الطاحونة قرب النهر والعجلة تدور ببطء.",
    "مَرْحَبًا بِالطَّحَّانِ، رقم ١٢٣٤٥",
    "آسیاب کنار رود است و می‌چرخد.",
    "چکی دریا کے کنارے ہے۔",
    "नदी के किनारे पुरानी चक्की है।",
    "क्षत्रिय, ज्ञान और श्रद्धा: संयुक्ताक्षर।",
    "নদীর ধারে একটি পুরোনো কল আছে।",
    "ஆற்றங்கரையில் ஒரு பழைய ஆலை உள்ளது.",
    "నది పక్కన పాత మర ఉంది.",
    "ನದಿಯ ಬಳಿ ಹಳೆಯ ಗಿರಣಿ ಇದೆ.",
    "പുഴയുടെ അരികിൽ ഒരു പഴയ മില്ല് ഉണ്ട്.",
    "ගඟ අසල පරණ මෝලක් ඇත.",
    "โรงสีเก่าตั้งอยู่ริมแม่น้ำ",
    "ໂຮງສີເກົ່າຢູ່ແຄມນ້ຳ",
    "ရေစက်သည် မြစ်ဘေးတွင် ရှိသည်။",
    "ម៉ាស៊ីនកិននៅជិតទន្លេ។",
    "ཆུ་འཁོར་རྙིང་པ་ཞིག",
    "ወፍጮው ከወንዙ አጠገብ ነው።",
    "河边有一座老磨坊,水轮慢慢地转。",
    "河邊有一座老磨坊,水輪慢慢地轉動。",
    "川のほとりに古い水車小屋があります。",
    "カタカナとひらがな、そして漢字。ガギグゲゴ",
    "ﾊﾝｶｸｶﾅとＦＵＬＬＷＩＤＴＨ　ＴＥＸＴ１２３",
    "강가에 오래된 물레방아가 있어요.",
    "强 mixed 中文 and English 单词 in one 句子.",
    "𠀀𠮷野家 𪚥 rare ideographs 龘",
    "ᏣᎳᎩ ᚠᚢᚦ 𐌰𐌱𐌲 old scripts",
    "mixed: Привет, 世界, مرحبا, שלום, नमस्ते, สวัสดี!",
]

ACCENTS = [
    "caf\u00e9 r\u00e9sum\u00e9 na\u00efve",
    "cafe\u0301 re\u0301sume\u0301 nai\u0308ve",
    "\u00c5ngstr\u00f6m \u212bngstr\u00f6m A\u030angstro\u0308m",
    "Vi\u1ec7t Nam and Vie\u0323\u0302t Nam",
    "\ud55c\uae00 and \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u304c and \u304b\u3099",
    "\u0439 and \u0438\u0306",
    "z\u0351\u0327a\u0300\u0301\u0302\u0303l\u0334g\u0489o\u0336 stacked marks",
    "\ufb01ne \ufb02ow o\ufb03ce ligatures",
    "\u00df \u1e9e \u0130 \u0131 \u017f \u01c5 case folding",
    "\u2460 \u216b \u00bd \u00b2 \u33a5 \u2122 \ufdfa compatibility forms",
    "\U0001d400\U0001d4ea\U0001d552 mathematical letters",
]

EMOJI = [
    "\U0001f600",
    "I \u2764\ufe0f this \U0001f389\U0001f389\U0001f389",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 trip",
    "flags \U0001f1e9\U0001f1ea \U0001f1ef\U0001f1f5 \U0001f3f3\ufe0f\u200d\U0001f308 "
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "thumbs \U0001f44d\U0001f3fb\U0001f44d\U0001f3fd\U0001f44d\U0001f3ff",
    "astronaut \U0001f469\U0001f3fe\u200d\U0001f680 and keycap 3\ufe0f\u20e3",
    "\U0001f680\U0001f680\U0001f680 to the moon \U0001f315",
    "text\u2603\ufe0eand\u2603\ufe0femoji",
]

CODE = [
    "int main() { return 0; }",
    "for (auto& [key, value] : table) total += value * 0.5f;",
    "def add(a, b):\n    return a + b  # sum\n",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name;",
    "git rebase -i HEAD~3 && make -j8 2>&1 | tee build.log",
    '{"id": 7, "tags": ["a", "b"], "ok": true, "none": null}',
    "<div class=\"box\"><a href='#top'>back &amp; up</a></div>",
    "fn longest<'a>(x: &'a str, y: &'a str) -> &'a str { x }",
    "#include <vector>\r\nstd::vector<int> v{1,2,3};\r\n",
    "let mut x = vec![1u8; 16]; x[0] ^= 0xFF;",
    "a=b+c*d/e-f%g&h|i^j<<k>>l==m!=n<=o>=p&&q||r?s:t",
    "kernel<<<grid, block, 0, stream>>>(out, in, n);",
    "\\alpha + \\beta = \\frac{1}{2} \\sum_{i=0}^{n} x_i^2",
    "snake_case camelCase PascalCase kebab-case SCREAMING_CASE",
    "```yaml\nport: 8000\nmodel:\n  - mini\n```",
]

LINKS = [
    "https://example.com/path/to/page?query=mill&lang=en#section-2",
    "Write to miller+race@example.org or visit http://localhost:8000/v1.",
    "ftp://user:secret@192.0.2.17:2121/archive.tar.gz",
    "see [2001:db8::1]:443 and 10.0.0.0/8",
    "/usr/local/lib/libmill.so.1 C:\\Program Files\\Mill\\race.exe",
    "https://example.com/" + "a1-b2_c3/" * 12,
    "data:text/plain;base64,bWlsbHJhY2U=",
]

NUMBERS = [
    "42",
    "3.14159265358979323846264338327950288",
    "1,234,567.89 and 1.234.567,89",
    "-1e-9 +6.02e23 0x1F 0b1011 0o777",
    "2024-02-29T23:59:60Z",
    "+1 (555) 010-9999",
    "\u00a35 \u20ac10 \u00a5100 \u20bf0.5 $3.50 50%",
    "\u0967\u0968\u0969 \u0e51\u0e52\u0e53 \u4e00\u4e8c\u4e09",
    "1234567890" * 11,
]

NEAR_EMPTY = [
    " ", ".", "a", "I", "?", "\n", "\t", " \t\r\n ", "\u200b", "\u200b\u200c\u200d\ufeff",
    "\u00a0", "\u3000", "\u00ad", "...", "!!!", "##", "\u2026", "\u0301", "\ufe0f", "\u2060",
]

CONTROL = [
    "nul\u0000inside",
    "bell\u0007 back\u0008space form\u000cfeed vertical\u000btab",
    "\u001b[31mred\u001b[0m text",
    "delete\u007f and c1 \u0085 \u009f end",
    "line\u2028separator paragraph\u2029separator",
    "right \u202eto left\u202c and \u2066isolate\u2069 marks",
    "replacement \ufffd private \ue000 noncharacter \uffff last \U0010ffff",
    "soft\u00adhyphen zero\u200bwidth no\u00a0break word\u2060joiner",
    "\ufeffbyte order mark first",
    "\u0001\u0002\u0003",
]

SPECIAL = [
    "[SEP]",
    "[CLS] hello [SEP] world [SEP]",
    "The capital of France is [MASK].",
    "[PAD][PAD] padded [PAD]",
    "[UNK] unknown",
    "[sep] [Mask] lower case",
    "a[MASK]b [ MASK ] [MASK",
    "<s> </s> <pad> <|endoftext|> [unused1]",
    "##ing ##ed pieces",
]

LONG_WORDS = [
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "before " + "x" * 150 + " after",
    "pneumono" * 40,
    "-".join(["dash"] * 60),
    "\u00e9" * 101,
    "\u6c34" * 120,
    "\u0e01" * 130 + " end",
]


def long_texts(rng: random.Random) -> list[str]:
    words = sorted({word.strip(".,;:!?").lower() for text in PLAIN for word in text.split()})
    draw = lambda n: " ".join(rng.choice(words) for _ in range(n))
    exact = [" ".join(["water"] * n) for n in (253, 254, 255, 509, 510, 511)]  # one token a word
    return exact + [
        draw(180),
        draw(400),
        draw(900),
        draw(2500),
        ". ".join(draw(9) for _ in range(60)) + ".",
        "\n\n".join(f"## Part {i}\n{draw(25)}" for i in range(20)),
        "!" * 700,
        "\U0001f600 " * 300,
        "\u78e8\u574a\u8f6c\u52a8" * 100,
        " ".join(LANGUAGES),
    ]


def main() -> None:
    rng = random.Random(20240229)
    texts = (PLAIN + LANGUAGES + ACCENTS + EMOJI + CODE + LINKS + NUMBERS + NEAR_EMPTY + CONTROL
             + SPECIAL + LONG_WORDS + long_texts(rng))
    twins = rng.sample(range(len(texts)), 3) + [0]
    texts += [texts[i] for i in twins]  # the last four occur twice
    assert len(texts) == 200 and all(texts), len(texts)
    OUT.write_text(json.dumps(texts, indent=0) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
