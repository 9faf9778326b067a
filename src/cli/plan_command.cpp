// millrace plan: what a model would need, traced without weights and without a device.
#include <fmt/core.h>

#include <algorithm>

#include "base/json.h"
#include "checkpoint/model_files.h"
#include "checkpoint/source.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "cli/progress.h"
#include "models/plan.h"
#include "ops/cuda_backend.h"

namespace millrace {

namespace {

int64_t flops_per_token(const TracedProfile& profile) {
  return profile.flops() / profile.num_tokens();
}

// A kernel of a target: what compiling it says, and its share of the largest step.
struct PlannedKernel {
  std::string name;
  cuda::KernelResources resources;
  int64_t launches = 0;
  int64_t flops = 0;
  int64_t bytes = 0;
};

struct PlannedTarget {
  std::string name;
  std::vector<PlannedKernel> kernels;
};

PlannedTarget plan_kernels(const ModelPlan& plan, cuda::Arch arch) {
  CudaBackend& backend = load_cuda_backend();
  PlannedTarget target{.name = to_string(arch)};
  for (const cuda::KernelInstance& instance : plan.kernels()) {
    PlannedKernel kernel{.name = instance.name(),
                         .resources = backend.compile(instance, arch).resources};
    for (const TracedOp& op : plan.profiles.front().ops) {
      for (const cuda::KernelLaunch& launch : op.kernels) {
        if (launch.instance != instance) continue;
        ++kernel.launches;
        kernel.resources.shared_bytes =
            std::max(kernel.resources.shared_bytes, launch.shared_bytes);
        if (op.name == "linear") continue;  // the product's figures, not those of what follows it
        kernel.flops += op.flops;
        kernel.bytes += op.weight_bytes + op.activation_bytes;
      }
    }
    target.kernels.push_back(std::move(kernel));
  }
  return target;
}

void print_kernels(const PlannedTarget& target, const Profile& profile) {
  fmt::print("\nkernels for {}; launches, bytes and FLOPs of the step \"{}\"\n", target.name,
             profile.name);
  fmt::print("{:<34} {:>8} {:>12} {:>12} {:>9} {:>12} {:>6} {:>6}\n", "kernel", "launches", "bytes",
             "FLOPs", "registers", "shared", "stack", "spills");
  for (const PlannedKernel& kernel : target.kernels) {
    fmt::print("{:<34} {:>8} {:>12} {:>12} {:>9} {:>12} {:>6} {:>6}\n", kernel.name,
               kernel.launches, human_bytes(kernel.bytes), human_count(kernel.flops),
               kernel.resources.registers, human_bytes(kernel.resources.shared_bytes),
               kernel.resources.stack_bytes, kernel.resources.spill_bytes);
  }
}

json::array to_json(const std::vector<PlannedTarget>& targets) {
  json::array out;
  for (const PlannedTarget& target : targets) {
    json::array kernels;
    for (const PlannedKernel& kernel : target.kernels) {
      kernels.push_back(json::object{{"name", kernel.name},
                                     {"launches", kernel.launches},
                                     {"bytes", kernel.bytes},
                                     {"flops", kernel.flops},
                                     {"registers", kernel.resources.registers},
                                     {"shared_bytes", kernel.resources.shared_bytes},
                                     {"stack_bytes", kernel.resources.stack_bytes},
                                     {"spill_bytes", kernel.resources.spill_bytes}});
    }
    out.push_back(json::object{{"target", target.name}, {"kernels", std::move(kernels)}});
  }
  return out;
}

json::object to_json(const ModelPlan& plan, const ModelConfig& model) {
  json::array profiles;
  for (const TracedProfile& profile : plan.profiles) {
    int64_t bytes = 0;
    for (const TracedOp& op : profile.ops) bytes += op.weight_bytes + op.activation_bytes;
    profiles.push_back(json::object{{"name", profile.profile.name},
                                    {"num_sequences", profile.profile.lengths.size()},
                                    {"num_tokens", profile.num_tokens()},
                                    {"num_ops", profile.ops.size()},
                                    {"activation_bytes", profile.activation_bytes},
                                    {"flops", profile.flops()},
                                    {"flops_per_token", flops_per_token(profile)},
                                    {"bytes_moved", bytes}});
  }
  return {{"architecture", model.architecture},
          {"parameters", plan.parameters.numel()},
          {"weight_bytes", plan.parameters.bytes()},
          {"activation_bytes", plan.activation_bytes()},
          {"hidden_dtype", to_string(plan.precision.hidden)},
          {"product_dtype", to_string(plan.precision.product)},
          {"max_seq_len", plan.limits.max_seq_len},
          {"max_num_sequences", plan.limits.max_num_sequences},
          {"max_num_tokens", plan.limits.max_num_tokens},
          {"kv_bytes_per_token", plan.kv_cache.bytes_per_token(plan.precision.hidden)},
          {"profiles", std::move(profiles)}};
}

void print_table(const ModelPlan& plan, const ModelConfig& model) {
  fmt::print("{}: {} parameters, {} of weights as found\n", model.architecture,
             human_count(plan.parameters.numel()), human_bytes(plan.parameters.bytes()));
  fmt::print("limits: {} tokens per input; {} sequences and {} tokens per step\n",
             plan.limits.max_seq_len, plan.limits.max_num_sequences, plan.limits.max_num_tokens);
  fmt::print("memory on the CPU: {} of activations at most, products in {}\n\n",
             human_bytes(plan.activation_bytes()), to_string(plan.precision.product));
  if (!plan.kv_cache.groups.empty()) {
    fmt::print("keys and values: {} a token\n\n",
               human_bytes(plan.kv_cache.bytes_per_token(plan.precision.hidden)));
  }
  for (const std::string& warning : plan.warnings) fmt::print("{}\n\n", warning);
  fmt::print("{:<22} {:>9} {:>8} {:>5} {:>12} {:>14} {:>16}\n", "step", "sequences", "tokens",
             "ops", "activations", "FLOPs", "FLOPs per token");
  for (const TracedProfile& profile : plan.profiles) {
    fmt::print("{:<22} {:>9} {:>8} {:>5} {:>12} {:>14} {:>16}\n", profile.profile.name,
               profile.profile.lengths.size(), profile.num_tokens(), profile.ops.size(),
               human_bytes(profile.activation_bytes), human_count(profile.flops()),
               human_count(flops_per_token(profile)));
  }
}

}  // namespace

int run(const PlanCommand& command) {
  const ConfigFile config = config_of(command.what, command.overrides);
  const auto directory = open_source(config.build.source)->fetch_configs({});
  const ModelConfig model = ModelConfig::from_hf(read_config_texts(directory), directory.string());
  const StepLimits limits = step_limits(model, config.build);
  const PlanSource source(model.dtype);
  const ComputeDType dtype = config.runtime.dtype;
  const ModelPlan plan = plan_model(model, limits, source, cpu_target(dtype, model.dtype));
  std::vector<PlannedTarget> targets;
  if (command.kernels) {
    for (const std::string& name :
         command.targets.empty() ? config.build.targets : command.targets) {
      if (name == "cpu") continue;
      const Target target = cuda_target(require_arch(name), dtype, model.dtype);
      targets.push_back(plan_kernels(plan_model(model, limits, source, target), *target.arch));
    }
    if (targets.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "--kernels needs an architecture",
                  "name it: --target sm_90a");
    }
  }
  if (command.json) {
    json::object out = to_json(plan, model);
    if (command.kernels) out["targets"] = to_json(targets);
    fmt::print("{}", json::to_pretty_text(out));
    return 0;
  }
  print_table(plan, model);
  for (const PlannedTarget& target : targets) print_kernels(target, plan.profiles.front().profile);
  return 0;
}

}  // namespace millrace
