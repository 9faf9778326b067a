// A route and a body: every reader of bodies refuses with a RequestError, or gives a request within
// its limits. The first byte chooses the reader; paths and Accept headers are read on the way.
#include <array>

#include "base/error.h"
#include "server/chat_types.h"
#include "server/completion_types.h"
#include "server/content_coding.h"
#include "server/openai_types.h"
#include "server/paths.h"
#include "server/rerank_types.h"
#include "server/tei_types.h"

using namespace millrace;

constexpr BodyLimits kLimits{.max_depth = 16, .max_inputs = 8, .vocab_size = 1000};

constexpr GenerationLimits kGenerationLimits{.body = kLimits, .sampling = {.vocab_size = 1000}};

static void check_options(const GenerationOptions& options) {
  SamplingParams params = options.sampling;
  params.max_tokens = std::max<int64_t>({1, options.max_tokens.value_or(1), params.min_tokens});
  validate(params, kGenerationLimits.sampling);  // nothing is left to refuse
  CHECK(options.num_choices() >= options.sampling.n);
  CHECK(!options.stream || !options.prompt_logprobs);
}

static void read_chat(std::string_view body) {
  const auto request = parse_chat_completion_request(body, kGenerationLimits, {}, {});
  CHECK(!request.prompt.messages.empty());
  CHECK(!request.prompt.continue_final_message || !request.prompt.add_generation_prompt);
  check_options(request.options);
}

static void check_inputs(const std::vector<Input>& inputs) {
  CHECK(!inputs.empty() && inputs.size() <= kLimits.max_inputs);
  for (const Input& input : inputs) {
    const auto* ids = std::get_if<std::vector<int32_t>>(&input);
    if (!ids) continue;
    CHECK(!ids->empty());
    for (const int32_t id : *ids) CHECK(id >= 0 && id < kLimits.vocab_size);
  }
}

static void read(size_t route, std::string_view body) {
  switch (route) {
    case 0: return check_inputs(parse_embeddings_request(body, kLimits).inputs);
    case 1: return check_inputs(parse_embed_request(body, kLimits).inputs);
    case 2: return check_inputs(parse_embed_all_request(body, kLimits).inputs);
    case 3: return check_inputs(parse_predict_request(body, kLimits).inputs);
    case 4:
      CHECK(parse_similarity_request(body, kLimits).sentences.size() < kLimits.max_inputs);
      return;
    case 5: CHECK(parse_rerank_request(body, kLimits).texts.size() <= kLimits.max_inputs); return;
    case 6: CHECK(!parse_rerank_documents_request(body, kLimits).documents.empty()); return;
    case 7: CHECK(!parse_tokenize_request(body, kLimits).inputs.empty()); return;
    case 8: return read_chat(body);
    case 9: {
      const auto request = parse_completion_request(body, kGenerationLimits, {});
      check_options(request.options);
      return check_inputs(request.prompts);
    }
    default: CHECK(!parse_decode_request(body, kLimits).ids.empty());
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  accepts(text, "zstd");
  const std::string route = route_path(text);
  CHECK(route.size() <= text.size() + 1);
  error_style(text);
  try {
    read(data[0] % 11, text);
  } catch (const RequestError&) {
  }
  return 0;
}
