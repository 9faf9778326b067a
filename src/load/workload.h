// What a load asks for: texts from a seeded generator or a file, as bodies of one route.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "load/length_mix.h"

namespace millrace {

// Routes whose bodies we can write and whose answers we can read.
enum class LoadRoute { kEmbeddings, kEmbed, kRerank, kPredict };

// By the last part of a path: "/v1/embeddings", "/embed", "/rerank", "/predict".
std::optional<LoadRoute> load_route_from_path(std::string_view path);

struct WorkloadOptions {
  LoadRoute route = LoadRoute::kEmbeddings;
  std::string model;            // empty: the body does not name one
  std::string encoding_format;  // of embeddings; empty: the server's default
  int inputs_per_request = 1;
  LengthMix lengths{"5"};
  std::vector<std::string> texts;  // from a file; empty: random words
  uint64_t seed = 1;
};

struct WorkItem {
  std::string body;
  int num_inputs = 0;
  int64_t num_tokens = 0;  // asked for, all inputs together; of a file's texts: their words
};

class Workload {
 public:
  explicit Workload(WorkloadOptions options);

  WorkItem next();

  // Requests of one input each with lengths spread over the whole mix: always the same for a seed,
  // however many next() came before.
  std::vector<WorkItem> probes(size_t count) const;

  const WorkloadOptions& options() const { return options_; }

 private:
  std::string body(const std::vector<std::string>& texts, std::mt19937_64& random) const;

  WorkloadOptions options_;
  std::mt19937_64 random_;
};

// About `num_tokens` tokens: short common words, one token each in the usual vocabularies, and two
// fewer of them than tokens, for the special tokens that encoders put around a text.
std::string random_text(int num_tokens, std::mt19937_64& random);

std::string random_words(int count, std::mt19937_64& random);  // of the same kind

struct TextLine {
  std::string text;
  int number = 0;  // in the file, from 1
};

// The lines of a file that are not blank, without their ends. Throws Error when there is none.
std::vector<TextLine> read_lines(const std::string& path);

// The lines of a file that are not blank; of a .jsonl file, each line is a JSON string or an object
// with one under "text" or "input". Throws Error with file and line.
std::vector<std::string> read_texts(const std::string& path);

}  // namespace millrace
