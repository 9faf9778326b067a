// Kernels over rows (norms, embeddings, pooling, softmax) against the reference.
#include "kernels/cpu/norm.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/scalar_convert.h"
#include "kernels/kernel_test.h"
#include "kernels/reference/reference.h"

namespace millrace::cpu {
namespace {

constexpr double kRowF32Bound = 1e-6;   // relative error of a row
constexpr double kRowExpBound = 3e-6;   // where an exponential is involved
constexpr double kRowBf16Bound = 4e-3;  // half a unit of the last place is 2^-8

// Sums of a few elements may come to nearly nothing, which magnifies their relative error.
double row_bound(int64_t width) {
  return width >= 16 ? 3e-6 : 1e-2;
}

constexpr int64_t kWidths[] = {1, 3, 4, 7, 8, 15, 16, 17, 33, 72, 100, 384, 1023};

std::vector<float> widened(const std::vector<uint16_t>& values) {
  std::vector<float> out;
  for (uint16_t value : values) out.push_back(float_of_bf16(value));
  return out;
}

class RowsTest : public KernelTest {};
INSTANTIATE_KERNEL_TEST(RowsTest);

TEST_P(RowsTest, LayerNormMatchesReference) {
  for (int64_t width : kWidths) {
    const int64_t rows = random.integer(1, 60);
    const int64_t stride = width + random.integer(0, 5);
    const auto x = random.normal(rows * width, 2.0f, 0.5f);
    const auto delta = random.normal(rows * width);
    const auto gamma = random.normal(width, 0.5f, 1.0f);
    const auto beta = random.normal(width);
    const NormWeights norm{.gamma = gamma.data(), .beta = beta.data(), .eps = 1e-5f};
    for (bool with_delta : {false, true}) {
      const auto expected = reference::layer_norm(x, with_delta ? delta : std::vector<float>{},
                                                  gamma, beta, 1e-5, rows, width);
      Guarded<float> out(rows * stride);
      Guarded<uint16_t> narrow(rows * stride);
      const LayerNormArgs args{.rows = rows,
                               .width = width,
                               .x = x.data(),
                               .x_stride = width,
                               .delta = with_delta ? delta.data() : nullptr,
                               .delta_stride = width,
                               .norm = norm,
                               .out = out.data(),
                               .out_stride = stride,
                               .bf16_out = narrow.data(),
                               .bf16_out_stride = stride};
      layer_norm(kernels, pool, args);
      EXPECT_TRUE(out.untouched_outside(width, stride));
      EXPECT_TRUE(narrow.untouched_outside(width, stride));
      const double bound = row_bound(width);
      EXPECT_LT(reference::max_row_error(out.data(), stride, expected, rows, width), bound)
          << "width " << width;
      const auto wide = widened(narrow.values());
      EXPECT_LT(reference::max_row_error(wide.data(), stride, expected, rows, width),
                kRowBf16Bound + bound)
          << "width " << width;

      std::vector<float> in_place = x;
      LayerNormArgs same = args;
      same.x = same.out = in_place.data();
      same.out_stride = width;
      same.bf16_out = nullptr;
      layer_norm(kernels, pool, same);
      for (int64_t r = 0; r < rows; ++r)
        ASSERT_EQ(std::memcmp(in_place.data() + r * width, out.data() + r * stride,
                              static_cast<size_t>(width) * sizeof(float)),
                  0)
            << "in place, width " << width;
    }
  }
}

// The mean is far from zero: one pass over squares would lose all digits.
TEST_P(RowsTest, LayerNormKeepsDigitsUnderALargeMean) {
  const int64_t width = 384;
  const auto x = random.normal(width, 1.0f, 1000.0f);
  const std::vector<float> ones(width, 1.0f), zeros(width, 0.0f);
  const auto expected = reference::layer_norm(x, {}, ones, zeros, 1e-12, 1, width);
  Guarded<float> out(width);
  layer_norm(kernels, pool,
             {.rows = 1,
              .width = width,
              .x = x.data(),
              .x_stride = width,
              .norm = {.gamma = ones.data(), .beta = zeros.data()},
              .out = out.data(),
              .out_stride = width});
  EXPECT_LT(reference::max_row_error(out.data(), width, expected, 1, width), 1e-3);
}

TEST_P(RowsTest, EmbedMatchesReference) {
  for (int64_t width : kWidths) {
    const int64_t rows = random.integer(1, 40);
    std::vector<std::vector<float>> tables;
    std::vector<std::vector<int32_t>> indices;
    for (int64_t size : {50, 40, 2}) {
      tables.push_back(random.normal(size * width));
      indices.emplace_back();
      for (int64_t r = 0; r < rows; ++r)
        indices.back().push_back(static_cast<int32_t>(random.integer(0, size - 1)));
    }
    for (int32_t& type : indices[2]) type = 0;
    const auto gamma = random.normal(width, 0.5f, 1.0f);
    const auto beta = random.normal(width);
    const auto sums = reference::embed(tables, indices, rows, width);
    const std::vector<float> rounded(sums.begin(), sums.end());
    const auto normed = reference::layer_norm(rounded, {}, gamma, beta, 1e-12, rows, width);
    for (bool with_norm : {false, true}) {
      Guarded<float> out(rows * width);
      Guarded<uint16_t> narrow(rows * width);
      embed(kernels, pool,
            {.rows = rows,
             .width = width,
             .tables = {{.table = tables[0].data(), .indices = indices[0].data()},
                        {.table = tables[1].data(), .indices = indices[1].data()},
                        {.table = tables[2].data(), .indices = nullptr}},
             .norm = {.gamma = with_norm ? gamma.data() : nullptr, .beta = beta.data()},
             .out = out.data(),
             .out_stride = width,
             .bf16_out = narrow.data(),
             .bf16_out_stride = width});
      const auto& expected = with_norm ? normed : sums;
      EXPECT_TRUE(out.untouched_outside(width, width));
      EXPECT_TRUE(narrow.untouched_outside(width, width));
      const double bound = row_bound(width);
      EXPECT_LT(reference::max_row_error(out.data(), width, expected, rows, width), bound)
          << "width " << width;
      std::vector<uint16_t> narrowed;
      for (float value : out.values()) narrowed.push_back(bf16_of(value));
      EXPECT_EQ(narrow.values(), narrowed);
    }
  }
}

TEST_P(RowsTest, PoolMatchesReference) {
  const std::vector<int32_t> cu_seqlens = {0, 1, 3, 34, 66, 99, 355};
  const int64_t seqs = static_cast<int64_t>(cu_seqlens.size()) - 1;
  for (int64_t width : kWidths) {
    const auto x = random.normal(cu_seqlens.back() * width, 1.0f, 0.3f);
    for (PoolingMode mode : {PoolingMode::kMean, PoolingMode::kFirst, PoolingMode::kLast}) {
      const auto expected =
          reference::pool_rows(x, cu_seqlens, static_cast<reference::Pooling>(mode), width);
      const int64_t stride = width + 2;
      Guarded<float> out(seqs * stride);
      pool_rows(kernels, pool,
                {.mode = mode,
                 .x = x.data(),
                 .x_stride = width,
                 .width = width,
                 .cu_seqlens = cu_seqlens.data(),
                 .num_seqs = seqs,
                 .out = out.data(),
                 .out_stride = stride});
      EXPECT_TRUE(out.untouched_outside(width, stride));
      EXPECT_LT(reference::max_row_error(out.data(), stride, expected, seqs, width),
                row_bound(width))
          << "width " << width;
    }
  }
}

// Runs a kernel in place on rows with gaps and compares them with `expected`.
template <typename Kernel>
void check_rows(const Kernels& kernels, ThreadPool& pool, const Kernel& kernel,
                const std::vector<float>& x, const std::vector<double>& expected, int64_t rows,
                int64_t width, double bound) {
  const int64_t stride = width + 3;
  Guarded<float> out(rows * stride);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(x.data() + r * width, width, out.data() + r * stride);
  kernel(kernels, pool, RowsArgs{.x = out.data(), .rows = rows, .width = width, .stride = stride});
  EXPECT_TRUE(out.untouched_outside(width, stride));
  EXPECT_LT(reference::max_row_error(out.data(), stride, expected, rows, width), bound)
      << "width " << width;
}

TEST_P(RowsTest, InPlaceKernelsMatchReference) {
  for (int64_t width : kWidths) {
    const int64_t rows = random.integer(1, 60);
    const auto x = random.normal(rows * width, 4.0f);
    check_rows(kernels, pool, l2_normalize, x, reference::l2_normalize(x, rows, width), rows, width,
               kRowF32Bound);
    check_rows(kernels, pool, softmax, x, reference::softmax(x, rows, width), rows, width,
               kRowExpBound);
    check_rows(kernels, pool, sigmoid, x, reference::sigmoid(x), rows, width, kRowExpBound);
  }
}

TEST_P(RowsTest, ExtremesStayFinite) {
  const std::vector<float> zeros(20, 0.0f);
  check_rows(kernels, pool, l2_normalize, zeros, std::vector<double>(20, 0.0), 1, 20, kRowF32Bound);
  const std::vector<float> wide = {-3e38f, -1000.0f, 0.0f, 1000.0f, 1000.0f};
  check_rows(kernels, pool, softmax, wide, reference::softmax(wide, 1, 5), 1, 5, kRowExpBound);
  check_rows(kernels, pool, sigmoid, wide, reference::sigmoid(wide), 1, 5, kRowExpBound);
}

TEST_P(RowsTest, BitsOfARowDependOnItAlone) {
  const int64_t rows = 101;
  const int64_t width = 390;
  const auto x = random.normal(rows * width);
  const auto gamma = random.normal(width);
  const auto run = [&](int64_t begin, int64_t count, int threads) {
    ThreadPool threads_pool(threads);
    std::vector<float> out(x.begin() + begin * width, x.begin() + (begin + count) * width);
    layer_norm(kernels, threads_pool,
               {.rows = count,
                .width = width,
                .x = out.data(),
                .x_stride = width,
                .norm = {.gamma = gamma.data(), .beta = gamma.data()},
                .out = out.data(),
                .out_stride = width});
    const RowsArgs args{.x = out.data(), .rows = count, .width = width, .stride = width};
    softmax(kernels, threads_pool, args);
    l2_normalize(kernels, threads_pool, args);
    return out;
  };
  const auto expected = run(0, rows, 1);
  for (int threads : {1, 2, 3}) {
    ASSERT_EQ(run(0, rows, threads), expected);
    for (int64_t r = 0; r < rows; r += 10) {
      const std::vector<float> wanted(expected.begin() + r * width,
                                      expected.begin() + (r + 1) * width);
      ASSERT_EQ(run(r, 1, threads), wanted) << "row " << r;
    }
  }
}

}  // namespace
}  // namespace millrace::cpu
