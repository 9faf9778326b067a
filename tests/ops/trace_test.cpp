// What the trace says of a step is what the step does: memory, operations, and the plan's peak.
#include "ops/trace/trace_ops.h"

#include <gtest/gtest.h>

#include "ops/backends.h"
#include "ops/golden_model.h"

namespace millrace {
namespace {

constexpr Precision kF32{.hidden = DType::kF32, .product = DType::kF32};
constexpr Precision kBF16Products{.hidden = DType::kF32, .product = DType::kBF16};

// Lengths of sequences that fit into one step.
std::vector<int64_t> random_lengths(cpu::Random& random, const StepLimits& limits) {
  std::vector<int64_t> lengths;
  int64_t left = limits.max_num_tokens;
  const int64_t count = random.integer(1, limits.max_num_sequences);
  const int64_t longest = random.integer(1, limits.max_seq_len);
  while (left > 0 && static_cast<int64_t>(lengths.size()) < count) {
    lengths.push_back(random.integer(1, std::min(left, longest)));
    left -= lengths.back();
  }
  return lengths;
}

TEST(TraceOpsTest, MeasuresTheMemoryThatTheCpuTakes) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  for (const Backend& backend : all_backends()) {
    for (const char* name : {"bert_mean", "bert_classify"}) {
      const GoldenFiles files(name);
      const auto device = backend.make({});
      ParameterList list;
      const auto model = find_model(files.config.architecture)
                             .make(Params(files.source, device->ops(), list), files.config);
      int64_t peak = 0;
      for (int round = 0; round < 5; ++round) {
        const Batch batch = Batch::of_lengths(
            random_lengths(random, {.max_num_tokens = 500,
                                    .max_num_sequences = 20,
                                    .max_seq_len = files.config.max_input_tokens}));
        TraceOps trace(Device{}, backend.precision);
        ParameterList traced_list;
        find_model(files.config.architecture)
            .make(Params(files.source, trace, traced_list), files.config)
            ->forward(trace, batch);
        device->ops().arena().reset();
        model->forward(device->ops(), batch);
        peak = std::max(peak, trace.arena().peak());
        EXPECT_EQ(device->ops().arena().peak(), peak) << backend.name << " " << to_string(batch);
        EXPECT_EQ(device->ops().arena().used(), trace.arena().used()) << backend.name;
      }
    }
  }
}

TEST(TraceOpsTest, CountsTheOperationsOfALinear) {
  for (const Precision& precision : {kF32, kBF16Products}) {
    TraceOps ops(Device{}, precision);
    Linear linear{.weight = Tensor::contiguous(nullptr, DType::kF16, {200, 72}),
                  .bias = Tensor::contiguous(nullptr, DType::kF16, {200})};
    ops.prepare(linear);
    const Tensor x = ops.arena().allocate(linear.input.dtype, {13, 72});
    const Activation out = ops.linear({.values = x, .format = linear.input}, linear);
    EXPECT_EQ(out.values.shape, (Shape{13, 200}));
    ASSERT_EQ(ops.traced().size(), 1u);
    const TracedOp& op = ops.traced().front();
    const int64_t input_bytes = size_of(precision.product);
    EXPECT_EQ(op.name, "linear");
    EXPECT_EQ(op.flops, 2 * 13 * 200 * 72);
    EXPECT_EQ(op.weight_bytes, 200 * 72 * input_bytes + 200 * 4);
    EXPECT_EQ(op.activation_bytes, 13 * 72 * input_bytes + 13 * 200 * 4);
  }
}

TEST(TraceOpsTest, CountsTheOperationsOfAttentionBySquaredLengths) {
  TraceOps ops(Device{}, kF32);
  const Batch batch = Batch::of_lengths(std::vector<int64_t>{3, 1, 10});
  const Tensor qkv = ops.arena().allocate(DType::kF32, {14, 3 * 5 * 8});
  ops.attention({.values = qkv, .format = ops.hidden_format()}, batch,
                {.num_heads = 5, .head_dim = 8, .scale = 1.0f}, ops.hidden_format());
  ASSERT_EQ(ops.traced().size(), 1u);
  // Scores and weighted sums: two products of 2 operations, over 3^2 + 1^2 + 10^2 pairs.
  EXPECT_EQ(ops.traced().front().flops, 2 * 2 * (9 + 1 + 100) * 5 * 8);
  EXPECT_EQ(ops.traced().front().activation_bytes, 14 * (3 + 1) * 5 * 8 * 4);
}

TEST(TraceOpsTest, CountsTheOperationsOfAModel) {
  const GoldenFiles files("bert_mean");
  const ModelConfig& c = files.config;
  TraceOps ops(Device{}, kF32);
  ParameterList list;
  const auto model = find_model(c.architecture).make(Params(files.source, ops, list), c);
  const Batch batch = Batch::of_lengths(std::vector<int64_t>{17, 30});
  model->forward(ops, batch);
  int64_t products = 0;
  int64_t attention = 0;
  for (const TracedOp& op : ops.traced()) {
    if (op.name == "linear") products += op.flops;
    if (op.name == "attention") attention += op.flops;
  }
  const int64_t weights =
      c.num_layers * (4 * c.hidden_size * c.hidden_size + 2 * c.hidden_size * c.intermediate_size);
  EXPECT_EQ(products, 2 * batch.num_tokens() * weights);
  EXPECT_EQ(attention, c.num_layers * 4 * c.hidden_size * (17 * 17 + 30 * 30));
}

// The arena is sized by a few profiles: no step within the limits may need more.
TEST(PlanTest, NoStepNeedsMoreThanThePlanSays) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  const GoldenFiles files("bert_classify");
  for (int round = 0; round < 50; ++round) {
    const int64_t max_seq_len = random.integer(1, files.config.max_input_tokens);
    const StepLimits limits{.max_num_tokens = random.integer(max_seq_len, 600),
                            .max_num_sequences = random.integer(1, 100),
                            .max_seq_len = max_seq_len};
    const Precision precision = round % 2 ? kF32 : kBF16Products;
    const ModelPlan plan = plan_model(files.config, limits, files.source, {.precision = precision});
    for (const TracedProfile& traced : plan.profiles) {
      const std::vector<int64_t>& lengths = traced.profile.lengths;
      ASSERT_FALSE(lengths.empty()) << traced.profile.name;
      EXPECT_LE(static_cast<int64_t>(lengths.size()), limits.max_num_sequences);
      EXPECT_LE(*std::ranges::max_element(lengths), limits.max_seq_len) << traced.profile.name;
      EXPECT_GE(*std::ranges::min_element(lengths), 1) << traced.profile.name;
      EXPECT_LE(traced.num_tokens(), limits.max_num_tokens) << traced.profile.name;
    }
    TraceOps construction(Device{}, precision);
    ParameterList list;
    const auto model = find_model(files.config.architecture)
                           .make(Params(files.source, construction, list), files.config);
    for (int step = 0; step < 40; ++step) {
      TraceOps trace(Device{}, precision);
      const Batch batch = Batch::of_lengths(random_lengths(random, limits));
      model->forward(trace, batch);
      EXPECT_LE(trace.arena().peak(), plan.activation_bytes()) << to_string(batch);
    }
  }
}

}  // namespace
}  // namespace millrace
