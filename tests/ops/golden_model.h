// A model of tests/golden on the CPU, and its sequences.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/model_files.h"
#include "models/plan.h"
#include "models/registry.h"
#include "ops/cpu/cpu_ops.h"
#include "support/source_dir.h"

namespace millrace {

inline const std::vector<std::string> kGoldenModels = {"bert_mean", "bert_cls", "bert_bf16",
                                                       "bert_rerank", "bert_classify"};

inline std::filesystem::path golden_directory(const std::string& name) {
  return test::source_dir() / "tests" / "golden" / name;
}

// The files of a checkpoint, opened once for all the backends that a test runs it on.
struct GoldenFiles {
  explicit GoldenFiles(const std::string& name)
      : files(open_hf_directory(golden_directory(name))),
        config(ModelConfig::from_hf(files.config_texts, name)),
        source(files.weights, files.naming),
        expected(Checkpoint::from_file((golden_directory(name) / "expected.safetensors").string())),
        ids(expected.find("token_ids")->as<const int32_t>()),
        type_ids(expected.find("token_type_ids")->as<const int32_t>()),
        cu_seqlens(expected.find("cu_seqlens")->as<const int32_t>()) {}

  size_t num_sequences() const { return cu_seqlens.size() - 1; }

  // The sequences of the fixture with these indices, in this order.
  Batch batch_of(const std::vector<size_t>& sequences) const {
    Batch batch;
    for (const size_t i : sequences) {
      const auto begin = static_cast<size_t>(cu_seqlens[i]);
      const auto length = static_cast<size_t>(cu_seqlens[i + 1]) - begin;
      batch.append(ids.subspan(begin, length), type_ids.subspan(begin, length));
    }
    return batch;
  }

  ModelFiles files;
  ModelConfig config;
  CheckpointSource source;
  Checkpoint expected;
  std::span<const int32_t> ids, type_ids, cu_seqlens;
};

// The model on one instruction set, with an arena of just the size that its plan says.
struct GoldenModel {
  GoldenModel(const GoldenFiles& files, cpu::Isa isa, Precision precision, int num_threads)
      : pool(num_threads) {
    const StepLimits limits = step_limits(files.config, files.files.build);
    const ModelPlan plan = plan_model(files.config, limits, files.source, {.precision = precision});
    ops = std::make_unique<CpuOps>(pool, isa, precision, plan.activation_bytes());
    ParameterList list;
    model =
        find_model(files.config.architecture).make(Params(files.source, *ops, list), files.config);
  }

  Output forward(const Batch& batch) {
    ops->arena().reset();
    return model->forward(*ops, batch);
  }

  ThreadPool pool;
  std::unique_ptr<CpuOps> ops;
  std::unique_ptr<Model> model;
};

}  // namespace millrace
