// The fields of both routes, one after the other. What is read has an effect; what is known and has
// none is not read, so that x-ignored-fields names it.
#include "server/generation_options.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/error.h"

namespace millrace {

namespace {

constexpr int64_t kMostTokens = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxSaltBytes = 1024;

struct Unsupported {
  const char* field;
  const char* why;
};

constexpr Unsupported kUnsupported[] = {
    {"structured_outputs", "structured output is not supported yet"},
    {"guided_json", "structured output is not supported yet"},
    {"guided_regex", "structured output is not supported yet"},
    {"guided_choice", "structured output is not supported yet"},
    {"guided_grammar", "structured output is not supported yet"},
    {"json_schema", "structured output is not supported yet"},
    {"regex", "structured output is not supported yet"},
    {"ebnf", "structured output is not supported yet"},
    {"prompt_embeds", "tensors are not taken over HTTP; send the prompt as text or token ids"},
    {"mm_processor_kwargs", "this model reads text only"},
    {"kv_transfer_params", "prefill and decoding are not served apart"},
    {"disaggregated_params", "prefill and decoding are not served apart"},
    {"logprob_token_ids", "logprobs of chosen tokens are not supported; use logprobs"},
    {"logits_processors", "the server runs no code of clients"},
    {"thinking_token_budget", "a budget of thinking is not supported yet; use max_tokens"},
};

// A text or a list of texts.
std::vector<std::string> read_texts(BodyReader& body, std::string_view name) {
  const json::value* given = body.find(name);
  if (!given) return {};
  if (given->is_string()) return {std::string(given->get_string())};
  const auto wrong = [&] {
    refuse(fmt::format("{} must be a string or a list of strings", name), name);
  };
  const auto* list = given->if_array();
  if (!list) wrong();
  std::vector<std::string> texts;
  for (const json::value& element : *list) {
    if (!element.is_string()) wrong();
    texts.emplace_back(element.get_string());
  }
  return texts;
}

std::vector<int32_t> read_ids(BodyReader& body, std::string_view name) {
  const json::value* given = body.find(name);
  if (!given) return {};
  const auto* list = given->if_array();
  if (list && list->empty()) return {};
  return read_token_ids(*given, name, body.limits().vocab_size);
}

// {"50256": -100}: keys are token ids.
std::vector<std::pair<int32_t, float>> read_logit_bias(BodyReader& body, int64_t max_entries) {
  const json::value* given = body.find("logit_bias");
  if (!given) return {};
  const auto* map = given->if_object();
  if (!map) refuse("logit_bias must be an object of token ids and numbers", "logit_bias");
  if (static_cast<int64_t>(map->size()) > max_entries) {
    refuse(fmt::format("logit_bias has {} entries, the limit is {}", map->size(), max_entries),
           "logit_bias");
  }
  std::vector<std::pair<int32_t, float>> biases;
  for (const auto& [key, bias] : *map) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        id >= body.limits().vocab_size) {
      refuse(fmt::format("the keys of logit_bias are token ids from 0 to {}",
                         body.limits().vocab_size - 1),
             "logit_bias");
    }
    if (!bias.is_number()) refuse("the values of logit_bias must be numbers", "logit_bias");
    biases.emplace_back(id, static_cast<float>(bias.to_number<double>()));
  }
  return biases;
}

SamplingParams read_sampling(BodyReader& body, const GenerationLimits& limits,
                             SamplingParams params) {
  const auto number = [&](const char* name, float& value) {
    if (const auto given = body.number(name)) value = static_cast<float>(*given);
  };
  const auto integer = [&](const char* name, int64_t min, int64_t max) {
    return body.integer(name, min, max);
  };
  number("temperature", params.temperature);
  number("top_p", params.top_p);
  number("min_p", params.min_p);
  number("repetition_penalty", params.repetition_penalty);
  number("presence_penalty", params.presence_penalty);
  number("frequency_penalty", params.frequency_penalty);
  params.top_k = integer("top_k", -1, kMostTokens).value_or(params.top_k);
  params.seed = body.integer("seed", std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max());
  params.n = integer("n", 1, limits.sampling.max_choices).value_or(1);
  params.best_of = integer("best_of", 1, limits.sampling.max_choices);
  params.min_tokens = integer("min_tokens", 0, kMostTokens).value_or(0);
  params.ignore_eos = body.boolean("ignore_eos").value_or(false);
  params.stop = read_texts(body, "stop");
  params.stop_token_ids = read_ids(body, "stop_token_ids");
  params.include_stop_str_in_output = body.boolean("include_stop_str_in_output").value_or(false);
  params.logit_bias = read_logit_bias(body, limits.sampling.max_logit_biases);
  params.allowed_token_ids = read_ids(body, "allowed_token_ids");
  for (const int32_t id : read_ids(body, "bad_token_ids")) params.bad_words.push_back({id});
  params.prompt_logprobs = integer("prompt_logprobs", 0, limits.sampling.max_logprobs);
  return params;
}

void read_stream_options(BodyReader& body, GenerationOptions& options) {
  const json::value* given = body.find("stream_options");
  if (!given) return;
  const auto* fields = given->if_object();
  if (!fields) refuse("stream_options must be an object", "stream_options");
  if (!options.stream) refuse("stream_options needs stream: true", "stream_options");
  const auto flag = [&](std::string_view name) {
    const json::value* value = fields->if_contains(name);
    if (!value || value->is_null()) return false;
    if (!value->is_bool())
      refuse(fmt::format("stream_options.{} must be true or false", name), "stream_options");
    return value->get_bool();
  };
  options.include_usage = flag("include_usage");
  options.continuous_usage = flag("continuous_usage_stats");
}

