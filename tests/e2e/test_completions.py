"""/v1/completions, /tokenize and /detokenize through the official client."""

import httpx2
import openai
import pytest
from test_chat import DEMO, EXTRACT, post
from transformers import AutoTokenizer

PROMPT = f"<|im_start|>user\n{EXTRACT}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
GREEDY = {"model": "demo-model", "temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(DEMO)


def complete(client, prompt=PROMPT, **options):
    return client.completions.create(prompt=prompt, **{**GREEDY, **options})


def joined(chunks):
    texts = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts


def test_answers_as_the_chat_does(demo_client):
    reply = complete(demo_client, max_tokens=64)
    assert reply.choices[0].text == '{"name": "John Smith", "age": 42, "city": "London"}'
    assert reply.choices[0].finish_reason == "stop"
    assert reply.object == "text_completion" and reply.id.startswith("cmpl-")


def test_sixteen_tokens_by_default(demo_client):
    reply = demo_client.completions.create(model="demo-model", prompt="a", temperature=0,
                                           extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16
    assert reply.choices[0].finish_reason == "length"


def test_prompts_of_all_forms(demo_client, tokenizer):
    ids = tokenizer(PROMPT)["input_ids"]
    text = complete(demo_client).choices[0].text
    assert complete(demo_client, ids).choices[0].text == text
    both = complete(demo_client, [PROMPT, "one two"])
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == text
    assert both.choices[1].text == complete(demo_client, "one two").choices[0].text
    assert [choice.text for choice in complete(demo_client, [ids, ids[:5]]).choices][0] == text
    assert both.usage.prompt_tokens == len(ids) + len(tokenizer("one two")["input_ids"])


@pytest.mark.parametrize("options", [
    {}, {"n": 2, "temperature": 1, "seed": 1}, {"echo": True}, {"logprobs": 2},
    {"echo": True, "logprobs": 1}, {"stop": ["Smith"]}, {"prompt": ["a b", "c"], "n": 2, "seed": 3},
    {"echo": True, "max_tokens": 0, "logprobs": 1},
], ids=str)
def test_streamed_text_is_the_text(demo_client, options):
    whole = complete(demo_client, **options)
    chunks = list(complete(demo_client, **options, stream=True))
    assert joined(chunks) == {choice.index: choice.text for choice in whole.choices}
    if "logprobs" in options:
        parts = [chunk.choices[0].logprobs for chunk in chunks]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert sum((getattr(part, name) for part in parts), []) == \
                getattr(whole.choices[0].logprobs, name)


def test_echo_with_logprobs_scores_a_text(demo_client, tokenizer):
    """What evaluation harnesses ask: no output, and how likely each token of the prompt was."""
    prompt = PROMPT + '{"name": "John'
    reply = complete(demo_client, prompt, max_tokens=0, echo=True, logprobs=1)
    choice = reply.choices[0]
    assert choice.text == prompt and reply.usage.completion_tokens == 0
    assert choice.finish_reason == "length"
    ids = tokenizer(prompt)["input_ids"]
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == len(ids) == len(logprobs.token_logprobs)
    assert "".join(logprobs.tokens) == prompt
    assert logprobs.token_logprobs[0] is None and logprobs.top_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert logprobs.text_offset[0] == 0
    for offset, token in zip(logprobs.text_offset, logprobs.tokens):
        if not token.startswith("<|im"):  # special tokens are no part of the text
            assert prompt.replace("<|im_start|>", "").replace("<|im_end|>", "")[offset:].startswith(token)


def test_scores_are_those_of_generation(demo_client):
    drawn = complete(demo_client, logprobs=0, max_tokens=8)
    text = drawn.choices[0].text
    scored = complete(demo_client, PROMPT + text, max_tokens=0, echo=True, logprobs=0)
    count = len(drawn.choices[0].logprobs.tokens)
    assert scored.choices[0].logprobs.tokens[-count:] == drawn.choices[0].logprobs.tokens
    for mine, its in zip(drawn.choices[0].logprobs.token_logprobs,
                         scored.choices[0].logprobs.token_logprobs[-count:]):
        assert abs(mine - its) < 2e-3


def test_best_of(demo_client):
    options = {"temperature": 1.5, "seed": 9, "max_tokens": 12, "logprobs": 0}
    def mean(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)
    drawn = complete(demo_client, n=5, **options).choices
    best = complete(demo_client, best_of=5, **options)
    assert best.choices[0].text == max(drawn, key=mean).text and len(best.choices) == 1
    with pytest.raises(openai.BadRequestError):
        complete(demo_client, best_of=5, stream=True)


def test_ids_come_back(demo_server, tokenizer):
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 4, "return_token_ids": True,
            "logprobs": 1, "return_tokens_as_token_ids": True}
    choice = post(demo_server, body, "/v1/completions").json()["choices"][0]
    assert choice["prompt_token_ids"] == tokenizer(PROMPT)["input_ids"]
    assert tokenizer.decode(choice["token_ids"]) == choice["text"]
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]


