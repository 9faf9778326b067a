// One build, stage after stage.
#include "build/builder.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/source.h"
#include "models/registry.h"
#include "ops/cuda_backend.h"

namespace millrace {

namespace {

// Every file of the checkpoint that has a say in the engine's bytes.
std::vector<FileIdentity> identify_sources(const ModelFiles& files, ThreadPool& pool) {
  std::vector<std::string> names = {"tokenizer.json"};
  for (const auto& [name, text] : files.config_texts) names.push_back(name);
  for (const std::string& path : files.weights.paths()) {
    names.push_back(std::filesystem::path(path).filename().string());
  }
  std::sort(names.begin(), names.end());
  std::vector<FileIdentity> sources;
  for (const std::string& name : names) sources.push_back(identify_file(files.path, name, pool));
  return sources;
}

// The kernels that the model needs on each target that is a GPU's architecture.
std::vector<cuda::KernelArchive> compile_targets(const ModelConfig& model, const BuildConfig& build,
                                                 const WeightSource& source,
                                                 const std::vector<std::string>& targets,
                                                 const BuildProgress& progress) {
  std::vector<cuda::KernelArchive> archives;
  for (const std::string& name : targets) {
    if (name == "cpu") continue;  // needs none
    const Target target = cuda_target(require_arch(name), build.dtype, model.dtype);
    const ModelPlan plan = plan_model(model, step_limits(model, build), source, target);
    const std::string stage = "compile kernels for " + name;
    archives.push_back(compile_kernels(
        load_cuda_backend(), plan.kernels(), *target.arch,
        [&](size_t done, size_t total, const std::string& kernel) {
          if (progress.report)
            progress.report(stage, 0, 0, fmt::format("{} of {}  {}", done + 1, total, kernel));
        }));
  }
  return archives;
}

}  // namespace

void add_targets(const std::filesystem::path& path, const std::vector<std::string>& targets,
                 ThreadPool& pool, const BuildProgress& progress) {
  const Engine engine = Engine::open(path, pool);
  const ModelFiles& files = engine.files;
  const ModelConfig model = ModelConfig::from_hf(files.config_texts, path.string());
  const CheckpointSource source(files.weights, files.naming);
  add_kernels(engine, compile_targets(model, files.build, source, targets, progress), pool);
}

BuildResult build_engine(const BuildConfig& config, const std::filesystem::path& output,
                         ThreadPool& pool, const BuildProgress& progress) {
  const auto report = [&](const std::string& stage, uint64_t done, uint64_t total,
                          const std::string& detail = {}) {
    if (progress.report) progress.report(stage, done, total, detail);
  };
  const std::string fetch = "fetch " + config.source.repo;
  const FetchProgress fetching = [&](const std::string& file, uint64_t done, uint64_t total) {
    report(fetch, done, total, file);
  };
  report(fetch, 0, 0);
  const auto checkpoint = open_source(config.source);
  auto directory = checkpoint->fetch_configs(fetching);
  if (is_engine(directory)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} is an engine already", directory.string()),
                "serve it, or build from the checkpoint");
  }
  // A model that cannot be built is refused before its weights are fetched.
  require_supported(ModelConfig::from_hf(read_config_texts(directory), directory.string()));
  directory = checkpoint->fetch(fetching);
  report("plan", 0, 0);
  const ModelFiles files = open_hf_directory(directory);
  const ModelConfig model = ModelConfig::from_hf(files.config_texts, directory.string());
  const CheckpointSource source(files.weights, files.naming);
  const StepLimits limits = step_limits(model, config);
  const ModelPlan plan = plan_model(model, limits, source, cpu_target(config.dtype, model.dtype));
  for (const std::string& warning : plan.warnings) log::warn("{}", warning);

  std::vector<cuda::KernelArchive> kernels =
      compile_targets(model, config, source, config.targets, progress);

  report("hash sources", 0, 0);
  EngineContents contents{.checkpoint = &files,
                          .model = model,
                          .build = config,
                          .sources = identify_sources(files, pool),
                          .kernels = std::move(kernels)};
  contents.build.max_seq_len = plan.limits.max_seq_len;
  contents.build.max_num_tokens = plan.limits.max_num_tokens;
  for (const Parameter& parameter : plan.parameters.parameters) {
    contents.weights.push_back({.name = parameter.name,
                                .dtype = parameter.format.dtype,
                                .shape = parameter.shape,
                                .parts = parameter.parts});
    if (parameter.shape.rank() == 2)
      contents.formats.emplace(parameter.name, to_string(parameter.format));
  }
  write_engine(output, contents, pool,
               [&](uint64_t done, uint64_t total) { report("write weights", done, total); });
  report("done", 0, 0);
  return {.engine = output,
          .num_parameters = plan.parameters.numel(),
          .weight_bytes = plan.parameters.bytes(),
          .activation_bytes = plan.activation_bytes()};
}

}  // namespace millrace
