// Steps over blocks that hold anything: how long they take does not depend on what is in them.
#include "runtime/model_bench.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/integers.h"
#include "base/json.h"
#include "kernels/cpu/memory_rate.h"

namespace millrace {

namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

class Bench {
 public:
  Bench(LoadedModel& model, const ModelBenchOptions& options)
      : model_(model),
        generator_(*model.generator),
        options_(options),
        kv_(model.plan.kv_cache),
        kv_dtype_(model.plan.precision.hidden) {}

  // Embeddings are looked up row by row, unless they are the head's too. The CPU keeps weights that
  // were stored in bf16 so, whatever it computes in.
  int64_t weight_bytes() const {
    const ModelConfig& config = model_.config;
    const DType kept =
        !model_.gpu && config.dtype == DType::kBF16 ? DType::kBF16 : model_.plan.precision.product;
    const int64_t table =
        config.decoder->tie_word_embeddings ? 0 : config.vocab_size * config.hidden_size;
    return (model_.plan.parameters.numel() - table) * size_of(kept);
  }

  int64_t kv_bytes(int64_t context) const {
    int64_t bytes = 0;
    for (size_t group = 0; group < kv_.groups.size(); ++group) {
      const int64_t window = kv_.groups[group].window;
      bytes += (window > 0 ? std::min(window, context) : context) *
               kv_.bytes_per_token(group, kv_dtype_);
    }
    return bytes;
  }

  // Empty: it fits.
  std::string problem(int64_t num_sequences, int64_t context) const {
    const DecodeLimits& limits = generator_.limits;
    if (num_sequences > limits.max_batch_size)
      return fmt::format("max_batch_size is {}", limits.max_batch_size);
    if (context > limits.max_seq_len) return fmt::format("max_seq_len is {}", limits.max_seq_len);
    for (const CacheGroupConfig& group : generator_.blocks.groups) {
      const int64_t held = max_blocks_held(group, context, limits.max_num_tokens);
      if (num_sequences * held > group.num_blocks)
        return fmt::format("the KV cache holds {} tokens", group.num_blocks * group.block_size);
    }
    return {};
  }

  PrefillRate prefill(int64_t num_tokens) {
    constexpr int kMaxRuns = 5;
    std::vector<double> times;
    run_prompt(num_tokens);  // memory is touched, kernels are loaded
    for (int run = 0; run < std::min(kMaxRuns, options_.num_steps); ++run) {
      const auto begun_at = Clock::now();
      run_prompt(num_tokens);
      times.push_back(seconds(Clock::now() - begun_at));
    }
    return {.num_tokens = num_tokens, .ttft = median(times)};
  }

  DecodeRate decode(int64_t batch_size, int64_t context) {
    DecodeRate rate{.batch_size = batch_size, .context = context};
    const double before = memory_rate();
    rate.step =
        depth() > 1 ? overlapped_step(batch_size, context) : single_step(batch_size, context);
    rate.memory_rate = (before + memory_rate()) / 2;
    rate.bytes = weight_bytes() + batch_size * kv_bytes(context);
    return rate;
  }

  int depth() const { return std::min(2, generator_.runner->max_in_flight()); }

 private:
  void launch(const Batch& batch) { generator_.runner->launch(no_copies_, batch); }

  void run_prompt(int64_t num_tokens) {
    const int64_t most = generator_.limits.max_num_tokens;
    for (int64_t begin = 0; begin < num_tokens; begin += most) {
      const int64_t rows = std::min(most, num_tokens - begin);
      const bool is_last = begin + rows == num_tokens;
      launch(batch_of(1, rows, begin + rows, is_last));
      generator_.runner->sample(is_last ? greedy(1) : SamplingBatch{});
      generator_.runner->collect();
    }
  }

  double single_step(int64_t batch_size, int64_t context) {
    const Batch batch = batch_of(batch_size, 1, context, true);
    const SamplingBatch sampling = greedy(batch_size);
    std::vector<double> times;
    for (int i = 0; i < options_.num_steps + 2; ++i) {
      const auto begun_at = Clock::now();
      launch(batch);
      generator_.runner->sample(sampling);
      generator_.runner->collect();
      if (i >= 2) times.push_back(seconds(Clock::now() - begun_at));
    }
    return median(times);
  }

