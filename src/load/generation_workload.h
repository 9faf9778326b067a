// What a load of generation asks for: prompts of random words or from a file, and how much of an
// answer.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "load/length_mix.h"

namespace millrace {

struct Prompt {
  std::string text;
  std::string messages;  // a conversation as a JSON array, instead of a text
};

struct GenerationWorkloadOptions {
  bool chat = true;   // /v1/chat/completions; else /v1/completions
  std::string model;  // empty: the body does not name one
  LengthMix input{"512"};
  LengthMix output{"128"};
  int shared_prefix = 0;        // tokens that all prompts begin with, before those of `input`
  std::vector<Prompt> prompts;  // from a file; empty: random words
  bool ignore_eos = true;       // answers as long as asked for; an extension, not of every server
  bool stream = true;
  std::optional<double> temperature;
  uint64_t seed = 1;
};

struct GenerationItem {
  std::string body;
  int64_t output_tokens = 0;  // at most
};

class GenerationWorkload {
 public:
  // Throws Error{kInvalidArgument} for conversations where texts are asked for.
  explicit GenerationWorkload(GenerationWorkloadOptions options);

  GenerationItem next();

 private:
  GenerationWorkloadOptions options_;
  std::mt19937_64 random_;
  std::string prefix_;
};

// The lines of a file that are not blank; of a .jsonl file, each line is a JSON string, an object
// with one under "prompt", "text" or "input", one with "messages" as OpenAI has them, or one with
// "conversations" of "from" and "value" as ShareGPT has them (its turns up to the last of the
// human). Throws Error with file and line.
std::vector<Prompt> read_prompts(const std::string& path);

}  // namespace millrace
