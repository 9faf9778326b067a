// Products against the reference, over shapes, epilogues and types; and that their bits do not
// depend on the batch or the threads.
#include "kernels/cpu/gemm.h"

#include <gmock/gmock.h>

#include "kernels/cpu/gemm_partition.h"
#include "kernels/cpu/scalar_convert.h"
#include "kernels/kernel_test.h"
#include "kernels/reference/reference.h"

namespace millrace::cpu {
namespace {

// Relative error of a row. A chain of 1536 fused multiply-adds in fp32 stays well below it; bf16
// results carry half a unit of their last place (2^-8 at most).
constexpr double kProductF32Bound = 3e-6;
constexpr double kProductBf16Bound = 4e-3;

constexpr Factors kFloats{};
constexpr Factors kHalves{.x = DType::kBF16, .weight = DType::kBF16};
constexpr Factors kHalfWeight{.weight = DType::kBF16};

// A row of a few sums may come to nearly nothing, which magnifies its relative error.
double f32_bound(int64_t n) {
  return n >= 16 ? kProductF32Bound : 1e-3;
}

struct Shape {
  int64_t m, n, k;
};

struct Product {
  std::vector<float> x, weight, bias;
  Shape shape;
};

Product random_product(Random& random, const Shape& shape) {
  return {.x = random.normal(shape.m * shape.k),
          .weight = random.normal(shape.n * shape.k),
          .bias = random.normal(shape.n),
          .shape = shape};
}

std::vector<uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (float value : values) out.push_back(bf16_of(value));
  return out;
}

std::vector<float> rounded_to_bf16(const std::vector<float>& values) {
  std::vector<float> out;
  for (float value : values) out.push_back(float_of_bf16(bf16_of(value)));
  return out;
}

// Rows of x `x_gap` apart and of the result `out_gap` apart, both filled with NaN.
template <typename In, typename Out>
Guarded<Out> run(const Kernels& kernels, ThreadPool& pool, const Product& product,
                 const std::vector<In>& x, const Factors& factors, Epilogue epilogue,
                 int64_t x_gap = 0, int64_t out_gap = 0, bool with_bias = true) {
  const auto [m, n, k] = product.shape;
  AlignedBytes packed(packed_weight_bytes(kernels, factors, n, k));
  Guarded<In> spread(m * (k + x_gap));
  for (int64_t r = 0; r < m; ++r) std::copy_n(x.data() + r * k, k, spread.data() + r * (k + x_gap));
  Guarded<Out> out(m * (n + out_gap));
  gemm(kernels, pool,
       {.m = m,
        .weight = pack_weight(kernels, pool, factors, product.weight.data(), DType::kF32, n, k,
                              packed.data()),
        .x = spread.data(),
        .x_stride = k + x_gap,
        .bias = with_bias ? product.bias.data() : nullptr,
        .epilogue = epilogue,
        .out = out.data(),
        .out_stride = n + out_gap,
        .out_dtype = sizeof(Out) == 2 ? DType::kBF16 : DType::kF32});
  EXPECT_TRUE(out.untouched_outside(n, n + out_gap)) << m << " x " << n << " x " << k;
  return out;
}

class GemmTest : public KernelTest {
 protected:
  void check_f32(const Shape& shape, Epilogue epilogue, bool with_bias = true) {
    const auto [m, n, k] = shape;
    const Product product = random_product(random, shape);
    const auto expected = reference::linear(product.x, product.weight,
                                            with_bias ? product.bias : std::vector<float>{},
                                            static_cast<reference::Activation>(epilogue), m, n, k);
    const int64_t gap = random.integer(0, 5);
    const auto out = run<float, float>(kernels, pool, product, product.x, kFloats, epilogue, gap,
                                       gap, with_bias);
    EXPECT_LT(reference::max_row_error(out.data(), n + gap, expected, m, n), f32_bound(n))
        << m << " x " << n << " x " << k << ", epilogue " << static_cast<int>(epilogue);
  }

