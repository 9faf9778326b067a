// Profiles of an encoder, traced.
#include "models/plan.h"

#include <algorithm>

#include "models/registry.h"

namespace millrace {

namespace {

// `num_tokens` cut into `num_sequences` parts of nearly equal length.
std::vector<int64_t> split(int64_t num_tokens, int64_t num_sequences) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < num_sequences; ++i) {
    lengths.push_back(num_tokens / num_sequences + (i < num_tokens % num_sequences ? 1 : 0));
  }
  return lengths;
}

std::vector<Profile> encoder_profiles(const StepLimits& limits) {
  const int64_t longest =
      std::clamp<int64_t>(limits.max_num_tokens / limits.max_seq_len, 1, limits.max_num_sequences);
  // As many tokens and as many sequences as a step can have at once: the peak of the arena.
  const int64_t most = std::min(limits.max_num_sequences, limits.max_num_tokens);
  const int64_t tokens = std::min(limits.max_num_tokens, most * limits.max_seq_len);
  return {
      {.name = "longest sequences",
       .lengths = std::vector<int64_t>(static_cast<size_t>(longest), limits.max_seq_len)},
      {.name = "most sequences", .lengths = split(tokens, most)},
      {.name = "one longest sequence", .lengths = {limits.max_seq_len}},
      {.name = "one short text", .lengths = {std::min<int64_t>(8, limits.max_seq_len)}},
  };
}

}  // namespace

int64_t TracedProfile::num_tokens() const {
  int64_t total = 0;
  for (int64_t length : profile.lengths) total += length;
  return total;
}

int64_t TracedProfile::flops() const {
  int64_t total = 0;
  for (const TracedOp& op : ops) total += op.flops;
  return total;
}

int64_t ModelPlan::activation_bytes() const {
  int64_t most = 0;
  for (const TracedProfile& profile : profiles) most = std::max(most, profile.activation_bytes);
  return most;
}

StepLimits step_limits(const ModelConfig& model, const BuildConfig& build) {
  const int64_t max_seq_len =
      std::min(model.max_input_tokens, build.max_seq_len.value_or(model.max_input_tokens));
  return {.max_num_tokens = std::max(build.max_num_tokens, max_seq_len),
          .max_num_sequences = build.max_batch_size,
          .max_seq_len = max_seq_len};
}

ModelPlan plan_model(const ModelConfig& config, const StepLimits& limits,
                     const WeightSource& source, Device device, Precision precision) {
  const ModelEntry& entry = find_model(config.architecture);
  ModelPlan plan{.limits = limits, .precision = precision};
  TraceOps construction(device, precision);
  const auto model = entry.make(Params(source, construction, plan.parameters), config);
  plan.parameters.require_complete(source, entry.ignorable);
  for (Profile& profile : encoder_profiles(limits)) {
    TraceOps ops(device, precision);
    model->forward(ops, Batch::of_lengths(profile.lengths));
    plan.profiles.push_back({.profile = std::move(profile),
                             .activation_bytes = ops.arena().peak(),
                             .ops = ops.traced()});
  }
  return plan;
}

}  // namespace millrace
