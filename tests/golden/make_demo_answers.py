"""Writes demo_answers/expected.json: held-out exercises of the demo model, and transformers' greedy answers in fp32, as tokens.

    python tests/golden/make_demo_answers.py [OUTPUT]

A few items of each row of tools/demo_model/evaluate.py, rendered by transformers' chat template. Answers in which two tokens were
nearly as likely at some step are left out, so that what is expected is beyond doubt.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODEL = ROOT / "examples" / "demo-model"
NUM_ITEMS = 5  # of a row
MAX_TOKENS = 160
MIN_MARGIN = 2e-3

sys.path.insert(0, str(ROOT))
from tools.demo_model.evaluate import ROWS, items_of  # noqa: E402


def answer(model, prompt, end_tokens):
    """Greedy tokens, and the least distance between the best and the second logit."""
    ids = torch.tensor([prompt], device=model.device)
    with torch.inference_mode():
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_TOKENS, do_sample=False,
                              eos_token_id=end_tokens, output_logits=True, return_dict_in_generate=True)
    best = torch.stack(made.logits)[:, 0].float().topk(2).values
    return made.sequences[0, len(prompt):].tolist(), float((best[:, 0] - best[:, 1]).min())


def main():
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "demo_answers" / "expected.json"
    torch.backends.cuda.matmul.allow_tf32 = False
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).to(device).eval()
    end_tokens = json.loads((MODEL / "generation_config.json").read_text())["eos_token_id"]
    found = []
    for row in ROWS:
        for item in items_of(row, NUM_ITEMS, seed=7):
            prompt = tokenizer.apply_chat_template(item.messages, tools=item.tools or None, add_generation_prompt=True, return_dict=False)
            tokens, margin = answer(model, prompt, end_tokens)
            if margin >= MIN_MARGIN:
                found.append({"row": row, "messages": item.messages, "tools": item.tools or None, "prompt": prompt, "tokens": tokens})
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, ensure_ascii=False) + "\n")
    print(f"{len(found)} of {NUM_ITEMS * len(ROWS)} answers, {sum(len(case['tokens']) for case in found)} tokens: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