  // As GenerationCore does: the next step is launched before this one is read.
  double overlapped_step(int64_t batch_size, int64_t context) {
    constexpr int kWarmup = 4;
    Batch batch = batch_of(batch_size, 1, context, true);
    const SamplingBatch sampling = greedy(batch_size);
    launch(batch);
    generator_.runner->sample(sampling);
    for (size_t i = 0; i < batch.token_ids.size(); ++i)
      batch.token_ids[i] = ~static_cast<int32_t>(i);
    Clock::time_point begun_at{};
    for (int i = 0; i < kWarmup + options_.num_steps; ++i) {
      if (i == kWarmup) begun_at = Clock::now();
      launch(batch);
      generator_.runner->collect();
      generator_.runner->sample(sampling);
    }
    const double time = seconds(Clock::now() - begun_at) / options_.num_steps;
    generator_.runner->collect();
    return time;
  }

  static SamplingBatch greedy(int64_t num_rows) {
    SamplingBatch sampling;
    for (int64_t row = 0; row < num_rows; ++row)
      sampling.append({.logits_row = row, .temperature = 0});
    return sampling;
  }

  // The last `rows` of `context` keys of each sequence, whose blocks are its own as far as the
  // cache has so many.
  Batch batch_of(int64_t num_sequences, int64_t rows, int64_t context, bool wants_logits) const {
    Batch batch;
    const std::vector<int32_t> ids(static_cast<size_t>(rows), 1);
    for (int64_t s = 0; s < num_sequences; ++s) {
      batch.append_rows(ids, context - rows);
      if (wants_logits) batch.logits_rows.push_back(batch.cu_seqlens.back() - 1);
    }
    for (const CacheGroupConfig& group : generator_.blocks.groups) {
      KvBatch kv{.table_width = ceil_div(context, group.block_size)};
      const int64_t own = group.num_blocks / num_sequences;
      for (int64_t s = 0; s < num_sequences; ++s) {
        const auto block = [&](int64_t i) { return static_cast<int32_t>(s * own + i % own); };
        for (int64_t i = 0; i < kv.table_width; ++i) kv.block_table.push_back(block(i));
        for (int64_t p = context - rows; p < context; ++p)
          kv.slot_mapping.push_back(static_cast<int32_t>(
              block(p / group.block_size) * group.block_size + p % group.block_size));
      }
      batch.kv.push_back(std::move(kv));
    }
    return batch;
  }

  // What reads of memory reach; on a GPU half of what a copy within it moves, in and out.
  double memory_rate() const {
    if (!model_.gpu) return cpu::measure_read_rate(*model_.pool);
    constexpr int64_t kBytes = int64_t{256} << 20;
    constexpr int kCopies = 8;
    CudaBackend& backend = load_cuda_backend();
    const int device = model_.gpu->index;
    const Buffer from = backend.allocate(device, kBytes);
    const Buffer to = backend.allocate(device, kBytes);
    double best = 0;
    for (int i = 0; i < kCopies; ++i) {
      const auto begun_at = Clock::now();
      backend.copy(device, to.data(), from.data(), kBytes);
      backend.copy(device, to.data(), from.data(), 1);  // waits for the one before
      best = std::max(best, 2.0 * kBytes / seconds(Clock::now() - begun_at));
    }
    return best;
  }

  LoadedModel& model_;
  Generator& generator_;
  const ModelBenchOptions& options_;
  const KvCacheSpec& kv_;
  DType kv_dtype_;
  std::vector<KvCopy> no_copies_;
};

}  // namespace

StepLimitOverrides limits_of(const ModelBenchOptions& options) {
  const int64_t longest =
      std::max(std::ranges::max(options.prompts) + 1, std::ranges::max(options.contexts));
  return {.max_seq_len = longest, .max_batch_size = std::ranges::max(options.batch_sizes)};
}

