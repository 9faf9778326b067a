// Opening, planning, placing.
#include "runtime/loaded_model.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "layers/random_source.h"
#include "models/registry.h"
#include "ops/cpu/cpu_ops.h"
#include "runtime/sampling_params.h"

namespace millrace {

namespace {

namespace fs = std::filesystem;

// Enough rows to keep a thread's products at full rate, few enough that its share of the widest
// activation stays in its second-level cache: docs/performance.md has the measurement.
constexpr int64_t kStepTokensPerThread = 512;
// Of a decoder, whose sequences all wait while a part of a prompt is computed: 0.95 of that rate.
constexpr int64_t kDecoderStepTokensPerThread = 128;

bool is_supported(const Gpu& gpu) {
  return gpu.capability >= cuda::kLeastCapability;
}

std::string too_old(const Gpu& gpu) {
  return fmt::format("{} has compute capability {:.1f}; the kernels need {:.1f} or later", gpu.name,
                     gpu.capability / 10.0, cuda::kLeastCapability / 10.0);
}

// The GPU that was asked for.
Gpu require_gpu(int index) {
  const std::vector<Gpu> gpus = load_cuda_backend().gpus();
  if (index >= static_cast<int>(gpus.size())) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("device cuda:{} was asked for, and this machine has {} GPUs", index,
                            gpus.size()),
                fmt::format("use cuda:0 to cuda:{}", gpus.size() - 1));
  }
  const Gpu& gpu = gpus[static_cast<size_t>(index)];
  if (!is_supported(gpu)) throw Error(ErrorCode::kUnsupported, too_old(gpu), "use --device cpu");
  return gpu;
}

// The first that can serve; none where the CPU has to, which is said.
std::optional<Gpu> find_gpu() {
  std::string problem;
  try {
    for (const Gpu& gpu : load_cuda_backend().gpus()) {
      if (is_supported(gpu)) return gpu;
      problem = too_old(gpu);
    }
  } catch (const Error& error) {
    problem = error.message();
  }
  log::info("computing on the CPU: {}", problem);
  return std::nullopt;
}

std::optional<Gpu> choose_gpu(const std::optional<Device>& asked) {
  if (!asked) return find_gpu();
  if (asked->kind == DeviceKind::kCpu) return std::nullopt;
  return require_gpu(asked->index);
}

// Of the architectures that the engine has kernels for, the closest to the GPU's own.
cuda::Arch choose_arch(const EngineManifest& manifest, const fs::path& path, const Gpu& gpu) {
  const auto rank = [](cuda::Arch arch) { return 2 * arch.version + (arch.specific ? 1 : 0); };
  std::optional<cuda::Arch> best;
  for (const std::string& target : manifest.targets) {
    const auto arch = cuda::arch_from_name(target);
    if (!arch || !cuda::runs_on(*arch, gpu.capability)) continue;
    if (!best || rank(*arch) > rank(*best)) best = arch;
  }
  if (best) return *best;
  const std::string native = to_string(cuda::native_arch(gpu.capability));
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{} has no kernels for {} ({}); its targets are {}", path.string(),
                          gpu.name, native, fmt::join(manifest.targets, ", ")),
              fmt::format("add them, here or on any other machine: millrace build --add-target {} "
                          "{}; or serve with --device cpu",
                          native, path.string()));
}

// The kernels of an engine.
std::vector<cuda::KernelBinary> read_kernels(const LoadedModel& model, cuda::Arch arch) {
  const std::string path = model.files.path.string();
  cuda::KernelArchive archive = read_kernel_archive(model.files.path / kernel_archive_name(arch));
  if (archive.sources_digest != load_cuda_backend().kernel_sources_digest()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the kernels of {} were made by another version of millrace ({})", path,
                            model.manifest->millrace_version),
                fmt::format("make them again, here or on any other machine: millrace build "
                            "--add-target {} {}",
                            to_string(arch), path));
  }
  for (const cuda::KernelInstance& instance : model.plan.kernels()) {
    const bool found = std::ranges::any_of(archive.kernels, [&](const cuda::KernelBinary& kernel) {
      return kernel.name == instance.name();
    });
    if (found) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} was built to compute in {}, and has no kernel {}", path,
                            to_string(model.files.build.dtype), instance.name()),
                "serve it in the dtype that it was built for, or build it again with --dtype");
  }
  return std::move(archive.kernels);
}

