// generation_config.json and the end tokens of its neighbours, in transformers' spellings.
#include "runtime/generation_defaults.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr size_t kMaxEndTokens = 64;

// The ranges are those of a request's fields (sampling_params.cpp).
std::optional<float> number_in(const json::Reader& file, std::string_view key, double min,
                               double max) {
  const std::optional<double> value = file.number(key);
  if (!value) return std::nullopt;
  if (!(*value >= min && *value <= max))
    file.fail(key, fmt::format("{} is outside {} to {}", *value, min, max));
  return static_cast<float>(*value);
}

std::optional<int64_t> integer_in(const json::Reader& file, std::string_view key, int64_t min,
                                  int64_t max) {
  if (!file.has(key)) return std::nullopt;
  return file.require_integer(key, min, max);
}

// Files write -1, or an id beyond the vocabulary, where there is no such token.
std::optional<int32_t> token_in(const json::Reader& file, std::string_view key,
                                int64_t vocab_size) {
  const std::optional<int64_t> id = file.integer(key);
  if (!id || *id < 0 || *id >= vocab_size) return std::nullopt;
  return static_cast<int32_t>(*id);
}

void add(std::vector<int32_t>& ids, int32_t id) {
  if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
}

// One id, or a list of them.
void add_end_tokens(const json::Reader& file, int64_t vocab_size, std::vector<int32_t>& ids) {
  constexpr std::string_view kKey = "eos_token_id";
  const json::value* found = file.find(kKey);
  if (!found) return;
  const json::array one = {*found};
  for (const json::value& element : found->is_array() ? found->get_array() : one) {
    const int64_t id = element.is_int64() ? element.get_int64() : -1;
    if (id < 0 || id >= vocab_size || ids.size() == kMaxEndTokens)
      file.fail(kKey,
                fmt::format("it must be a token id of 0 to {}, or a list of at most {} of them",
                            vocab_size - 1, kMaxEndTokens));
    add(ids, static_cast<int32_t>(id));
  }
}

// {"eos_token": "</s>"}, or an object with the text as its content.
std::optional<std::string> token_text(const json::Reader& file, std::string_view key) {
  const json::value* found = file.find(key);
  if (found && found->is_object()) return file.child(key)->string("content");
  return file.string(key);
}

}  // namespace

GenerationDefaults read_generation_defaults(const ConfigTexts& texts, const ModelConfig& config,
                                            const Tokenizer* tokenizer, const std::string& where) {
  GenerationDefaults defaults;
  const auto read = [&](const std::string& name, const auto& fields) {
    const auto text = texts.find(name);
    if (text == texts.end()) return;
    const std::string what = where + "/" + name;
    const json::value parsed = json::parse(text->second, what);
    fields(json::Reader(json::as_object(parsed, what), what));
  };
  read("generation_config.json", [&](const json::Reader& file) {
    defaults.temperature = number_in(file, "temperature", 0, 4);
    defaults.top_k = integer_in(file, "top_k", -1, INT32_MAX);
    defaults.top_p = number_in(file, "top_p", 1e-6, 1);
    defaults.min_p = number_in(file, "min_p", 0, 1);
    defaults.repetition_penalty = number_in(file, "repetition_penalty", 0.01, 100);
    defaults.max_new_tokens = integer_in(file, "max_new_tokens", 1, INT32_MAX);
    defaults.bos_token_id = token_in(file, "bos_token_id", config.vocab_size);
    defaults.pad_token_id = token_in(file, "pad_token_id", config.vocab_size);
    add_end_tokens(file, config.vocab_size, defaults.end_token_ids);
  });
  read("config.json", [&](const json::Reader& file) {
    add_end_tokens(file, config.vocab_size, defaults.end_token_ids);
    if (!defaults.bos_token_id)
      defaults.bos_token_id = token_in(file, "bos_token_id", config.vocab_size);
    if (!defaults.pad_token_id)
      defaults.pad_token_id = token_in(file, "pad_token_id", config.vocab_size);
  });
  read("tokenizer_config.json", [&](const json::Reader& file) {
    if (!tokenizer) return;
    const auto eos = token_text(file, "eos_token");
    const auto id = eos ? tokenizer->token_to_id(*eos) : std::nullopt;
    if (id) add(defaults.end_token_ids, *id);
  });
  return defaults;
}

}  // namespace millrace