  void check_bf16(const Shape& shape, Epilogue epilogue) {
    const auto [m, n, k] = shape;
    const Product product = random_product(random, shape);
    const auto expected =
        reference::linear(rounded_to_bf16(product.x), rounded_to_bf16(product.weight), product.bias,
                          static_cast<reference::Activation>(epilogue), m, n, k);
    const int64_t gap = random.integer(0, 5);
    const auto x = to_bf16(product.x);
    const auto out = run<uint16_t, float>(kernels, pool, product, x, kHalves, epilogue, gap, gap);
    EXPECT_LT(reference::max_row_error(out.data(), n + gap, expected, m, n), f32_bound(n))
        << m << " x " << n << " x " << k << ", epilogue " << static_cast<int>(epilogue);
  }
};
INSTANTIATE_KERNEL_TEST(GemmTest);

constexpr Epilogue kEpilogues[] = {Epilogue::kNone,     Epilogue::kRelu, Epilogue::kGelu,
                                   Epilogue::kGeluTanh, Epilogue::kSilu, Epilogue::kTanh};

TEST_P(GemmTest, MatchesReferenceForEveryHeight) {
  for (int64_t m = 1; m <= 33; ++m) check_f32({m, 37, 72}, Epilogue::kNone);
}

TEST_P(GemmTest, MatchesReferenceForEveryWidth) {
  for (int64_t n = 1; n <= 67; ++n) check_f32({15, n, 33}, Epilogue::kNone, n % 2 == 0);
}

TEST_P(GemmTest, MatchesReferenceForEveryDepth) {
  for (int64_t k = 1; k <= 35; ++k) check_f32({5, 65, k}, Epilogue::kGelu);
}

TEST_P(GemmTest, MatchesReferenceForEveryEpilogue) {
  for (Epilogue epilogue : kEpilogues) {
    check_f32({31, 50, 40}, epilogue);
    check_f32({3, 64, 7}, epilogue, false);
  }
}

TEST_P(GemmTest, MatchesReferenceForTheShapesOfMiniLM) {
  check_f32({40, 1152, 384}, Epilogue::kNone);
  check_f32({40, 1536, 384}, Epilogue::kGelu);
  check_f32({100, 384, 1536}, Epilogue::kNone);
}

// Depths beyond what one pass takes, with a result that can hold the sums between passes or cannot.
TEST_P(GemmTest, MatchesReferenceForGreatDepths) {
  check_f32({70, 64, 385}, Epilogue::kGelu);
  check_f32({33, 96, 1000}, Epilogue::kNone, false);
  check_f32({20, 50, 800}, Epilogue::kRelu);
  check_f32({530, 32, 420}, Epilogue::kNone);
}

// Single products: an error that a sum would hide. All 24 bits of both factors count.
TEST_P(GemmTest, KeepsTheBitsOfAFloat) {
  constexpr int64_t kCount = 40;
  Product product = random_product(random, {kCount, kCount, 1});
  for (float& bias : product.bias) bias = 0.0f;
  for (float& x : product.x) x = std::ldexp(x, static_cast<int>(random.integer(-40, 40)));
  const auto out =
      run<float, float>(kernels, pool, product, product.x, kFloats, Epilogue::kNone).values();
  for (size_t i = 0; i < kCount; ++i) {
    for (size_t j = 0; j < kCount; ++j) {
      const double truth = static_cast<double>(product.x[i]) * product.weight[j];
      EXPECT_NEAR(out[i * kCount + j], truth, std::ldexp(std::abs(truth), -20))
          << product.x[i] << " x " << product.weight[j];
    }
  }
}

TEST_P(GemmTest, Bf16MatchesReference) {
  if (!has_bf16_products(GetParam())) GTEST_SKIP() << "no products of bf16";
  for (int64_t m = 1; m <= 65; ++m) check_bf16({m, 37, 72}, Epilogue::kNone);
  for (int64_t n = 1; n <= 67; ++n) check_bf16({15, n, 64}, Epilogue::kNone);
  for (int64_t k = 1; k <= 67; ++k) check_bf16({19, 40, k}, Epilogue::kTanh);
  check_bf16({70, 1536, 384}, Epilogue::kGelu);
  check_bf16({33, 384, 1536}, Epilogue::kNone);
}

// Bit for bit where both are chains of fused multiply-adds; AMX cuts floats into parts.
TEST_P(GemmTest, WeightsInBf16GiveTheBitsOfTheirFloats) {
  const Kernels& chains =
      GetParam() == Isa::kAmxBf16 ? kernels_for(Isa::kAvx512) : kernels_for(GetParam());
  const auto check = [&](const Shape& shape, Epilogue epilogue) {
    Product product = random_product(random, shape);
    product.weight = rounded_to_bf16(product.weight);
    const auto expected =
        run<float, float>(chains, pool, product, product.x, kFloats, epilogue).values();
    const int64_t gap = random.integer(0, 5);
    const auto out =
        run<float, float>(kernels, pool, product, product.x, kHalfWeight, epilogue, gap, gap);
    const auto [m, n, k] = shape;
    for (int64_t r = 0; r < m; ++r)
      ASSERT_TRUE(std::equal(out.data() + r * (n + gap), out.data() + r * (n + gap) + n,
                             expected.begin() + r * n))
          << m << " x " << n << " x " << k << ", row " << r;
  };
  for (int64_t m = 1; m <= 33; ++m) check({m, 37, 72}, Epilogue::kNone);
  for (int64_t n = 1; n <= 67; ++n) check({7, n, 64}, Epilogue::kGelu);
  for (int64_t k = 1; k <= 67; ++k) check({11, 40, k}, Epilogue::kNone);
  check({1, 1536, 384}, Epilogue::kSilu);
  check({70, 384, 1536}, Epilogue::kNone);
}

TEST_P(GemmTest, WritesBf16) {
  const Product product = random_product(random, {21, 45, 30});
  for (Epilogue epilogue : {Epilogue::kNone, Epilogue::kGelu}) {
    const auto expected =
        reference::linear(product.x, product.weight, product.bias,
                          static_cast<reference::Activation>(epilogue), 21, 45, 30);
    const auto out =
        run<float, uint16_t>(kernels, pool, product, product.x, kFloats, epilogue, 0, 3);
    std::vector<float> wide;
    for (uint16_t value : out.values()) wide.push_back(float_of_bf16(value));
    EXPECT_LT(reference::max_row_error(wide.data(), 48, expected, 21, 45), kProductBf16Bound);
  }
}

TEST_P(GemmTest, BitsOfARowDependOnItAlone) {
  for (const Factors& factors : {kFloats, kHalves, kHalfWeight}) {
    if (factors == kHalves && !has_bf16_products(GetParam())) continue;
    for (const Shape& shape : {Shape{103, 101, 200}, Shape{103, 96, 800}, Shape{103, 101, 800}}) {
      const Product batch = random_product(random, shape);
      const auto [m, n, k] = batch.shape;
      const auto rows_of = [&](int64_t begin, int64_t end) {
        Product part = batch;
        part.shape.m = end - begin;
        part.x.assign(batch.x.begin() + begin * k, batch.x.begin() + end * k);
        return part;
      };
      const auto result = [&](const Product& product, int threads) {
        ThreadPool threads_pool(threads);
        return factors.x == DType::kF32
                   ? run<float, float>(kernels, threads_pool, product, product.x, factors,
                                       Epilogue::kGelu)
                         .values()
                   : run<uint16_t, float>(kernels, threads_pool, product, to_bf16(product.x),
                                          factors, Epilogue::kGelu)
                         .values();
      };
      const std::vector<float> expected = result(batch, 1);
      for (int threads : {1, 2, 3}) {
        ASSERT_EQ(result(batch, threads), expected) << threads << " threads";
        for (const auto& [begin, end] :
             {std::pair<int64_t, int64_t>{0, 1}, {17, 18}, {3, 11}, {40, 103}, {60, 76}}) {
          const std::vector<float> wanted(expected.begin() + begin * n, expected.begin() + end * n);
          ASSERT_EQ(result(rows_of(begin, end), threads), wanted)
              << "rows " << begin << " to " << end << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST_P(GemmTest, PacksHalfPrecisionWeights) {
  const Shape shape{9, 33, 20};
  Product product = random_product(random, shape);
  product.weight = rounded_to_bf16(product.weight);
  const auto expected =
      run<float, float>(kernels, pool, product, product.x, kFloats, Epilogue::kNone).values();
  const auto half = to_bf16(product.weight);
  AlignedBytes packed(packed_weight_bytes(kernels, kFloats, shape.n, shape.k));
  Guarded<float> out(shape.m * shape.n);
  gemm(kernels, pool,
       {.m = shape.m,
        .weight = pack_weight(kernels, pool, kFloats, half.data(), DType::kBF16, shape.n, shape.k,
                              packed.data()),
        .x = product.x.data(),
        .x_stride = shape.k,
        .bias = product.bias.data(),
        .out = out.data(),
        .out_stride = shape.n});
  EXPECT_EQ(out.values(), expected);
}

TEST_P(GemmTest, EpiloguesHoldAtTheEnds) {
  const std::vector<float> x = {-1e30f, -200.0f, -90.0f, -10.0f, -1e-20f, 0.0f,
                                1e-20f, 10.0f,   90.0f,  200.0f, 1e30f};
  const int64_t m = static_cast<int64_t>(x.size());
  const Product product{.x = x, .weight = {1.0f}, .bias = {0.0f}, .shape = {m, 1, 1}};
  for (Epilogue epilogue : kEpilogues) {
    const auto out = run<float, float>(kernels, pool, product, x, kFloats, epilogue).values();
    for (size_t i = 0; i < x.size(); ++i) {
      const double truth = reference::activate(static_cast<reference::Activation>(epilogue), x[i]);
      EXPECT_NEAR(out[i], truth, 1e-6 * std::max(1.0, std::abs(truth)))
          << "epilogue " << static_cast<int>(epilogue) << " of " << x[i];
    }
  }
}

TEST_P(GemmTest, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Product product{.x = {nan}, .weight = {1.0f}, .bias = {0.0f}, .shape = {1, 1, 1}};
  for (Epilogue epilogue : kEpilogues) {
    const auto out =
        run<float, float>(kernels, pool, product, product.x, kFloats, epilogue).values();
    EXPECT_TRUE(std::isnan(out[0])) << "epilogue " << static_cast<int>(epilogue);
  }
}

TEST(GemmPartitionTest, TakesRowsWhenTheyFillTheTilesAndPanelsOtherwise) {
  const auto choice = [](int64_t m, int64_t panels, int64_t threads) {
    return to_string(best_partition(m, panels, 384, {.tile_rows = 14}, threads));
  };
  EXPECT_EQ(choice(512, 48, 2), "2 x 1");
  EXPECT_EQ(choice(28, 12, 2), "2 x 1");
  EXPECT_EQ(choice(8, 48, 2), "1 x 2");
  EXPECT_EQ(choice(1, 12, 3), "1 x 3");
  EXPECT_EQ(choice(512, 48, 64), "32 x 2");
  EXPECT_EQ(choice(1, 1, 1), "1 x 1");
}

TEST(GemmPartitionTest, TakesPanelsWhereTheirPreparationWouldBeDoneTwice) {
  const ProductCost prepared{.tile_rows = 32, .row_multiple = 16, .first_tile = 32, .row = 1};
  const auto choice = [&](int64_t m) { return to_string(best_partition(m, 48, 384, prepared, 2)); };
  EXPECT_EQ(choice(80), "1 x 2");
  EXPECT_EQ(choice(1024), "2 x 1");
  // 40 rows take as long as 48, 32 as long as 32: whole tiles count.
  const ProductCost whole{.tile_rows = 16, .row_multiple = 16, .panel = 0};
  EXPECT_EQ(to_string(best_partition(40, 48, 384, whole, 2)), "1 x 2");
  EXPECT_EQ(to_string(best_partition(64, 48, 384, whole, 2)), "2 x 1");
}

}  // namespace
}  // namespace millrace::cpu
