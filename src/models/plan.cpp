// Profiles of encoders and decoders, traced.
#include "models/plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/cuda/paged_attention_choice.h"
#include "models/registry.h"

namespace millrace {

namespace {

// Of a step, for the logprobs of prompts: more of them take more steps, and no more memory.
constexpr int64_t kPromptLogitsRows = 64;

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

// Prefill and decode share steps: as many sequences as there can be, one of them with all the rows
// that the others leave.
std::vector<Profile> decoder_profiles(const StepLimits& limits) {
  const int64_t most = std::min(limits.max_num_sequences, limits.max_num_tokens);
  const int64_t longest = limits.max_seq_len;
  const auto ones = std::vector<int64_t>(static_cast<size_t>(most), 1);
  const auto full = std::vector<int64_t>(static_cast<size_t>(most), longest);
  std::vector<int64_t> mixed = ones;
  int64_t left = limits.max_num_tokens - most;
  for (int64_t& rows : mixed) {
    const int64_t more = std::min(left, longest - 1);
    rows += more;
    left -= more;
  }
  const int64_t chunk = std::min(limits.max_num_tokens, longest);
  return {
      {.name = "mixed, most tokens", .lengths = mixed, .keys = full},
      {.name = "one prefill chunk", .lengths = {chunk}, .keys = {chunk}},
      {.name = "decode, most sequences", .lengths = ones, .keys = full},
      {.name = "decode, one sequence", .lengths = {1}, .keys = {std::min<int64_t>(1024, longest)}},
  };
}

// A step of a profile; the first one of a decoder wants as many logits as a step can.
Batch batch_of(const Profile& profile, const StepLimits& limits, bool most_logits,
               const KvCacheSpec& kv, int64_t block_size) {
  if (kv.groups.empty()) return Batch::of_lengths(profile.lengths);
  std::vector<SequenceLength> sequences;
  for (size_t i = 0; i < profile.lengths.size(); ++i)
    sequences.push_back({.rows = profile.lengths[i], .keys = profile.keys[i]});
  Batch batch = decoder_batch(sequences, kv.groups.size(), block_size);
  if (!most_logits) return batch;
  const int64_t rows = std::max<int64_t>(std::min(limits.max_logits_rows, batch.num_tokens()),
                                         std::ssize(batch.logits_rows));
  batch.logits_rows.resize(static_cast<size_t>(rows));
  std::iota(batch.logits_rows.begin(), batch.logits_rows.end(), 0);
  return batch;
}

SamplingBatch one_of_each_row(int64_t rows) {
  SamplingBatch batch;
  for (int64_t row = 0; row < rows; ++row) batch.append({.logits_row = row});
  return batch;
}

[[noreturn]] void refuse_assumed(const ModelConfig& config,
                                 const std::vector<std::string>& tensors) {
  const std::vector<std::string>& keys = config.decoder->unknown_keys;
  std::string text = fmt::format(
      "architecture {} is not known, and it does not fit a Llama: {} keys of config.json are not "
      "understood, {} tensors do not find their place",
      config.architecture, keys.size(), tensors.size());
  for (const std::string& key : keys) text += "\n  config.json: " + key;
  for (const std::string& problem : tensors) text += "\n  " + problem;
  throw Error(ErrorCode::kUnsupported, text, "docs/adding_a_model.md says how a model is added");
}

// What a decoder of an unknown name must meet, so that taking it for a Llama is more than a guess.
void check_assumed(ModelPlan& plan, const ModelConfig& config, const WeightSource& source,
                   const ModelEntry& entry) {
  const std::vector<std::string> tensors = plan.parameters.all_problems(source, entry.ignorable);
  if (!config.decoder->unknown_keys.empty() || !tensors.empty()) refuse_assumed(config, tensors);
  plan.warnings.push_back(fmt::format(
      "architecture {} is not known; its tensors and config fit a Llama, and it is run as one: "
      "compare its answers with those of its own code before you rely on them",
      config.architecture));
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
  if (model.decoder) {  // prompts are cut into steps
    return {.max_num_tokens = build.max_num_tokens,
            .max_num_sequences = std::min(build.max_batch_size, build.max_num_tokens),
            .max_seq_len = max_seq_len,
            .max_logits_rows =
                std::min(build.max_batch_size, build.max_num_tokens) + kPromptLogitsRows};
  }
  return {.max_num_tokens = std::max(build.max_num_tokens, max_seq_len),
          .max_num_sequences = build.max_batch_size,
          .max_seq_len = max_seq_len};
}

void require_supported(const ModelConfig& config) {
  if (find_model(config.architecture).assumed && !config.decoder->unknown_keys.empty())
    refuse_assumed(config, {});
}

std::unique_ptr<Model> make_model(const Params& params, const ModelConfig& config,
                                  const StepLimits& limits) {
  ModelConfig limited = config;
  limited.max_input_tokens = limits.max_seq_len;
  return find_model(config.architecture).make(params, limited);
}

ModelPlan plan_model(const ModelConfig& config, const StepLimits& limits,
                     const WeightSource& source, const Target& target) {
  const ModelEntry& entry = find_model(config.architecture);
  ModelPlan plan{.limits = limits, .precision = target.precision};
  TraceOps construction(target.device, target.precision, target.arch);
  const auto model = make_model(Params(source, construction, plan.parameters), config, limits);
  if (entry.assumed) {
    check_assumed(plan, config, source, entry);
  } else {
    plan.parameters.require_complete(source, entry.ignorable);
  }
  plan.placed_bytes = construction.placed_bytes();
  plan.loading = construction.traced();
  plan.kv_cache = model->kv_cache_spec();
  if (config.decoder && target.arch)
    plan.loading.push_back({.name = "copy_kv_blocks", .kernels = {cuda::copy_blocks_kernel(1, 1)}});
  // One block is enough for a trace, which has no values to keep apart.
  const KvCacheSize blocks{.num_blocks = std::vector<int64_t>(plan.kv_cache.groups.size(), 1)};
  for (Profile& profile : config.decoder ? decoder_profiles(limits) : encoder_profiles(limits)) {
    TraceOps ops(target.device, target.precision, target.arch);
    ops.allocate_kv_cache(plan.kv_cache, blocks);
    const Output output = model->forward(
        ops, batch_of(profile, limits, plan.profiles.empty(), plan.kv_cache, blocks.block_size));
    if (!config.decoder) {
      ops.as_input(output.hidden, {.dtype = DType::kF32});  // answers of a vector per token
    } else if (target.arch) {  // the CPU's sampler takes nothing from the arena
      ops.sample(*output.logits, one_of_each_row(output.logits->rows()));
    }
    plan.profiles.push_back({.profile = std::move(profile),
                             .activation_bytes = ops.arena().peak(),
                             .ops = ops.traced()});
  }
  return plan;
}

}  // namespace millrace
