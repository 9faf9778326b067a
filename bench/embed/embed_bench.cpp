// An encoder in process, token ids in and vectors out: tokens/s, the share of the limit, and the
// latency of one short text. Prints one JSON line; scripts/bench puts a peer's figures beside it.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <future>
#include <random>

#include "base/file.h"
#include "base/json.h"
#include "kernels/cpu/gemm.h"
#include "kernels/peak.h"
#include "models/registry.h"
#include "runtime/engine_core.h"
#include "runtime/loaded_model.h"

namespace millrace::bench {
namespace {

struct Options {
  std::string model;
  std::string ids_file;  // the texts as JSON lists of ids, for the peer
  std::string dtype = "fp32";
  std::string isa;  // empty: the best one
  std::string device = "cpu";
  std::optional<uint64_t> random_weights;  // a seed
  int64_t max_num_tokens = 8192;           // of a step
  int64_t max_batch_size = 256;            // sequences of a step
  int threads = 0;
  int num_texts = 512;
  int min_tokens = 5;
  int max_tokens = 256;
  int passes = 7;
  uint64_t seed = 20261121;
  int64_t step_tokens = 0;  // 0: as the engine chooses
  bool enforce_eager = false;
};

std::vector<Sequence> random_texts(const Options& options, int64_t vocab_size) {
  std::mt19937_64 random(options.seed);
  std::uniform_int_distribution<int> length(options.min_tokens, options.max_tokens);
  std::uniform_int_distribution<int32_t> id(1000, static_cast<int32_t>(vocab_size) - 1);
  std::vector<Sequence> texts(static_cast<size_t>(options.num_texts));
  for (Sequence& text : texts) {
    text.token_ids.resize(static_cast<size_t>(length(random)));
    for (int32_t& token : text.token_ids) token = id(random);
    text.token_type_ids.assign(text.token_ids.size(), 0);
  }
  return texts;
}

void write_ids(const std::string& path, const std::vector<Sequence>& texts) {
  json::array all;
  for (const Sequence& text : texts)
    all.emplace_back(json::array(text.token_ids.begin(), text.token_ids.end()));
  write_file(path, json::to_text(all));
}

// Seconds for all texts through the engine, in requests of 128.
double run_pass(EngineCore& engine, const std::vector<Sequence>& texts) {
  constexpr size_t kPerRequest = 128;
  const auto begin = Clock::now();
  std::vector<std::future<RequestResult>> results;
  for (size_t first = 0; first < texts.size(); first += kPerRequest) {
    auto promise = std::make_shared<std::promise<RequestResult>>();
    results.push_back(promise->get_future());
    const size_t last = std::min(texts.size(), first + kPerRequest);
    engine.submit(
        {.sequences = {texts.begin() + static_cast<std::ptrdiff_t>(first),
                       texts.begin() + static_cast<std::ptrdiff_t>(last)},
         .on_done = [promise](RequestResult result) { promise->set_value(std::move(result)); }});
  }
  for (auto& result : results) {
    if (const auto error = result.get().error) std::rethrow_exception(error);
  }
  return seconds(Clock::now() - begin);
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// FLOP/s of the best product of the model's own shapes: the other half of the limit.
double best_gemm(ThreadPool& pool, cpu::Isa isa, int64_t n, int64_t k) {
  const cpu::Kernels& kernels = cpu::kernels_for(isa);
  constexpr int64_t kRows = 512;
  const auto weight = random_values(n * k);
  const auto x = random_values(kRows * k);
  std::vector<float> out(static_cast<size_t>(kRows * n));
  const Buffer packed = Buffer::host(cpu::packed_weight_bytes(kernels, {}, n, k));
  const auto view =
      cpu::pack_weight(kernels, pool, {}, weight.data(), DType::kF32, n, k, packed.data());
  double best = 0;
  for (int i = 0; i < 30; ++i) {
    const auto begin = Clock::now();
    cpu::gemm(kernels, pool,
              {.m = kRows,
               .weight = view,
               .x = x.data(),
               .x_stride = k,
               .out = out.data(),
               .out_stride = n});
    best = std::max(best, 2.0 * static_cast<double>(kRows * n * k) / seconds(Clock::now() - begin));
  }
  return best;
}

int run(const Options& options) {
  LoadOptions load;
  load.dtype = *compute_dtype_from_name(options.dtype);
  load.num_threads = options.threads;
  load.isa = cpu::isa_from_name(options.isa);
  load.device = Device{.kind = options.device == "cuda" ? DeviceKind::kCuda : DeviceKind::kCpu};
  load.random_weights = options.random_weights;
  load.enforce_eager = options.enforce_eager;
  load.build.max_num_tokens = options.max_num_tokens;
  load.build.max_batch_size = options.max_batch_size;
  auto loaded = LoadedModel::open(options.model, load);
  const LoadedModel& model = *loaded;
  const std::vector<Sequence> texts = random_texts(options, model.config.vocab_size);
  if (!options.ids_file.empty()) write_ids(options.ids_file, texts);
  int64_t num_tokens = 0;
  double flops = 0;
  for (const Sequence& text : texts) num_tokens += text.num_tokens();
  {
    TraceOps trace(Device{}, model.plan.precision);
    ParameterList list;
    const PlanSource source(model.config.dtype);
    const auto traced =
        find_model(model.config.architecture).make(Params(source, trace, list), model.config);
    Batch batch;
    for (const Sequence& text : texts) batch.append(text.token_ids, text.token_type_ids);
    traced->forward(trace, batch);
    for (const TracedOp& op : trace.traced()) flops += static_cast<double>(op.flops);
  }

  // The ceilings of a GPU are measured beside the peer: bench/gpu.
  const auto limit_of_cpu = [&] {
    if (model.gpu) return 0.0;
    return std::max(fma_peak(*model.pool, model.isa),
                    best_gemm(*model.pool, model.isa, model.config.intermediate_size,
                              model.config.hidden_size));
  };
  const double limit_before = limit_of_cpu();
  StepLimits limits = model.plan.limits;
  if (options.step_tokens > 0) limits.preferred_num_tokens = options.step_tokens;
  EngineCore engine(std::move(loaded->runner), limits);
  run_pass(engine, texts);
  std::vector<double> passes;
  for (int i = 0; i < options.passes; ++i) passes.push_back(run_pass(engine, texts));
  const std::vector<Sequence> one = {{.token_ids = {101, 2023, 2003, 1037, 2460, 3231, 6251, 102},
                                      .token_type_ids = std::vector<int32_t>(8, 0)}};
  std::vector<double> latencies;
  for (int i = 0; i < 520; ++i) latencies.push_back(run_pass(engine, one));
  engine.stop();
  const double limit = std::max(limit_before, limit_of_cpu());
  const double tokens_per_s = static_cast<double>(num_tokens) / median(passes);
  json::object report{
      {"engine", "millrace"},         {"dtype", options.dtype},
      {"seed", options.seed},         {"num_texts", texts.size()},
      {"num_tokens", num_tokens},     {"flops_per_token", flops / static_cast<double>(num_tokens)},
      {"tokens_per_s", tokens_per_s}, {"p50_ms_8_tokens", 1e3 * median(latencies)}};
  if (model.gpu) {
    report["gpu"] = model.gpu->name;
    report["open_s"] = seconds(model.times.open);
    report["device_s"] = seconds(model.times.device);
    report["place_s"] = seconds(model.times.place);
    report["weight_bytes"] = model.plan.parameters.bytes();
  } else {
    const double limit_tokens_per_s = limit * static_cast<double>(num_tokens) / flops;
    report["isa"] = cpu::to_string(model.isa);
    report["threads"] = model.pool->num_threads();
    report["limit_gflops"] = limit / 1e9;
    report["limit_tokens_per_s"] = limit_tokens_per_s;
    report["share_of_limit"] = tokens_per_s / limit_tokens_per_s;
  }
  fmt::print("{}\n", json::to_text(report));
  return 0;
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  millrace::bench::Options options;
  CLI::App app{"An encoder in process: token ids in, vectors out"};
  app.add_option("model", options.model, "An engine or a checkpoint")->required();
  app.add_option("--write-ids", options.ids_file, "Write the texts as JSON lists of ids");
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"fp32", "fp16", "bf16"}));
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--random-weights", options.random_weights,
                 "A seed: make weights up for a directory with a config.json alone");
  app.add_option("--max-num-tokens", options.max_num_tokens, "Tokens of a step");
  app.add_option("--max-batch-size", options.max_batch_size, "Sequences of a step");
  app.add_option("--isa", options.isa, "An instruction set instead of the best one")
      ->check([](const std::string& name) {
        return millrace::cpu::isa_from_name(name) ? std::string()
                                                  : "no instruction set has the name " + name;
      });
  app.add_option("--threads", options.threads);
  app.add_option("--texts", options.num_texts);
  app.add_option("--min-tokens", options.min_tokens);
  app.add_option("--max-tokens", options.max_tokens);
  app.add_option("--passes", options.passes);
  app.add_option("--seed", options.seed);
  app.add_option("--step-tokens", options.step_tokens, "Tokens that a step aims at");
  app.add_flag("--enforce-eager", options.enforce_eager, "On a GPU: no CUDA graphs");
  CLI11_PARSE(app, argc, argv);
  return millrace::bench::run(options);
}