// The two fields that name whose prefixes these are become one salt.
std::string read_cache_salt(BodyReader& body) {
  std::string salt;
  for (const char* name : {"cache_salt", "prompt_cache_key"}) {
    const auto given = body.string(name);
    if (!given) continue;
    if (given->empty() || given->size() > kMaxSaltBytes)
      refuse(fmt::format("{} must have 1 to {} bytes", name, kMaxSaltBytes), name);
    salt += fmt::format("{}:{}:{};", name, given->size(), *given);
  }
  return salt;
}

void read_priority(BodyReader& body, GenerationOptions& options) {
  options.priority =
      body.integer("priority", std::numeric_limits<int32_t>::min(), kMostTokens).value_or(0);
  const std::string tier = body.string("service_tier").value_or("");
  if (tier == "priority") --options.priority;
  if (tier == "flex") ++options.priority;
  if (!tier.empty()) options.service_tier = tier == "priority" || tier == "flex" ? tier : "default";
}

void read_truncation(BodyReader& body, GenerationOptions& options) {
  options.truncate_prompt_tokens = body.integer("truncate_prompt_tokens", -1, kMostTokens);
  if (options.truncate_prompt_tokens == 0)
    refuse("truncate_prompt_tokens must be at least 1, or -1: as many as fit",
           "truncate_prompt_tokens");
  options.truncation_direction =
      body.direction("truncation_side").value_or(TruncationDirection::kLeft);
}

void refuse_unsupported(BodyReader& body) {
  for (const Unsupported& row : kUnsupported) {
    if (body.find(row.field)) refuse(fmt::format("{}: {}", row.field, row.why), row.field);
  }
  if (body.boolean("use_beam_search").value_or(false))
    refuse("use_beam_search: beam search is not supported; use best_of", "use_beam_search");
  if (const json::value* format = body.find("response_format")) {
    const auto* fields = format->if_object();
    const json::value* type = fields ? fields->if_contains("type") : nullptr;
    if (!type || !type->is_string())
      refuse("response_format must be an object with a type", "response_format");
    if (type->get_string() != "text") {
      refuse(fmt::format("response_format of type {} is not supported yet; use text",
                         std::string_view(type->get_string())),
             "response_format");
    }
  }
}

}  // namespace

GenerationOptions read_generation_options(BodyReader& body, const GenerationLimits& limits,
                                          const SamplingParams& defaults) {
  refuse_unsupported(body);
  GenerationOptions options;
  options.model = body.string("model").value_or("");
  options.sampling = read_sampling(body, limits, defaults);
  options.prompt_logprobs = options.sampling.prompt_logprobs;
  options.bad_words = read_texts(body, "bad_words");
  std::ranges::move(read_texts(body, "bad"), std::back_inserter(options.bad_words));
  options.stream = body.boolean("stream").value_or(false);
  read_stream_options(body, options);
  options.include_usage |= options.stream && limits.force_include_usage;
  options.skip_special_tokens = body.boolean("skip_special_tokens").value_or(true);
  options.echo = body.boolean("echo").value_or(false);
  options.return_token_ids = body.boolean("return_token_ids").value_or(false);
  options.return_tokens_as_token_ids = body.boolean("return_tokens_as_token_ids").value_or(false);
  options.add_special_tokens = body.boolean("add_special_tokens");
  read_truncation(body, options);
  read_priority(body, options);
  options.cache_salt = read_cache_salt(body);
  options.request_id = body.string("request_id").value_or("");
  return options;
}

void check_sampling(const SamplingParams& params, const SamplingLimits& limits) {
  try {
    validate(params, limits);
  } catch (const Error& error) {
    // Its text begins with the field.
    refuse(error.message(), std::string_view(error.message()).substr(0, error.message().find(' ')));
  }
}

void check_generation_options(const GenerationOptions& options, const GenerationLimits& limits) {
  const SamplingParams& sampling = options.sampling;
  if (options.max_tokens && *options.max_tokens > 0 && sampling.min_tokens > *options.max_tokens) {
    refuse(fmt::format("min_tokens is {}, more than max_tokens, which is {}", sampling.min_tokens,
                       *options.max_tokens),
           "min_tokens");
  }
  if (options.stream && options.num_choices() > sampling.n)
    refuse("best_of needs all choices before it can tell; it cannot be streamed", "best_of");
  if (options.stream && options.prompt_logprobs)
    refuse("prompt_logprobs are not part of a stream; send stream: false", "prompt_logprobs");
  if (options.bad_words.size() > static_cast<size_t>(limits.sampling.max_bad_words)) {
    refuse(fmt::format("bad_words has {} entries, the limit is {}", options.bad_words.size(),
                       limits.sampling.max_bad_words),
           "bad_words");
  }
  SamplingParams probe = sampling;  // max_tokens is settled later
  probe.max_tokens = std::max<int64_t>({1, options.max_tokens.value_or(1), sampling.min_tokens});
  check_sampling(probe, limits.sampling);
}

}  // namespace millrace
