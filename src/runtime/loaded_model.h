// LoadedModel: a model opened, verified, placed on its device and ready to serve.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "checkpoint/engine.h"
#include "config/runtime_config.h"
#include "kernels/cpu/isa.h"
#include "models/plan.h"
#include "ops/cuda_backend.h"
#include "runtime/generator.h"
#include "runtime/model_runner.h"
#include "text/tokenizer.h"

namespace millrace {

// Limits that are asked for where the model is served; absent: those it was built for. They may be
// lower or higher than those, within what the checkpoint allows.
struct StepLimitOverrides {
  std::optional<int64_t> max_seq_len;
  std::optional<int64_t> max_batch_size;
  std::optional<int64_t> max_num_tokens;
};

// How a model is put on a device.
struct LoadOptions {
  std::optional<Device> device;              // absent: the best that there is
  ComputeDType dtype = ComputeDType::kAuto;  // auto: what the engine was built for
  int num_threads = 0;                       // 0: one per available core
  BuildConfig build;          // limits of a checkpoint that is served without an engine
  StepLimitOverrides limits;  // over those of the engine or the checkpoint's build
  GenerationSettings generation;
  std::optional<cpu::Isa> isa;  // absent: the best that this CPU has
  // A seed: weights are made up, and only config.json is needed. For benchmarks of real shapes.
  std::optional<uint64_t> random_weights;
  bool deterministic = false;  // on a GPU: a row's bits depend on its own sequence alone
  bool enforce_eager = false;  // on a GPU: every kernel of every step is launched by itself
};

struct LoadTimes {
  Clock::duration open{};    // files mapped and verified
  Clock::duration device{};  // planned; memory taken, and on a GPU its context and kernels made
  Clock::duration place{};   // weights brought into the kernels' layout
};

// Everything that serving needs. Members refer to each other: neither copied nor moved.
struct LoadedModel {
  std::string name;                        // of the directory
  std::optional<EngineManifest> manifest;  // absent: served straight from a checkpoint
  ModelFiles files;
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;  // absent: random weights, and no tokenizer beside them
  std::unique_ptr<ThreadPool> pool;
  Device device;
  std::optional<Gpu> gpu;  // absent: the CPU serves
  cpu::Isa isa = cpu::Isa::kPortable;
  ModelPlan plan;
  std::unique_ptr<WeightSource> source;  // placed weights may be views into it
  std::unique_ptr<ModelRunner> runner;   // of an encoder: moved into the EngineCore
  std::unique_ptr<Generator> generator;  // of a decoder
  LoadTimes times;

  // `path`: an engine or a Hugging Face checkpoint. Throws Error with the remedy.
  static std::unique_ptr<LoadedModel> open(const std::filesystem::path& path,
                                           const LoadOptions& options);
};

}  // namespace millrace