ModelBenchReport run_model_bench(LoadedModel& model, const ModelBenchOptions& options,
                                 const std::function<void(const std::string&)>& progress) {
  if (!model.generator)
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} generates no text", model.config.architecture),
                "serve it, and measure it with millrace bench embed");
  Bench bench(model, options);
  ModelBenchReport report{
      .architecture = model.config.architecture,
      .device = model.gpu ? fmt::format("{}, {}", to_string(model.device), model.gpu->name)
                          : fmt::format("cpu, {} threads, {}", model.pool->num_threads(),
                                        cpu::to_string(model.isa)),
      .dtype = std::string(to_string(model.plan.precision.product)),
      .num_parameters = model.plan.parameters.numel(),
      .weight_bytes = bench.weight_bytes(),
      .kv_token_bytes = model.plan.kv_cache.bytes_per_token(model.plan.precision.hidden),
      .steps_in_flight = bench.depth()};
  const auto fits = [&](int64_t num_sequences, int64_t context, const std::string& what) {
    const std::string problem = bench.problem(num_sequences, context);
    if (problem.empty()) progress(what);
    if (!problem.empty()) report.skipped.push_back(fmt::format("{}: {}", what, problem));
    return problem.empty();
  };
  for (const int64_t tokens : options.prompts)
    if (fits(1, tokens, fmt::format("prefill of {} tokens", tokens)))
      report.prefills.push_back(bench.prefill(tokens));
  for (const int64_t context : options.contexts)
    for (const int64_t size : options.batch_sizes)
      if (fits(size, context, fmt::format("decode of {} sequences at {} tokens", size, context)))
        report.decodes.push_back(bench.decode(size, context));
  return report;
}

std::string render(const ModelBenchReport& report) {
  std::string text = fmt::format(
      "{} on {}, products in {}{}\n{:.2f} G parameters, {:.2f} GB read by each step, {:.1f} KB of "
      "KV "
      "a token, {} in flight\n",
      report.architecture, report.device, report.dtype,
      report.random_weights ? ", random weights" : "",
      static_cast<double>(report.num_parameters) / 1e9,
      static_cast<double>(report.weight_bytes) / 1e9,
      static_cast<double>(report.kv_token_bytes) / 1e3,
      report.steps_in_flight == 1 ? "one step" : fmt::format("{} steps", report.steps_in_flight));
  for (const PrefillRate& rate : report.prefills)
    text += fmt::format("prefill {:>6} tokens: TTFT {:>9.2f} ms {:>10.1f} tokens/s\n",
                        rate.num_tokens, rate.ttft * 1e3, rate.tokens_per_s());
  for (const DecodeRate& rate : report.decodes)
    text += fmt::format(
        "decode {:>4} x {:>6} tokens: {:>9.3f} ms {:>10.1f} tokens/s {:>9.2f} GB/s = {:.2f} of "
        "{:.2f} GB/s\n",
        rate.batch_size, rate.context, rate.step * 1e3, rate.tokens_per_s(),
        rate.bytes_per_s() / 1e9, rate.memory_share(), rate.memory_rate / 1e9);
  for (const std::string& skipped : report.skipped) text += fmt::format("skipped {}\n", skipped);
  return text;
}

std::string to_json(const ModelBenchReport& report) {
  json::array prefills, decodes;
  for (const PrefillRate& rate : report.prefills)
    prefills.push_back(json::object{{"num_tokens", rate.num_tokens},
                                    {"ttft_s", rate.ttft},
                                    {"tokens_per_s", rate.tokens_per_s()}});
  for (const DecodeRate& rate : report.decodes)
    decodes.push_back(json::object{{"batch_size", rate.batch_size},
                                   {"context", rate.context},
                                   {"step_s", rate.step},
                                   {"tokens_per_s", rate.tokens_per_s()},
                                   {"bytes", rate.bytes},
                                   {"bytes_per_s", rate.bytes_per_s()},
                                   {"memory_bytes_per_s", rate.memory_rate},
                                   {"memory_share", rate.memory_share()}});
  return json::to_pretty_text(
      json::object{{"architecture", report.architecture},
                   {"device", report.device},
                   {"dtype", report.dtype},
                   {"num_parameters", report.num_parameters},
                   {"weight_bytes", report.weight_bytes},
                   {"kv_token_bytes", report.kv_token_bytes},
                   {"random_weights", report.random_weights},
                   {"steps_in_flight", report.steps_in_flight},
                   {"prefill", std::move(prefills)},
                   {"decode", std::move(decodes)},
                   {"skipped", json::array(report.skipped.begin(), report.skipped.end())}});
}

}  // namespace millrace
