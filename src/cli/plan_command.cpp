// millrace plan: what a model would need, traced without weights and without a device.
#include <fmt/core.h>

#include "base/json.h"
#include "checkpoint/model_files.h"
#include "checkpoint/source.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "cli/progress.h"
#include "models/plan.h"

namespace millrace {

namespace {

int64_t flops_per_token(const TracedProfile& profile) {
  return profile.flops() / profile.num_tokens();
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
          {"profiles", std::move(profiles)}};
}

void print_table(const ModelPlan& plan, const ModelConfig& model) {
  fmt::print("{}: {} parameters, {} of weights as found\n", model.architecture,
             human_count(plan.parameters.numel()), human_bytes(plan.parameters.bytes()));
  fmt::print("limits: {} tokens per input; {} sequences and {} tokens per step\n",
             plan.limits.max_seq_len, plan.limits.max_num_sequences, plan.limits.max_num_tokens);
  fmt::print("memory on the CPU: {} of activations at most, products in {}\n\n",
             human_bytes(plan.activation_bytes()), to_string(plan.precision.product));
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
  const Device device;
  const ModelPlan plan =
      plan_model(model, step_limits(model, config.build), PlanSource(model.dtype), device,
                 choose_precision(config.runtime.dtype, model.dtype, device.kind));
  if (command.json) {
    fmt::print("{}", json::to_pretty_text(to_json(plan, model)));
  } else {
    print_table(plan, model);
  }
  return 0;
}

}  // namespace millrace
