// Plan: what a model needs and what its steps cost, traced without a device.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/build_config.h"
#include "layers/model.h"
#include "layers/params.h"
#include "ops/trace/trace_ops.h"

namespace millrace {

// A kind of step that an engine must be able to run.
struct Profile {
  std::string name;              // "full", "one short text", ...
  std::vector<int64_t> lengths;  // tokens of each sequence
  std::vector<int64_t> keys;     // of a decoder: what each sequence sees, its tokens included
};

struct TracedProfile {
  Profile profile;
  int64_t activation_bytes = 0;  // peak of the arena
  std::vector<TracedOp> ops;

  int64_t num_tokens() const;
  int64_t flops() const;
};

// The largest steps that an engine admits, and small ones that show latency.
struct StepLimits {
  int64_t max_num_tokens = 0;     // of a step
  int64_t max_num_sequences = 0;  // of a step
  int64_t max_seq_len = 0;        // of a sequence
  // What a step aims at where more is no faster: the next step comes sooner. 0: max_num_tokens.
  int64_t preferred_num_tokens = 0;
  // Of a decoder: rows that want logits, of all sequences and of prompts that are told of.
  int64_t max_logits_rows = 0;  // 0: max_num_sequences
};

struct ModelPlan {
  StepLimits limits;
  Precision precision;
  ParameterList parameters;
  int64_t placed_bytes = 0;       // of the parameters in the types that they are computed in
  std::vector<TracedOp> loading;  // what placing the parameters launches on a GPU
  std::vector<TracedProfile> profiles;
  KvCacheSpec kv_cache;               // empty of models that keep nothing between steps
  std::vector<std::string> warnings;  // what somebody should know before trusting the model

  int64_t activation_bytes() const;  // that suffice for every profile: what the arena is given

  // What must be compiled for a GPU: each instance once, in order of first use.
  std::vector<cuda::KernelInstance> kernels() const;
};

// Where and in what a model computes.
struct Target {
  Device device;
  Precision precision;
  std::optional<cuda::Arch> arch;  // of a GPU: what its kernels are compiled for
};

// Throws Error{kUnsupported} for what the device cannot compute in.
Target cpu_target(ComputeDType compute, DType checkpoint);
Target cuda_target(cuda::Arch arch, ComputeDType compute, DType checkpoint, int device = 0);

// Throws Error{kInvalidArgument} that lists the architectures.
cuda::Arch require_arch(const std::string& name);

// What the settings and the checkpoint allow together.
StepLimits step_limits(const ModelConfig& model, const BuildConfig& build);

// Refuses what its config alone shows to be no model of ours. Throws Error{kUnsupported}.
void require_supported(const ModelConfig& config);

// A model whose sequences are at most limits.max_seq_len long.
std::unique_ptr<Model> make_model(const Params& params, const ModelConfig& config,
                                  const StepLimits& limits);

// Constructs the model on the trace ops over `source` and traces every profile. Throws Error that
// lists all missing, misshaped and unexpected tensors.
ModelPlan plan_model(const ModelConfig& model, const StepLimits& limits, const WeightSource& source,
                     const Target& target);

}  // namespace millrace
