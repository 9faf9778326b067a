// Attention against the reference, over lengths and head sizes; and that its bits do not depend on
// the batch or the threads.
#include "kernels/cpu/attention.h"

#include "kernels/cpu/scalar_convert.h"
#include "kernels/kernel_test.h"
#include "kernels/reference/reference.h"

namespace millrace::cpu {
namespace {

constexpr double kF32Bound = 1e-5;  // relative error of a row
constexpr double kBf16Bound = 4e-3;

struct Problem {
  std::vector<float> qkv;  // [tokens, 3 * heads * head_dim]
  std::vector<int32_t> cu_seqlens{0};
  int64_t heads = 0;
  int64_t head_dim = 0;
  float scale = 1.0f;

  int64_t width() const { return heads * head_dim; }
  int64_t tokens() const { return cu_seqlens.back(); }
};

Problem random_problem(Random& random, const std::vector<int32_t>& lengths, int64_t heads,
                       int64_t head_dim, float deviation = 1.0f) {
  Problem problem{.heads = heads, .head_dim = head_dim};
  for (int32_t length : lengths) problem.cu_seqlens.push_back(problem.cu_seqlens.back() + length);
  problem.qkv = random.normal(problem.tokens() * 3 * problem.width(), deviation);
  problem.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  return problem;
}

// Column block `part` (q, k, v) of the packed matrix.
std::vector<float> part_of(const Problem& problem, int64_t part) {
  const int64_t width = problem.width();
  std::vector<float> out;
  for (int64_t t = 0; t < problem.tokens(); ++t) {
    const float* row = problem.qkv.data() + (t * 3 + part) * width;
    out.insert(out.end(), row, row + width);
  }
  return out;
}

std::vector<double> expected_of(const Problem& problem) {
  return reference::attention(part_of(problem, 0), part_of(problem, 1), part_of(problem, 2),
                              problem.cu_seqlens, problem.heads, problem.head_dim, problem.scale);
}

template <typename Out = float>
Guarded<Out> run(const Kernels& kernels, ThreadPool& pool, const Problem& problem,
                 int64_t out_gap = 0) {
  const int64_t width = problem.width();
  Guarded<Out> out(problem.tokens() * (width + out_gap));
  attention(kernels, pool,
            {.q = problem.qkv.data(),
             .q_stride = 3 * width,
             .k = problem.qkv.data() + width,
             .k_stride = 3 * width,
             .v = problem.qkv.data() + 2 * width,
             .v_stride = 3 * width,
             .cu_seqlens = problem.cu_seqlens.data(),
             .num_seqs = static_cast<int64_t>(problem.cu_seqlens.size()) - 1,
             .num_heads = problem.heads,
             .num_kv_heads = problem.heads,
             .head_dim = problem.head_dim,
             .scale = problem.scale,
             .out = out.data(),
             .out_stride = width + out_gap,
             .out_dtype = sizeof(Out) == 2 ? DType::kBF16 : DType::kF32});
  EXPECT_TRUE(out.untouched_outside(width, width + out_gap));
  return out;
}

class AttentionTest : public KernelTest {
 protected:
  void check(const std::vector<int32_t>& lengths, int64_t heads, int64_t head_dim,
             float deviation = 1.0f, double bound = kF32Bound) {
    const Problem problem = random_problem(random, lengths, heads, head_dim, deviation);
    const int64_t gap = random.integer(0, 5);
    const auto out = run(kernels, pool, problem, gap);
    EXPECT_LT(reference::max_row_error(out.data(), problem.width() + gap, expected_of(problem),
                                       problem.tokens(), problem.width()),
              bound)
        << "head_dim " << head_dim << ", first length " << lengths[0];
  }
};
INSTANTIATE_KERNEL_TEST(AttentionTest);

TEST_P(AttentionTest, MatchesReferenceForEveryLength) {
  for (int32_t length = 1; length <= 49; ++length) check({length}, 2, 32);
}

TEST_P(AttentionTest, MatchesReferenceForMixedLengths) {
  check({1, 2, 31, 32, 33, 256, 5, 1, 128}, 3, 32);
  check({300, 7}, 1, 32);
}

TEST_P(AttentionTest, MatchesReferenceForEveryHeadSize) {
  for (int64_t head_dim :
       {1, 2, 3, 4, 8, 12, 16, 24, 31, 33, 40, 64, 72, 80, 96, 128, 160, 255, 256})
    check({19, 3}, 2, head_dim, 1.0f, head_dim >= 8 ? kF32Bound : 1e-4);
}

// Lengths around the borders of key blocks: 512, 256 and 128 keys.
TEST_P(AttentionTest, MatchesReferenceOverSeveralKeyBlocks) {
  for (int32_t length : {511, 512, 513, 1100}) check({length}, 1, 8);
  for (int32_t length : {256, 257, 700}) check({length}, 1, 96);
  for (int32_t length : {128, 129, 300}) check({length}, 1, 144);
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  // Scores of some hundreds have errors of 1e-5 before they are exponents.
  check({40, 600}, 2, 16, 8.0f, 1e-4);
}

TEST_P(AttentionTest, EmptySequencesAreSkipped) {
  check({3, 0, 5, 0}, 2, 16);
}

TEST_P(AttentionTest, WritesBf16) {
  const Problem problem = random_problem(random, {17, 40}, 3, 20);
  std::vector<float> wide;
  for (uint16_t value : run<uint16_t>(kernels, pool, problem).values())
    wide.push_back(float_of_bf16(value));
  EXPECT_LT(reference::max_row_error(wide.data(), problem.width(), expected_of(problem),
                                     problem.tokens(), problem.width()),
            kBf16Bound);
}

TEST_P(AttentionTest, BitsOfASequenceDependOnItAlone) {
  const Problem batch = random_problem(random, {70, 1, 33, 600, 256, 8}, 4, 32);
  const std::vector<float> expected = run(kernels, pool, batch).values();
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool threads_pool(threads);
    ASSERT_EQ(run(kernels, threads_pool, batch).values(), expected) << threads << " threads";
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
      const int64_t begin = batch.cu_seqlens[s];
      const int64_t end = batch.cu_seqlens[s + 1];
      Problem alone = batch;
      alone.cu_seqlens = {0, static_cast<int32_t>(end - begin)};
      alone.qkv.assign(batch.qkv.begin() + begin * 3 * batch.width(),
                       batch.qkv.begin() + end * 3 * batch.width());
      const std::vector<float> wanted(expected.begin() + begin * batch.width(),
                                      expected.begin() + end * batch.width());
      ASSERT_EQ(run(kernels, threads_pool, alone).values(), wanted)
          << "sequence " << s << ", " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace millrace::cpu
