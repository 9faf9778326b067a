"""The demo model from nothing: data, tokenizer, training, evaluation. README.md says how."""