def test_tokens_that_stop_or_never_come(demo_client, tokenizer):
    text = complete(demo_client).choices[0].text
    ids = tokenizer(text)["input_ids"]
    stopped = complete(demo_client, extra_body={"stop_token_ids": [ids[3]]}).choices[0]
    assert stopped.text == tokenizer.decode(ids[:3]) and stopped.finish_reason == "stop"
    assert stopped.stop_reason == ids[3]
    allowed = complete(demo_client, max_tokens=6,
                       extra_body={"allowed_token_ids": [ids[0], ids[2]], "return_token_ids": True})
    assert set(allowed.choices[0].token_ids) <= {ids[0], ids[2]}
    barred = complete(demo_client, extra_body={"bad_words": ["John"]}).choices[0].text
    assert "John" not in barred
    biased = complete(demo_client, max_tokens=3, logit_bias={str(ids[5]): 100},
                      extra_body={"return_token_ids": True})
    assert biased.choices[0].token_ids == [ids[5]] * 3


@pytest.mark.parametrize("change,param", [
    ({"prompt": None}, "prompt"), ({"prompt": ""}, "prompt"), ({"prompt": []}, "prompt"),
    ({"prompt": [3072]}, "prompt"), ({"logprobs": 21}, "logprobs"), ({"suffix": "b"}, "suffix"),
    ({"max_tokens": -1}, "max_tokens"), ({"best_of": 1, "n": 2}, "best_of"),
    ({"prompt": "word " * 5000}, "prompt"), ({"prompt_embeds": "x"}, "prompt_embeds"),
], ids=str)
def test_refused(demo_server, change, param):
    reply = post(demo_server, {"prompt": "a", "max_tokens": 1, **change}, "/v1/completions")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param, reply.text


def test_tokenize_and_back(demo_server, tokenizer):
    text = "Grüße, 世界! <|im_end|> 12"
    reply = post(demo_server, {"prompt": text, "return_token_strs": True}, "/tokenize").json()
    assert reply["tokens"] == tokenizer(text)["input_ids"]
    assert reply["count"] == len(reply["tokens"]) and reply["max_model_len"] == 4096
    assert reply["token_strs"] == tokenizer.convert_ids_to_tokens(reply["tokens"])
    back = post(demo_server, {"tokens": reply["tokens"]}, "/detokenize").json()
    assert back == {"prompt": text}
    messages = [{"role": "user", "content": "hi"}]
    chat = post(demo_server, {"messages": messages}, "/tokenize").json()
    assert chat["tokens"] == tokenizer.apply_chat_template(messages, add_generation_prompt=True,
                                                           return_dict=False)
    assert post(demo_server, {"inputs": "a"}, "/tokenize").json()[0][0]["text"] == "a"
    assert post(demo_server, {"tokens": [3072]}, "/detokenize").status_code == 400
    assert httpx2.post(f"{demo_server.url}/decode", json={"ids": reply["tokens"]}).status_code == 200