// The kernels of a checkpoint that is served without an engine: from the user's cache, or made now.
std::vector<cuda::KernelBinary> make_kernels(const ModelPlan& plan, cuda::Arch arch) {
  const auto report = [](size_t done, size_t total, const std::string& name) {
    log::info("kernel {} of {}: {}", done + 1, total, name);
  };
  return compile_kernels(load_cuda_backend(), plan.kernels(), arch, report).kernels;
}

// What one step may send to the host: a row per sequence and a row per token, but for a decoder,
// whose logits stay on the device.
int64_t result_bytes(const ModelConfig& config, const StepLimits& limits) {
  if (config.decoder) return 0;
  const int64_t widest =
      std::max<int64_t>(config.hidden_size, static_cast<int64_t>(config.labels.size()));
  return size_of(DType::kF32) * widest * (limits.max_num_sequences + limits.max_num_tokens) +
         4 * Arena::kAlignment;
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
  if (config.decoder) return;  // no token types
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

// Verified files; of a model with random weights its config alone, and its tokenizer where it has
// one.
void open_files(LoadedModel& loaded, const fs::path& path, const LoadOptions& options) {
  if (options.random_weights) {
    loaded.files.path = path;
    loaded.files.config_texts = read_config_texts(path);
    loaded.files.build = options.build;
    const fs::path tokenizer = path / "tokenizer.json";
    if (fs::is_regular_file(tokenizer)) loaded.files.tokenizer_json = read_file(tokenizer.string());
  } else if (is_engine(path)) {
    Engine engine = Engine::open(path, *loaded.pool);
    loaded.manifest = std::move(engine.manifest);
    loaded.files = std::move(engine.files);
  } else {
    loaded.files = open_hf_directory(path);
    loaded.files.build = options.build;
  }
  loaded.config = ModelConfig::from_hf(loaded.files.config_texts, path.string());
  BuildConfig& build = loaded.files.build;
  const StepLimitOverrides& limits = options.limits;
  if (limits.max_seq_len) build.max_seq_len = limits.max_seq_len;
  if (limits.max_batch_size) build.max_batch_size = *limits.max_batch_size;
  if (limits.max_num_tokens) build.max_num_tokens = *limits.max_num_tokens;
  if (loaded.files.tokenizer_json.empty()) return;
  const std::string where = (path / "tokenizer.json").string();
  loaded.tokenizer =
      std::make_unique<Tokenizer>(Tokenizer::from_json(loaded.files.tokenizer_json, where));
  require_fitting_tokenizer(*loaded.tokenizer, loaded.config, where);
}

std::unique_ptr<Ops> make_cpu_ops(LoadedModel& loaded, const WeightSource& source,
                                  ComputeDType dtype, const StepLimits& limits) {
  const Target target = cpu_target(dtype, loaded.config.dtype);
  loaded.plan = plan_model(loaded.config, limits, source, target);
  loaded.plan.limits.preferred_num_tokens =
      (loaded.config.decoder ? kDecoderStepTokensPerThread : kStepTokensPerThread) *
      loaded.pool->num_threads();
  return std::make_unique<CpuOps>(*loaded.pool, loaded.isa, target.precision,
                                  loaded.plan.activation_bytes());
}

std::unique_ptr<Ops> make_gpu_ops(LoadedModel& loaded, const WeightSource& source,
                                  ComputeDType dtype, const StepLimits& limits,
                                  const LoadOptions& options) {
  const Gpu& gpu = *loaded.gpu;
  const cuda::Arch arch = loaded.manifest ? choose_arch(*loaded.manifest, loaded.files.path, gpu)
                                          : cuda::native_arch(gpu.capability);
  const Target target = cuda_target(arch, dtype, loaded.config.dtype, gpu.index);
  loaded.device = target.device;
  loaded.plan = plan_model(loaded.config, limits, source, target);
  return load_cuda_backend().make_ops(
      {.device = gpu.index,
       .arch = arch,
       .precision = target.precision,
       .weight_bytes = loaded.plan.placed_bytes,
       .arena_bytes = loaded.plan.activation_bytes(),
       .max_num_tokens = limits.max_num_tokens,
       .max_num_sequences = limits.max_num_sequences,
       .max_result_bytes = result_bytes(loaded.config, limits),
       .vocab_size = loaded.config.decoder ? loaded.config.vocab_size : 0,
       .max_seq_len = limits.max_seq_len,
       .max_logits_rows = limits.max_logits_rows,
       .max_logprobs = SamplingLimits{}.max_logprobs,
       .deterministic = options.deterministic,
       .enforce_eager = options.enforce_eager,
       .kernels = loaded.manifest ? read_kernels(loaded, arch) : make_kernels(loaded.plan, arch)});
}

// What a decoder has beside its placed weights.
std::unique_ptr<Generator> make_generator(const LoadedModel& loaded, std::unique_ptr<Ops> ops,
                                          std::unique_ptr<Model> model,
                                          const LoadOptions& options) {
  const std::string where = loaded.files.path.string();
  const ConfigTexts& texts = loaded.files.config_texts;
  auto generator = std::make_unique<Generator>();
  generator->defaults =
      read_generation_defaults(texts, loaded.config, loaded.tokenizer.get(), where);
  if (loaded.tokenizer) {
    generator->chat_template = ChatTemplate::from_files(texts, where, loaded.tokenizer.get());
    generator->pieces = std::make_unique<TokenPieces>(*loaded.tokenizer);
  }
  generator->request_default_max_tokens = options.generation.request_default_max_tokens;
  generator->limits =
      decode_limits(loaded.plan.limits, options.generation, ops->max_steps_in_flight());
  allocate_kv_cache(*ops, model->kv_cache_spec(), options.generation, *generator);
  generator->runner = std::make_unique<DecodeRunner>(std::move(ops), std::move(model),
                                                     FailureInjection::from_environment());
  return generator;
}

}  // namespace

