// Random texts and request bodies.
#include "load/workload.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr int kSpecialTokens = 2;
constexpr int kQueryTokens = 10;  // of a rerank request
constexpr size_t kMaxFileBytes = 1UL << 30;

constexpr auto kWords = std::to_array<std::string_view>(
    {"the",     "of",     "and",   "to",    "in",     "is",    "was",   "he",      "for",
     "it",      "with",   "as",    "his",   "on",     "be",    "at",    "by",      "this",
     "had",     "not",    "are",   "but",   "from",   "or",    "have",  "an",      "they",
     "which",   "one",    "you",   "were",  "her",    "all",   "she",   "there",   "would",
     "their",   "we",     "him",   "been",  "has",    "when",  "who",   "will",    "more",
     "no",      "if",     "out",   "so",    "said",   "what",  "up",    "its",     "about",
     "into",    "than",   "them",  "can",   "only",   "other", "new",   "some",    "could",
     "time",    "these",  "two",   "may",   "then",   "do",    "first", "any",     "my",
     "now",     "such",   "like",  "our",   "over",   "man",   "me",    "even",    "most",
     "made",    "after",  "also",  "did",   "many",   "off",   "must",  "well",    "back",
     "years",   "where",  "much",  "your",  "way",    "down",  "three", "each",    "just",
     "those",   "people", "how",   "too",   "little", "state", "good",  "very",    "make",
     "world",   "still",  "own",   "see",   "men",    "work",  "long",  "get",     "here",
     "both",    "life",   "being", "under", "never",  "day",   "same",  "another", "know",
     "while",   "last",   "might", "us",    "great",  "old",   "year",  "come",    "since",
     "against", "go",     "came",  "right", "used",   "take",  "water", "house",   "river",
     "light",   "paper",  "music", "green", "north",  "stone"});

int64_t count_words(std::string_view text) {
  int64_t count = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t';
    count += !space && !inside ? 1 : 0;
    inside = !space;
  }
  return count;
}

std::string text_of_line(std::string_view line, const std::string& where) {
  const json::value parsed = json::parse(line, where);
  if (parsed.is_string()) return std::string(parsed.get_string());
  if (const auto* object = parsed.if_object()) {
    for (const char* key : {"text", "input"}) {
      const json::value* text = object->if_contains(key);
      if (text && text->is_string()) return std::string(text->get_string());
    }
  }
  throw Error(ErrorCode::kCorrupt,
              fmt::format("{}: neither a string nor an object with a \"text\"", where),
              "each line of a .jsonl file is one input");
}

}  // namespace

std::optional<LoadRoute> load_route_from_path(std::string_view path) {
  const std::string_view last = path.substr(path.rfind('/') + 1);
  if (last == "embeddings") return LoadRoute::kEmbeddings;
  if (last == "embed") return LoadRoute::kEmbed;
  if (last == "rerank") return LoadRoute::kRerank;
  if (last == "predict") return LoadRoute::kPredict;
  return std::nullopt;
}

std::string random_words(int count, std::mt19937_64& random) {
  std::uniform_int_distribution<size_t> index(0, kWords.size() - 1);
  std::string text;
  for (int i = 0; i < count; ++i) {
    if (i > 0) text += ' ';
    text += kWords[index(random)];
  }
  return text;
}

std::string random_text(int num_tokens, std::mt19937_64& random) {
  return random_words(std::max(1, num_tokens - kSpecialTokens), random);
}

std::vector<TextLine> read_lines(const std::string& path) {
  const std::string bytes = read_file(path, kMaxFileBytes);
  std::vector<TextLine> lines;
  std::string_view rest = bytes;
  for (int number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    lines.push_back({.text = std::string(line), .number = number});
  }
  if (lines.empty()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} has no texts", path),
                "one text per line");
  }
  return lines;
}

std::vector<std::string> read_texts(const std::string& path) {
  const bool jsonl = path.ends_with(".jsonl");
  std::vector<std::string> texts;
  for (TextLine& line : read_lines(path)) {
    texts.push_back(jsonl ? text_of_line(line.text, fmt::format("{}:{}", path, line.number))
                          : std::move(line.text));
  }
  return texts;
}

Workload::Workload(WorkloadOptions options) : options_(std::move(options)), random_(options_.seed) {
  CHECK(options_.inputs_per_request >= 1);
}

std::string Workload::body(const std::vector<std::string>& texts, std::mt19937_64& random) const {
  json::object body;
  json::array inputs(texts.begin(), texts.end());
  switch (options_.route) {
    case LoadRoute::kEmbeddings:
      body["input"] = std::move(inputs);
      if (!options_.encoding_format.empty()) body["encoding_format"] = options_.encoding_format;
      break;
    case LoadRoute::kEmbed:
      body["inputs"] = std::move(inputs);
      body["truncate"] = true;
      break;
    case LoadRoute::kRerank:
      body["query"] = random_text(kQueryTokens, random);
      body["texts"] = std::move(inputs);
      body["truncate"] = true;
      break;
    case LoadRoute::kPredict: {
      json::array batch;
      for (const std::string& text : texts) batch.push_back(json::array{text});
      body["inputs"] = std::move(batch);
      body["truncate"] = true;
      break;
    }
  }
  if (!options_.model.empty()) body["model"] = options_.model;
  return json::to_text(body);
}

WorkItem Workload::next() {
  WorkItem item{.num_inputs = options_.inputs_per_request};
  std::vector<std::string> texts;
  for (int i = 0; i < item.num_inputs; ++i) {
    if (options_.texts.empty()) {
      const int length = options_.lengths.draw(random_);
      item.num_tokens += length;
      texts.push_back(random_text(length, random_));
    } else {
      std::uniform_int_distribution<size_t> index(0, options_.texts.size() - 1);
      texts.push_back(options_.texts[index(random_)]);
      item.num_tokens += count_words(texts.back());
    }
  }
  item.body = body(texts, random_);
  return item;
}

std::vector<WorkItem> Workload::probes(size_t count) const {
  std::mt19937_64 random(options_.seed + 1);
  std::vector<WorkItem> items;
  for (const int length : options_.lengths.spread(count)) {
    const std::string text = options_.texts.empty()
                                 ? random_text(length, random)
                                 : options_.texts[items.size() % options_.texts.size()];
    items.push_back({.body = body({text}, random), .num_inputs = 1, .num_tokens = length});
  }
  return items;
}

}  // namespace millrace
