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

Target cpu_target(ComputeDType compute, DType checkpoint) {
  return {.precision = choose_precision(compute, checkpoint, DeviceKind::kCpu)};
}

Target cuda_target(cuda::Arch arch, ComputeDType compute, DType checkpoint, int device) {
  return {.device = {.kind = DeviceKind::kCuda, .index = device},
          .precision = choose_precision(compute, checkpoint, DeviceKind::kCuda),
          .arch = arch};
}

cuda::Arch require_arch(const std::string& name) {
  if (const auto arch = cuda::arch_from_name(name)) return *arch;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{} is no GPU architecture that Millrace has kernels for", name),
              fmt::format("use one of {}, or cpu", cuda::arch_names()));
}

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

std::vector<cuda::KernelInstance> ModelPlan::kernels() const {
  std::vector<cuda::KernelInstance> instances;
  const auto add = [&](const std::vector<TracedOp>& ops) {
    for (const TracedOp& op : ops) {
      for (const cuda::KernelLaunch& kernel : op.kernels) {
        if (std::ranges::find(instances, kernel.instance) == instances.end())
          instances.push_back(kernel.instance);
      }
    }
  };
  add(loading);
  for (const TracedProfile& profile : profiles) add(profile.ops);
  return instances;
}

StepLimits step_limits(const ModelConfig& model, const BuildConfig& build) {
  const int64_t max_seq_len =
      std::min(model.max_input_tokens, build.max_seq_len.value_or(model.max_input_tokens));
  return {.max_num_tokens = std::max(build.max_num_tokens, max_seq_len),
          .max_num_sequences = build.max_batch_size,
          .max_seq_len = max_seq_len};
}

ModelPlan plan_model(const ModelConfig& config, const StepLimits& limits,
                     const WeightSource& source, const Target& target) {
  const ModelEntry& entry = find_model(config.architecture);
  ModelPlan plan{.limits = limits, .precision = target.precision};
  TraceOps construction(target.device, target.precision, target.arch);
  const auto model = entry.make(Params(source, construction, plan.parameters), config);
  plan.parameters.require_complete(source, entry.ignorable);
  plan.placed_bytes = construction.placed_bytes();
  plan.loading = construction.traced();
  for (Profile& profile : encoder_profiles(limits)) {
    TraceOps ops(target.device, target.precision, target.arch);
    const Output output = model->forward(ops, Batch::of_lengths(profile.lengths));
    ops.as_input(output.hidden, {.dtype = DType::kF32});  // answers of a vector per token
    plan.profiles.push_back({.profile = std::move(profile),
                             .activation_bytes = ops.arena().peak(),
                             .ops = ops.traced()});
  }
  return plan;
}

}  // namespace millrace