std::unique_ptr<LoadedModel> LoadedModel::open(const fs::path& path, const LoadOptions& options) {
  const auto begin = Clock::now();
  auto loaded = std::make_unique<LoadedModel>();
  loaded->gpu = choose_gpu(options.device);
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  loaded->pool =
      std::make_unique<ThreadPool>(options.num_threads > 0 ? options.num_threads : cores);
  loaded->isa = options.isa.value_or(cpu::best_isa(cpu_features()));
  loaded->name = directory_name(path);
  open_files(*loaded, path, options);
  const auto opened = Clock::now();

  const ModelFiles& files = loaded->files;
  const ModelConfig& config = loaded->config;
  const ComputeDType dtype =
      options.dtype == ComputeDType::kAuto ? files.build.dtype : options.dtype;
  const StepLimits limits = step_limits(config, files.build);
  std::unique_ptr<WeightSource>& source = loaded->source;
  if (options.random_weights) {
    source = std::make_unique<RandomSource>(config.dtype, *options.random_weights, *loaded->pool);
  } else {
    source = std::make_unique<CheckpointSource>(files.weights, files.naming);
  }
  const PlanSource shapes(config.dtype);
  const WeightSource& planned = options.random_weights ? static_cast<const WeightSource&>(shapes)
                                                       : *source;  // values cost time
  auto ops = loaded->gpu ? make_gpu_ops(*loaded, planned, dtype, limits, options)
                         : make_cpu_ops(*loaded, planned, dtype, limits);
  const auto made = Clock::now();
  ParameterList placed;
  auto model = make_model(Params(*source, *ops, placed), config, limits);
  ops->finish_loading();
  if (config.decoder) {
    loaded->generator = make_generator(*loaded, std::move(ops), std::move(model), options);
  } else {
    loaded->runner = std::make_unique<ModelRunner>(std::move(ops), std::move(model));
  }
  loaded->times = {.open = opened - begin, .device = made - opened, .place = Clock::now() - made};
  return loaded;
}

}  // namespace millrace
