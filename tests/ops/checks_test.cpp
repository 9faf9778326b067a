// What an op refuses, on every backend and in a trace: our own bugs, named by op and tensor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/backends.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr int64_t kWidth = 12;

class ChecksTest : public testing::TestWithParam<Backend> {
 protected:
  Tensor floats(const Shape& shape) { return ops().arena().allocate(DType::kF32, shape); }

  LayerNorm norm(int64_t width) { return {.weight = floats({width}), .bias = floats({width})}; }

  Linear linear(int64_t out, int64_t in) {
    std::vector<float> values(static_cast<size_t>(out * in), 1.0f);
    Linear made{.weight = Tensor::contiguous(values.data(), DType::kF32, {out, in})};
    ops().prepare(made);
    return made;
  }

  Ops& ops() { return device_->ops(); }

 private:
  std::unique_ptr<TestDevice> device_ = GetParam().make({});
};

#define EXPECT_REFUSED(call, ...) \
  EXPECT_THAT([&] { call; }, ThrowsMessage<InternalError>(testing::AllOf(__VA_ARGS__)))

TEST_P(ChecksTest, LinearNamesTheInputOfAnotherWidth) {
  const Linear weight = linear(5, kWidth);
  const Activation x{.values = ops().arena().allocate(weight.input.dtype, {3, kWidth + 1}),
                     .format = weight.input};
  EXPECT_REFUSED(ops().linear(x, weight), HasSubstr("linear: x is"), HasSubstr("[3, 13]"),
                 HasSubstr("must be 12"));
}

TEST_P(ChecksTest, LinearRefusesAnInputInAnotherFormat) {
  const Linear weight = linear(5, kWidth);
  const DType other = weight.input.dtype == DType::kF32 ? DType::kBF16 : DType::kF32;
  const Activation x{.values = ops().arena().allocate(other, {3, kWidth}), .format = {other}};
  EXPECT_REFUSED(ops().linear(x, weight), HasSubstr("linear: x is"));
}

TEST_P(ChecksTest, AddLayerNormNamesTheTensorThatDoesNotFit) {
  const auto run = [&](int64_t normed_rows, int64_t delta_rows, int64_t norm_width) {
    HiddenStates hidden{.residual = floats({4, kWidth})};
    hidden.normed = {.values = floats({normed_rows, kWidth}), .format = ops().hidden_format()};
    ops().add_layer_norm(hidden,
                         {.values = floats({delta_rows, kWidth}), .format = ops().hidden_format()},
                         norm(norm_width));
  };
  EXPECT_REFUSED(run(5, 4, kWidth), HasSubstr("add_layer_norm: normed is"));
  EXPECT_REFUSED(run(4, 3, kWidth), HasSubstr("add_layer_norm: delta is"));
  EXPECT_REFUSED(run(4, 4, kWidth - 1), HasSubstr("add_layer_norm: weight is"));
}

TEST_P(ChecksTest, AttentionNamesTheInputThatDoesNotFitTheBatch) {
  const Batch batch = Batch::of_lengths(std::vector<int64_t>{2, 3});
  const auto run = [&](int64_t rows, int64_t columns) {
    ops().attention({.values = floats({rows, columns}), .format = ops().hidden_format()}, batch,
                    {.num_heads = 2, .head_dim = 4}, ops().hidden_format());
  };
  EXPECT_NO_THROW(run(5, 24));
  EXPECT_REFUSED(run(6, 24), HasSubstr("attention: qkv is"), HasSubstr("must be 5"));
  EXPECT_REFUSED(run(5, 23), HasSubstr("attention: qkv is"), HasSubstr("must be 24"));
}

TEST_P(ChecksTest, PoolNamesTheInputThatDoesNotFitTheBatch) {
  const Batch batch = Batch::of_lengths(std::vector<int64_t>{2, 3});
  EXPECT_REFUSED(ops().pool(floats({4, kWidth}), batch, PoolingMode::kMean),
                 HasSubstr("pool: hidden is"), HasSubstr("must be 5"));
  const Tensor wide = ops().arena().allocate(DType::kBF16, {5, kWidth});
  EXPECT_REFUSED(ops().normalize_rows(wide), HasSubstr("normalize_rows"));
}

// A kernel would read wherever an index points.
TEST_P(ChecksTest, EmbedRefusesIndicesOutsideItsTables) {
  const EmbeddingTables tables{.word = floats({10, kWidth}),
                               .position = floats({4, kWidth}),
                               .token_type = floats({2, kWidth})};
  const LayerNorm weights = norm(kWidth);
  const auto run = [&](const std::vector<int32_t>& ids, const std::vector<int32_t>& types) {
    Batch batch;
    batch.append(ids, types);
    ops().embed(batch, tables, weights, ops().hidden_format());
  };
  EXPECT_NO_THROW(run({0, 9, 3, 4}, {0, 1, 0, 1}));
  EXPECT_REFUSED(run({0, 10}, {0, 0}), HasSubstr("embed: word 10 of a table of 10 rows"));
  EXPECT_REFUSED(run({0, -1}, {0, 0}), HasSubstr("embed: word -1"));
  EXPECT_REFUSED(run({0, 1}, {0, 2}), HasSubstr("embed: token_type 2"));
  EXPECT_REFUSED(run({1, 2, 3, 4, 5}, {0, 0, 0, 0, 0}), HasSubstr("embed: position 4"));
}

std::vector<Backend> backends_and_trace() {
  std::vector<Backend> all;
  add_cpu_backends(all);
  all.push_back({.name = "trace", .make = [](const TestSizes&) {
                   return std::make_unique<TraceTestDevice>(Precision{});
                 }});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Backends, ChecksTest, testing::ValuesIn(backends_and_trace()),
                         [](const auto& backend) { return backend.param.name; });

TEST(CpuOpsTest, RefusesBf16WithoutTheInstructions) {
  ThreadPool pool(1);
  EXPECT_THROW(CpuOps(pool, cpu::Isa::kPortable, {.product = DType::kBF16}, 256), Error);
}

}  // namespace
}  // namespace millrace
