"""What is drawn, beside transformers' own logits processors on the same model (tests/golden/make_sampling.py)."""

import json
import math
from collections import Counter

import harness
import pytest
from transformers import AutoTokenizer

CASES = json.loads((harness.GOLDEN / "sampling" / "expected.json").read_text())
DEMO = harness.ROOT / "examples" / "demo-model"
NUM_CHOICES, NUM_SEEDS = 128, 16  # of a drawn case


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(DEMO)


def complete(client, prompt, asked, **options):
    """A completion of token ids; `asked` in the names of the API."""
    named = {key: value for key, value in asked.items() if key in ("temperature", "frequency_penalty", "presence_penalty", "top_p", "logit_bias")}
    extra = {key: value for key, value in asked.items() if key not in named}
    return client.completions.create(model="demo-model", prompt=prompt, **{"temperature": 0, **named, **options},
                                     extra_body={"return_token_ids": True, **extra})


def in_words(asked, tokenizer):
    """Banned token sequences as the words that the API wants; None where a word would become other tokens."""
    if "bad_token_sequences" not in asked:
        return asked
    words = [tokenizer.decode(sequence) for sequence in asked["bad_token_sequences"]]
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    if ids != asked["bad_token_sequences"] or not all(word.strip() for word in words):
        return None
    return {**{key: value for key, value in asked.items() if key != "bad_token_sequences"}, "bad_words": words}


@pytest.mark.parametrize("number", range(len(CASES["greedy"])))
def test_greedy_tokens_under_every_processor(demo_client, tokenizer, number):
    case = CASES["greedy"][number]
    asked = in_words(case["asked"], tokenizer)
    if asked is None:
        pytest.skip("the banned tokens are no word of their own")
    reply = complete(demo_client, case["prompt"], asked, max_tokens=max(40, asked.get("min_tokens", 0)))
    assert reply.choices[0].token_ids[:40] == case["tokens"], case["asked"]


def test_most_greedy_cases_say_something():
    """The fixture tests what it names: most processors change the plain answer."""
    plain = {tuple(case["prompt"]): case["tokens"] for case in CASES["greedy"] if not case["asked"]}
    changed = [case for case in CASES["greedy"] if case["asked"] and case["tokens"] != plain.get(tuple(case["prompt"]))]
    assert len(changed) >= 20


@pytest.mark.parametrize("number", range(len(CASES["drawn"])))
def test_drawn_tokens_follow_the_distribution(demo_client, number):
    case = CASES["drawn"][number]
    drawn = Counter()
    for seed in range(NUM_SEEDS):
        reply = complete(demo_client, case["prompt"], case["asked"], max_tokens=1, n=NUM_CHOICES, seed=1000 * seed)
        drawn.update(choice.token_ids[0] for choice in reply.choices)
    count = sum(drawn.values())
    assert count == NUM_CHOICES * NUM_SEEDS
    expected = dict(zip(case["tokens"], case["probabilities"]))
    if case["support"] == len(expected):
        assert set(drawn) <= set(expected), case["asked"]
    # Chi-square over the tokens that are expected five times or more, all others together as one more cell.
    cells = [token for token, probability in expected.items() if probability * count >= 5]
    rest = 1 - sum(expected[token] for token in cells)
    statistic = sum((drawn[token] - count * expected[token]) ** 2 / (count * expected[token]) for token in cells)
    others = count - sum(drawn[token] for token in cells)
    if rest * count >= 5:
        statistic += (others - rest * count) ** 2 / (rest * count)
    else:
        assert others <= 20 + 4 * rest * count
    degrees = max(1, len(cells) - (0 if rest * count >= 5 else 1))
    assert statistic < degrees + 5 * math.sqrt(2 * degrees) + 10, (case["asked"], degrees, statistic)


@pytest.mark.parametrize("number", range(len(CASES["logprobs"])))
def test_logprobs_are_those_of_the_logits(demo_client, number):
    case = CASES["logprobs"][number]
    reply = complete(demo_client, case["prompt"], {"return_tokens_as_token_ids": True, "frequency_penalty": 1.0}, max_tokens=1, logprobs=20)
    found = reply.choices[0].logprobs.top_logprobs[0]
    assert len(found) in (20, 21)
    for token, logprob in zip(case["tokens"][:15], case["logprobs"][:15]):
        assert found[f"token_id:{token}"] == pytest.approx(logprob, abs=2e-3)


def test_a_seed_gives_the_same_tokens_again_and_another_one_others(demo_client):
    prompt = CASES["drawn"][0]["prompt"]

    def tokens(**options):
        reply = complete(demo_client, prompt, {"temperature": 1.5}, max_tokens=24, n=3, **options)
        return [choice.token_ids for choice in reply.choices]

    first = tokens(seed=7)
    assert tokens(seed=7) == first
    assert tokens(seed=8) != first
    assert len({tuple(choice) for choice in first}) == 3
