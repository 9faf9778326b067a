// Opening, planning, placing.
#include "runtime/loaded_model.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "models/registry.h"
#include "ops/cpu/cpu_ops.h"

namespace millrace {

namespace {

namespace fs = std::filesystem;

// Enough rows to keep a thread's products at full rate, few enough that its share of the widest
// activation stays in its second-level cache: docs/performance.md has the measurement.
constexpr int64_t kStepTokensPerThread = 512;

void require_cpu(const std::optional<Device>& device) {
  if (!device || device->kind == DeviceKind::kCpu) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("device {} was asked for, and this build of millrace has no CUDA backend",
                          to_string(*device)),
              "use --device cpu");
}

// The name that clients see when the config gives none: that of the directory.
std::string directory_name(const fs::path& path) {
  const fs::path whole = fs::weakly_canonical(path);
  return whole.filename().string();
}

// Kernels trust indices, so whatever this tokenizer can emit must have its row in the tables.
void require_fitting_tokenizer(const Tokenizer& tokenizer, const ModelConfig& config,
                               const std::string& where) {
  if (tokenizer.max_token_id() >= config.vocab_size) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} has token id {}, the model's vocabulary has {} entries", where,
                            tokenizer.max_token_id(), config.vocab_size),
                "use the tokenizer.json of this very checkpoint");
  }
  // Token types are constants of the file's templates, so one encoding shows all of them.
  const Encoding encoding =
      config.is_classifier() ? tokenizer.encode_pair("a", "b") : tokenizer.encode("a");
  for (int32_t type : encoding.token_type_ids) {
    if (type < config.type_vocab_size) continue;
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} gives token type {}, the model has {}", where, type,
                            config.type_vocab_size),
                "use the tokenizer.json of this very checkpoint");
  }
}

}  // namespace

std::unique_ptr<LoadedModel> LoadedModel::open(const fs::path& path, const LoadOptions& options) {
  require_cpu(options.device);
  const auto begin = Clock::now();
  auto loaded = std::make_unique<LoadedModel>();
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  loaded->pool =
      std::make_unique<ThreadPool>(options.num_threads > 0 ? options.num_threads : cores);
  loaded->isa = options.isa.value_or(cpu::best_isa(cpu_features()));
  loaded->name = directory_name(path);
  if (is_engine(path)) {
    Engine engine = Engine::open(path, *loaded->pool);
    loaded->manifest = std::move(engine.manifest);
    loaded->files = std::move(engine.files);
  } else {
    loaded->files = open_hf_directory(path);
    loaded->files.build = options.build;
  }
  const ModelFiles& files = loaded->files;
  loaded->config = ModelConfig::from_hf(files.config_texts, path.string());
  loaded->tokenizer = std::make_unique<Tokenizer>(
      Tokenizer::from_json(files.tokenizer_json, (path / "tokenizer.json").string()));
  const ModelConfig& config = loaded->config;
  require_fitting_tokenizer(*loaded->tokenizer, config, (path / "tokenizer.json").string());
  const auto opened = Clock::now();

  const ComputeDType dtype =
      options.dtype == ComputeDType::kAuto ? files.build.dtype : options.dtype;
  const Precision precision = choose_precision(dtype, config.dtype, DeviceKind::kCpu);
  const CheckpointSource source(files.weights, files.naming);
  loaded->plan =
      plan_model(config, step_limits(config, files.build), source, loaded->device, precision);
  loaded->plan.limits.preferred_num_tokens = kStepTokensPerThread * loaded->pool->num_threads();
  auto ops = std::make_unique<CpuOps>(*loaded->pool, loaded->isa, precision,
                                      loaded->plan.activation_bytes());
  ParameterList placed;
  auto model = find_model(config.architecture).make(Params(source, *ops, placed), config);
  loaded->runner = std::make_unique<ModelRunner>(std::move(ops), std::move(model));
  loaded->times = {.open = opened - begin, .place = Clock::now() - opened};
  return loaded;
}

}  // namespace millrace
