"""Writes tokenizers/*.json and tokenizer_cases.json: what Python's `tokenizers` makes of hard texts.

Four families beside BERT's WordPiece (tests/golden/bert_mean): byte-level BPE as RoBERTa has it,
Unigram with Metaspace as XLM-R has it, BPE with byte fallback and a regular expression with
look-ahead as decoders have it, and BPE as Llama 2 has it: a space before every text, spaces as marks,
byte fallback, and tokens of a chat. Each one was trained on tests/golden/texts.json, a few hundred tokens;
training is not repeatable to the bit, so files that exist stay. Made with tokenizers 0.23.3:
python tests/text/make_tokenizer_cases.py
"""

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
CORPUS = json.loads((GOLDEN / "texts.json").read_text())
ENGLISH = [text for text in CORPUS if text.isascii()]

SHORT, LONG = "The mill stands still.", "Water turns the wheel, and the wheel turns the stone slowly."
TEXTS = [
    "",
    " ",
    "a",
    SHORT,
    "  two  spaces\tand\n\na line  ",
    "control \x00\x01\x7f\u200b\ufeff\ufffd characters",
    "cafe\u0301 \u212bngstr\u00f6m \u0130stanbul \ufb01ne",
    "\u6cb3\u8fb9 mixed \u041f\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 flags \U0001f1e9\U0001f1ea",
    "[CLS] inside [SEP] <s> and <mask> </s> <|end|> it's they'LL 12345678",
    "x" * 300,
]
# Lengths equal, apart by one, apart by much, and empty: what longest_first decides upon.
PAIRS = [(SHORT, LONG), (LONG, SHORT), (SHORT, SHORT), ("a", LONG), ("", LONG), (LONG, ""), ("", "")]


def roberta():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    # As MiniLM's file does: both must be switched off at load.
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=12, pad_id=1, pad_token="<pad>")
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(ENGLISH, trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def fallback():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{N}{1,3}|\s+(?!\S)| ?[^\s\p{N}]+|\s"), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<|end|>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        ENGLISH,
        trainers.BpeTrainer(vocab_size=560, special_tokens=special, show_progress=False))
    # The bytes are ordinary tokens: only the first two stay special.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][:2]
    return Tokenizer.from_str(json.dumps(state))


def llama():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    words = [word for text in ENGLISH for word in text.replace(" ", " \u2581").split()]
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(
        vocab_size=600, special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)], show_progress=False))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][:len(special)]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("<b>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def case(name, tokenizer, text, pair=None, max_tokens=0, left=False, special=True, full=True):
    tokenizer.no_padding()
    tokenizer.no_truncation()
    whole = len(tokenizer.encode(text, pair, add_special_tokens=special).ids)
    if max_tokens:
        tokenizer.enable_truncation(max_tokens, direction="left" if left else "right")
    made = tokenizer.encode(text, pair, add_special_tokens=special)
    out = dict(tokenizer=name, text=text, pair=pair, max_tokens=max_tokens, left=left,
               special=special, token_ids=made.ids, num_tokens_untruncated=whole)
    if full:
        out |= dict(token_type_ids=made.type_ids,
                    spans=[[*o, s] for o, s in zip(made.offsets, made.special_tokens_mask)],
                    decoded=tokenizer.decode(made.ids),
                    decoded_with_special=tokenizer.decode(made.ids, skip_special_tokens=False))
    return out


def main():
    print("tokenizers", tokenizers.__version__)
    files = {"bert": GOLDEN / "bert_mean" / "tokenizer.json"}
    for make in (roberta, unigram, fallback, llama):
        files[make.__name__] = HERE / "tokenizers" / f"{make.__name__}.json"
        if not files[make.__name__].exists():
            make().save(str(files[make.__name__]), pretty=False)

    cases = []
    for name, path in files.items():
        tokenizer = Tokenizer.from_file(str(path))
        for text in TEXTS:
            cases.append(case(name, tokenizer, text))
            cases.append(case(name, tokenizer, text, max_tokens=5, left=True))
        cases.append(case(name, tokenizer, SHORT, special=False))
        cases.append(case(name, tokenizer, LONG, max_tokens=6, special=False))
        for text, pair in PAIRS:
            cases.append(case(name, tokenizer, text, pair))
            cases.append(case(name, tokenizer, text, pair, max_tokens=9, special=False))
            for max_tokens in (*range(4, 14), 20, 31, 32):
                for left in (False, True):
                    cases.append(case(name, tokenizer, text, pair, max_tokens, left, full=False))
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (HERE / "tokenizer_cases.json").write_text(f"[\n{lines}\n]\n")


main()
