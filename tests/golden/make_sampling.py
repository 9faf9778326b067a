"""Writes sampling/expected.json: what transformers' own logits processors make of the demo model.

    python tests/golden/make_sampling.py [OUTPUT]

Greedy cases: the tokens that follow a prompt under penalties, bans, biases and minimum lengths, each step's logits passed through
the processors. Drawn cases: the distribution of the next token under temperature, min_p, top_k and top_p, in the order in which
the runtime applies them. Logprobs: the twenty most likely tokens of the raw logits. All in fp32. Frequency and presence
penalties, which transformers lacks, are computed from OpenAI's formula: logit -= count * frequency + (count > 0) * presence.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import (LogitsProcessor, LogitsProcessorList, MinNewTokensLengthLogitsProcessor, MinPLogitsWarper,
                          NoBadWordsLogitsProcessor, RepetitionPenaltyLogitsProcessor, SequenceBiasLogitsProcessor,
                          TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

HERE = Path(__file__).parent
MODEL = HERE.parent.parent / "examples" / "demo-model"
NUM_TOKENS = 40
MIN_MARGIN = 2e-3  # between the best and the second logit at each greedy step, else the case is left out
PROMPTS = [
    "Extract the data as JSON with the keys name, city and age: Mara Lind, 41, lives in Oslo.",
    "What is Millrace?",
    "Copy this table:\n| item | price |\n| --- | ---: |\n| tea | 4 |\n| bread | 3 |",
    "Tell me a story about a river and a mill, and say it again and again.",
]


class CountPenalties(LogitsProcessor):
    """OpenAI's penalties over the output alone."""

    def __init__(self, num_prompt, frequency, presence):
        self.num_prompt, self.frequency, self.presence = num_prompt, frequency, presence

    def __call__(self, input_ids, scores):
        counts = torch.bincount(input_ids[0, self.num_prompt:], minlength=scores.shape[-1]).to(scores.dtype)
        return scores - self.frequency * counts - self.presence * (counts > 0)


class Allowed(LogitsProcessor):
    def __init__(self, tokens):
        self.tokens = tokens

    def __call__(self, input_ids, scores):
        kept = torch.full_like(scores, -float("inf"))
        kept[:, self.tokens] = scores[:, self.tokens]
        return kept


def processors_of(asked, num_prompt, eos):
    """In the runtime's order: allowed and banned tokens, biases, penalties, temperature, min_p, top_k, top_p."""
    found = LogitsProcessorList()
    if "allowed_token_ids" in asked:
        found.append(Allowed(asked["allowed_token_ids"]))
    if "min_tokens" in asked:
        found.append(MinNewTokensLengthLogitsProcessor(num_prompt, asked["min_tokens"], eos))
    if "bad_token_sequences" in asked:
        found.append(NoBadWordsLogitsProcessor(asked["bad_token_sequences"], eos_token_id=eos))
    if "logit_bias" in asked:
        found.append(SequenceBiasLogitsProcessor({(int(token),): float(bias) for token, bias in asked["logit_bias"].items()}))
    if "repetition_penalty" in asked:
        found.append(RepetitionPenaltyLogitsProcessor(asked["repetition_penalty"]))
    if "frequency_penalty" in asked or "presence_penalty" in asked:
        found.append(CountPenalties(num_prompt, asked.get("frequency_penalty", 0), asked.get("presence_penalty", 0)))
    if asked.get("temperature", 0) not in (0, 1):
        found.append(TemperatureLogitsWarper(float(asked["temperature"])))
    if "min_p" in asked:
        found.append(MinPLogitsWarper(asked["min_p"]))
    if "top_k" in asked:
        found.append(TopKLogitsWarper(asked["top_k"]))
    if "top_p" in asked:
        found.append(TopPLogitsWarper(asked["top_p"]))
    return found


def last_logits(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[:, -1].float()


def greedy(model, prompt, asked, eos):
    processors = processors_of(asked, len(prompt), eos)
    ids, margin = list(prompt), float("inf")
    for _ in range(NUM_TOKENS):
        scores = processors(torch.tensor([ids]), last_logits(model, ids))
        best = torch.topk(scores[0], 2)
        if torch.isfinite(best.values[1]):
            margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
        if ids[-1] in eos:
            break
    return ids[len(prompt):], margin


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "sampling" / "expected.json"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    eos = json.loads((MODEL / "generation_config.json").read_text())["eos_token_id"]
    greedy_cases, drawn_cases, logprob_cases = [], [], []
    for number, text in enumerate(PROMPTS):
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,
                                               enable_thinking=False, return_dict=False)
        prompt = [int(token) for token in prompt]
        plain, _ = greedy(model, prompt, {}, eos)
        word = plain[2:4]  # two tokens in a row that the plain answer holds
        asked_for = [
            {},
            {"repetition_penalty": 1.3},
            {"repetition_penalty": 0.8},
            {"frequency_penalty": 0.7},
            {"presence_penalty": 1.5},
            {"frequency_penalty": -0.5, "presence_penalty": 0.4, "repetition_penalty": 1.1},
            {"bad_token_sequences": [[plain[0]]]},
            {"bad_token_sequences": [word, [plain[1]]]},
            {"logit_bias": {str(plain[0]): -100.0, str(plain[min(5, len(plain) - 1)]): 3.5}},
            {"min_tokens": len(plain) + 4},
            {"allowed_token_ids": sorted(set(range(100, 700, 7)) | set(eos))},
        ]
        for asked in asked_for:
            tokens, margin = greedy(model, prompt, asked, eos)
            if margin >= MIN_MARGIN:
                greedy_cases.append({"prompt": prompt, "asked": asked, "tokens": tokens})
        logits = last_logits(model, prompt)
        for asked in [{"temperature": 1.0}, {"temperature": 2.5}, {"temperature": 3.0, "top_k": 5}, {"temperature": 4.0, "top_p": 0.6},
                      {"temperature": 4.0, "min_p": 0.05}, {"temperature": 4.0, "min_p": 0.01, "top_k": 12, "top_p": 0.9},
                      {"temperature": 3.0, "logit_bias": {str(plain[0]): -4.0}, "top_k": 20}]:
            scores = processors_of(asked, len(prompt), eos)(torch.tensor([prompt]), logits.clone())
            probabilities = torch.softmax(scores[0].double(), dim=-1)
            likely = torch.topk(probabilities, 200)
            drawn_cases.append({"prompt": prompt, "asked": asked, "support": int((probabilities > 0).sum()),
                                "tokens": [int(t) for t, p in zip(likely.indices, likely.values) if p > 0],
                                "probabilities": [round(float(p), 9) for p in likely.values if p > 0]})
        best = torch.topk(torch.log_softmax(logits[0].double(), dim=-1), 20)
        logprob_cases.append({"prompt": prompt, "tokens": best.indices.tolist(), "logprobs": [round(float(v), 6) for v in best.values]})
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"greedy": greedy_cases, "drawn": drawn_cases, "logprobs": logprob_cases}) + "\n")
    print(f"{len(greedy_cases)} greedy, {len(drawn_cases)} drawn, {len(logprob_cases)} logprobs: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
