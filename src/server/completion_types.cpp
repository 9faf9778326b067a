// Prompts, and the fields that mean something else than in a chat.
#include "server/completion_types.h"

namespace millrace {

CompletionRequest parse_completion_request(std::string_view text, const GenerationLimits& limits,
                                           const SamplingParams& defaults) {
  BodyReader body(text, limits.body);
  CompletionRequest request{.options = read_generation_options(body, limits, defaults),
                            .prompts = read_inputs(body, "prompt"),
                            .suffix = body.string("suffix").value_or("")};
  GenerationOptions& options = request.options;
  // max_completion_tokens is no field of this route, but some clients send it to both.
  const auto max_tokens = body.integer("max_tokens", 0, INT32_MAX);
  const auto max_completion_tokens = body.integer("max_completion_tokens", 0, INT32_MAX);
  options.max_tokens = max_completion_tokens ? max_completion_tokens : max_tokens;
  options.logprobs = body.integer("logprobs", 0, limits.sampling.max_logprobs);
  options.sampling.logprobs = options.logprobs;
  if (options.num_choices() > options.sampling.n && !options.sampling.logprobs)
    options.sampling.logprobs = 0;  // best_of compares them
  if (options.echo && options.logprobs) {
    options.sampling.prompt_logprobs =
        std::max(*options.logprobs, options.sampling.prompt_logprobs.value_or(0));
  }
  if (!request.suffix.empty() && options.echo)
    refuse("echo and suffix exclude each other", "suffix");
  check_generation_options(options, limits);
  options.ignored_fields = body.ignored();
  return request;
}

}  // namespace millrace
