// Limits and memory of text generation, from settings and from what the device has free.
#include "runtime/generator.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory_info.h"
#include "base/random_seed.h"
#include "runtime/kv_cache_plan.h"

namespace millrace {

namespace {

// Of the memory that the machine has free once the weights are placed: the rest is for texts,
// answers, and whoever else works there.
constexpr double kCpuMemoryShare = 0.5;

KvCacheBudget budget_of(const Ops& ops, const GenerationSettings& settings) {
  const int64_t free = ops.free_bytes();
  const bool is_gpu = ops.device().kind == DeviceKind::kCuda;
  KvCacheBudget budget{.host_bytes = settings.kv_cache_host_memory_bytes.value_or(0)};
  const double free_gib = static_cast<double>(free) / (int64_t{1} << 30);
  if (settings.kv_cache_bytes) {
    budget.bytes = *settings.kv_cache_bytes;
    budget.origin = "millrace.kv_cache_bytes says so";
    budget.remedy = "raise millrace.kv_cache_bytes (--kv-cache-bytes)";
    if (budget.bytes > free)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("kv_cache_bytes is {:.2f} GiB, and {:.2f} GiB are free on {}",
                              static_cast<double>(budget.bytes) / (int64_t{1} << 30), free_gib,
                              to_string(ops.device())),
                  "lower it, or free memory there");
  } else {
    const double share = is_gpu ? settings.kv_cache_free_gpu_mem_fraction : kCpuMemoryShare;
    budget.bytes = static_cast<int64_t>(share * static_cast<double>(free));
    budget.origin =
        fmt::format("{:.2f} of the {:.2f} GiB that are free on {}{}", share, free_gib,
                    to_string(ops.device()), is_gpu ? " (kv_cache_free_gpu_mem_fraction)" : "");
    budget.remedy = is_gpu ? "raise kv_cache_free_gpu_mem_fraction, or use a larger GPU"
                           : "free memory, or set millrace.kv_cache_bytes (--kv-cache-bytes)";
  }
  const int64_t host_free = available_memory_bytes() - (is_gpu ? 0 : budget.bytes);
  if (budget.host_bytes > host_free)
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("kv_cache_host_memory_bytes is {:.2f} GiB, and {:.2f} GiB of memory are "
                    "free beside all else",
                    static_cast<double>(budget.host_bytes) / (int64_t{1} << 30),
                    static_cast<double>(std::max<int64_t>(0, host_free)) / (int64_t{1} << 30)),
        "lower it, or free memory on this machine");
  return budget;
}

}  // namespace

DecodeLimits decode_limits(const StepLimits& step, const GenerationSettings& settings,
                           int max_steps_in_flight) {
  const bool cuts = settings.enable_chunked_context && step.preferred_num_tokens > 0;
  const int64_t aim = std::max(step.preferred_num_tokens, step.max_num_sequences);
  return {.max_num_tokens = cuts ? std::min(aim, step.max_num_tokens) : step.max_num_tokens,
          .max_batch_size = step.max_num_sequences,
          .max_seq_len = step.max_seq_len,
          .total_token_limit = settings.total_token_limit,
          .chunked_prefill = settings.enable_chunked_context,
          .max_prompt_logits = step.max_logits_rows - step.max_num_sequences,
          .max_steps_in_flight = max_steps_in_flight,
          .policy = settings.batch_scheduler_policy};
}

void allocate_kv_cache(Ops& ops, const KvCacheSpec& spec, const GenerationSettings& settings,
                       Generator& generator) {
  const KvCacheBudget budget = budget_of(ops, settings);
  const KvCachePlan plan =
      plan_kv_cache(spec, ops.precision().hidden, settings.kv_block_size, generator.limits, budget);
  ops.allocate_kv_cache(spec, plan.size);
  generator.blocks = plan.blocks(spec);
  generator.blocks.seed = random_seed();
  generator.kv_bytes = plan.bytes;
  generator.kv_host_bytes = plan.host_bytes;
}

}  // namespace millrace
