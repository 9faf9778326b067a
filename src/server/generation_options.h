// GenerationOptions: what chat completions and completions ask alike.
// Sources: the types of OpenAI's clients, vLLM's protocol, Baseten's model APIs; where ranges
// differ, the wider one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/sampling_params.h"
#include "server/body_reader.h"

namespace millrace {

struct GenerationOptions {
  // As the request says, else as the model's generation_config.json does. max_tokens is settled
  // when the prompt's length is known, bad words of texts when they are tokenized.
  SamplingParams sampling;
  // Absent: the server's default, else all the room there is. 0: the prompt alone is wanted.
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> logprobs;  // that the answer shows: of so many of the most likely
  std::optional<int64_t> prompt_logprobs;
  std::vector<std::string> bad_words;  // texts that must not appear

  bool stream = false;
  bool include_usage = false;     // of a stream: a last chunk with the usage
  bool continuous_usage = false;  // of a stream: the usage so far in every chunk
  bool skip_special_tokens = true;
  bool echo = false;                        // the prompt, or the message continued, comes first
  bool return_token_ids = false;            // ids beside texts
  bool return_tokens_as_token_ids = false;  // logprobs name tokens "token_id:7"

  std::optional<bool> add_special_tokens;
  std::optional<int64_t> truncate_prompt_tokens;  // the prompt keeps so many; -1: as many as fit
  TruncationDirection truncation_direction = TruncationDirection::kLeft;  // the end stays

  int64_t priority = 0;      // the lower one goes first
  std::string service_tier;  // as the answer repeats it; empty: not asked for
  std::string cache_salt;    // whose prefixes may be shared, with the API key
  std::string request_id;    // the client's name for the answer; empty: that of the HTTP request
  std::string model;         // empty: not named
  std::vector<std::string> ignored_fields;  // named in a response header

  int64_t num_choices() const { return sampling.best_of.value_or(sampling.n); }
  bool keeps_tokens() const { return logprobs || return_token_ids; }
};

// What a request may ask of this model.
struct GenerationLimits {
  BodyLimits body;
  SamplingLimits sampling;
  bool force_include_usage = false;  // every stream ends with its usage
};

// Reads all fields that both routes have, and refuses those that are not supported yet. Throws
// RequestError naming the field.
GenerationOptions read_generation_options(BodyReader& body, const GenerationLimits& limits,
                                          const SamplingParams& defaults);

// What remains to be checked when a route has read its own fields.
void check_generation_options(const GenerationOptions& options, const GenerationLimits& limits);

// Throws RequestError naming the field of `params` that is out of its range.
void check_sampling(const SamplingParams& params, const SamplingLimits& limits);

}  // namespace millrace
