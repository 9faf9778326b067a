"""The demo model's data: rendering equals the chat template, held-out never meets training, answers follow from texts.

    python -m unittest discover -s tests/tools -p '*_test.py'

The comparison with the template needs jinja2 and is skipped without it.
"""

import json
import os
import random
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.demo_model import fresh, render  # noqa: E402
from tools.demo_model.evaluate import ROWS, items_of, parse  # noqa: E402
from tools.demo_model.item import Item  # noqa: E402
from tools.demo_model.mixture import MIXTURE, draw  # noqa: E402
from tools.demo_model.tasks import calls, copying, extraction, pieces, sums, tables  # noqa: E402
from tools.demo_model.tasks.catalogue import CATALOGUE  # noqa: E402
from tools.demo_model.words import Phrases, Words, expansions, is_held_out  # noqa: E402

SEED = int(os.environ.get("MILLRACE_TEST_SEED", random.randrange(1 << 30)))


def words(held_out: bool = False) -> Words:
    return Words(random.Random(SEED), held_out)


def all_phrases() -> list[Phrases]:
    found: list[Phrases] = []

    def walk(value: object) -> None:
        if isinstance(value, Phrases):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            for v in value:
                walk(v)
        elif isinstance(value, dict):
            walk(list(value.values()))
        elif hasattr(value, "asks"):
            walk(value.asks)

    for name, module in list(sys.modules.items()):
        if name.startswith("tools.demo_model.tasks."):
            for value in vars(module).values():
                walk(value)
    return found


class Data(unittest.TestCase):
    def setUp(self) -> None:
        print(f"seed {SEED}")

    def test_rendering_equals_the_chat_template(self) -> None:
        try:
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            self.skipTest("jinja2 is not installed")
        env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        template = env.from_string((ROOT / "tools/demo_model/chat_template.jinja").read_text())
        w = words()
        for _ in range(300):
            item = draw(w, MIXTURE)
            for thinking in (True, False):
                rendered = template.render(
                    messages=item.messages,
                    tools=item.tools or None,
                    add_generation_prompt=True,
                    enable_thinking=thinking,
                )
                self.assertEqual(rendered, render.prompt(item, thinking))
            whole = template.render(messages=[*item.messages, item.reply()], tools=item.tools or None)
            opening = render.prompt(item) + ("" if item.thought else render.EMPTY_THOUGHT)
            self.assertEqual(whole, opening + render.completion(item) + "\n")

    def test_segments_are_the_whole_conversation(self) -> None:
        w = words()
        for _ in range(200):
            item = draw(w, MIXTURE)
            joined = "".join(text for text, _ in render.segments(item))
            self.assertEqual(joined, render.prompt(item) + render.completion(item) + "\n<|endoftext|>")

    def test_coined_words_obey_the_split(self) -> None:
        for held_out in (False, True):
            w = words(held_out)
            self.assertTrue(all(is_held_out(w.coin()) == held_out for _ in range(500)))

    def test_templates_are_disjoint(self) -> None:
        phrases = all_phrases()
        self.assertGreater(len(phrases), 40)
        for p in phrases:
            train = {text for template in p.train for text in expansions(template)}
            held_out = {text for template in p.held_out for text in expansions(template)}
            self.assertFalse({text for text in train & held_out if text.strip()})

    def test_what_pieces_make_is_no_held_out_template(self) -> None:
        w = words()
        held_out = {text.lower() for p in all_phrases() for t in p.held_out for text in expansions(t)} - {""}
        made = [calls.Offer(w, w.rng.choice(CATALOGUE)).template(w) for _ in range(3000)]
        for kind, main in extraction.MAIN.items():
            fields = set(extraction.KEYS[kind])
            for _ in range(3000):
                text = pieces.sentence(w, kind, main, fields - ({main} if w.chance(0.5) else set()))
                if not pieces.is_held_out_template(text, extraction.SENTENCES[kind]):
                    made.append(text)
        self.assertGreater(len(set(made)), 5000)
        self.assertFalse({text for text in made if text.lower() in held_out})
        self.assertTrue(pieces.is_held_out_template("the letter goes to {name}", extraction.ADDRESS))

    def test_extracted_values_stand_in_the_text(self) -> None:
        def values(tree: object) -> list[object]:
            if isinstance(tree, dict):
                return [v for x in tree.values() for v in values(x)]
            if isinstance(tree, list):
                return [v for x in tree for v in values(x)]
            return [tree]

        for item in items_of("extraction", 200, SEED):
            for value in values(json.loads(item.answer)):
                if isinstance(value, str):
                    self.assertIn(value, item.messages[-1]["content"])

    def test_evaluation_is_the_same_every_time(self) -> None:
        for row in ROWS:
            self.assertEqual(items_of(row, 5, 1), items_of(row, 5, 1))

    def test_replies_are_parsed_as_written(self) -> None:
        w = words(True)
        for _ in range(200):
            item = draw(w, MIXTURE)
            reply = parse(render.completion(item).removesuffix("<|im_end|>"))
            self.assertEqual((reply["content"], reply["calls"]), (item.answer, item.calls))
        self.assertEqual(parse('<tool_call>\n{"name": "x", \n</tool_call>')["calls"][0]["name"], "")

    def test_fresh_wordings_are_new_and_say_fields_that_exist(self) -> None:
        known = {text.lower() for p in all_phrases() for t in [*p.train, *p.held_out] for text in expansions(t)}
        made = [text for texts in [*fresh.SENTENCES.values(), fresh.ASK, *fresh.REQUESTS.values()] for text in texts]
        self.assertFalse([text for text in made if text.lower() in known])
        for kind, texts in fresh.SENTENCES.items():
            fields = set(pieces.FIELDS.findall("".join(texts)))
            self.assertTrue(fields <= {*extraction.KEYS[kind], "S"} and extraction.MAIN[kind] in fields, kind)
        self.assertEqual({t.names[0] for t in CATALOGUE}, set(fresh.REQUESTS))
        for tool in CATALOGUE:
            said = set(pieces.FIELDS.findall("".join(fresh.REQUESTS[tool.names[0]])))
            self.assertLessEqual(said, set(tool.params), tool.names)

    def test_requests_made_of_pieces_say_what_is_called_for(self) -> None:
        w = words()
        for tool in CATALOGUE:
            needed = {f for p in tool.parts if not p.startswith("?") for f in pieces.FIELDS.findall(p)}
            self.assertLessEqual(needed, set(tool.params), tool.names)
            for _ in range(50):
                said = set(pieces.FIELDS.findall(pieces.request(w, tool.wishes, tool.parts)))
                self.assertTrue(needed <= said <= set(tool.params), (tool.names, said))

    def test_nothing_touches_a_text_to_repeat(self) -> None:
        w = words()
        text = "qqq first last qqq"
        for _ in range(500):
            asked = copying.repeat(w, text)
            before, after = asked.split(text)
            self.assertFalse(before.rstrip(" ")[-1:].isalnum(), asked)
            self.assertIn(after[:1], ("", "\n"), asked)

    def test_a_table_to_convert_is_shown_as_it_is(self) -> None:
        w = words()
        for _ in range(300):
            item = tables.make(w)
            if item.task == "table reformat":
                for name in re.findall(r"\w+", item.answer.split("\n")[0]):
                    self.assertIn(name, item.messages[-1]["content"])

    def test_thoughts_add_up(self) -> None:
        w = words()
        for _ in range(300):
            item: Item = sums.make(w)
            self.assertTrue(item.thought.endswith(f"so {item.answer}."))


if __name__ == "__main__":
    unittest.main()
