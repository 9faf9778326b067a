// Conversions between fp32, bf16 and fp16: all half-precision values, and rounding of random ones.
#include "kernels/cpu/convert.h"

#include <bit>

#include "kernels/cpu/scalar_convert.h"
#include "kernels/kernel_test.h"

namespace millrace::cpu {
namespace {

// The value of an fp16 by its definition.
double fp16_value(uint16_t x) {
  const int exponent = (x >> 10) & 31;
  const int mantissa = x & 1023;
  const double sign = x & 0x8000 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

class ConvertTest : public KernelTest {
 protected:
  template <typename Out, typename In>
  std::vector<Out> converted(const std::vector<In>& x, DType from, DType to) {
    Guarded<Out> out(static_cast<int64_t>(x.size()));
    convert(kernels, pool, x.data(), from, out.data(), to, static_cast<int64_t>(x.size()));
    EXPECT_TRUE(out.untouched_outside(1, 1));
    return out.values();
  }
};
INSTANTIATE_KERNEL_TEST(ConvertTest);

TEST_P(ConvertTest, EveryHalfSurvivesTheWayThroughFp32) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  for (DType half : {DType::kBF16, DType::kF16}) {
    const auto wide = converted<float>(all, half, DType::kF32);
    const auto back = converted<uint16_t>(wide, DType::kF32, half);
    for (size_t i = 0; i < all.size(); ++i) {
      const uint32_t exponent_mask = half == DType::kF16 ? 0x7c00 : 0x7f80;
      const uint32_t mantissa = all[i] & ~exponent_mask & 0x7fff;
      const bool special = (all[i] & exponent_mask) == exponent_mask;
      if (special && mantissa != 0) {
        EXPECT_TRUE(std::isnan(wide[i])) << i;
        continue;
      }
      ASSERT_EQ(back[i], all[i]);
      if (special) {
        ASSERT_TRUE(std::isinf(wide[i])) << i;
      } else if (half == DType::kF16) {
        ASSERT_EQ(wide[i], fp16_value(all[i])) << i;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), static_cast<uint32_t>(i) << 16);
      }
    }
  }
}

TEST_P(ConvertTest, NarrowingTakesTheNearestAndTiesToEven) {
  std::vector<float> x;
  for (int i = 0; i < 100003; ++i)
    x.push_back(std::ldexp(random.normal(1)[0], static_cast<int>(random.integer(-28, 18))));
  for (DType half : {DType::kBF16, DType::kF16}) {
    const auto narrow = converted<uint16_t>(x, DType::kF32, half);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto value = [&](int step) {
        const uint16_t bits = static_cast<uint16_t>(narrow[i] + step);
        return half == DType::kF16 ? fp16_value(bits) : double{float_of_bf16(bits)};
      };
      const double error = std::abs(value(0) - x[i]);
      if ((narrow[i] & 0x7fff) >= 0x7c00 && half == DType::kF16) {
        ASSERT_GE(std::abs(x[i]), 65520.0f);
        continue;
      }
      ASSERT_LE(error, std::abs(value(1) - x[i]));
      const bool zero = (narrow[i] & 0x7fff) == 0;
      ASSERT_TRUE(zero || error <= std::abs(value(-1) - x[i]));
      ASSERT_TRUE(error < std::abs(value(1) - x[i]) || narrow[i] % 2 == 0);
    }
  }
}

TEST_P(ConvertTest, TiesAndOverflow) {
  const std::vector<float> x = {
      1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, 3.4e38f,
      65519.0f,       65520.0f,           1.0f + 0x1p-11f,
      0x1p-25f,       0x1.8p-24f,         std::numeric_limits<float>::quiet_NaN()};
  const auto bf16 = converted<uint16_t>(x, DType::kF32, DType::kBF16);
  EXPECT_EQ(bf16[0], 0x3f80);
  EXPECT_EQ(bf16[1], 0x3f82);
  EXPECT_EQ(bf16[2], 0x7f80);
  EXPECT_TRUE(std::isnan(float_of_bf16(bf16[8])));
  const auto fp16 = converted<uint16_t>(x, DType::kF32, DType::kF16);
  EXPECT_EQ(fp16[3], 0x7bff);
  EXPECT_EQ(fp16[4], 0x7c00);
  EXPECT_EQ(fp16[5], 0x3c00);
  EXPECT_EQ(fp16[6], 0x0000);
  EXPECT_EQ(fp16[7], 0x0002);
  EXPECT_TRUE(std::isnan(float_of_fp16(fp16[8])));
}

TEST_P(ConvertTest, RowsKeepTheirGaps) {
  const int64_t rows = 37;
  const int64_t width = 29;
  const auto x = random.normal(rows * 31);
  for (DType to : {DType::kF32, DType::kBF16, DType::kF16}) {
    Guarded<float> wide(rows * 33);
    Guarded<uint16_t> narrow(rows * 33);
    const bool same = to == DType::kF32;
    convert_rows(kernels, pool,
                 {.rows = rows,
                  .width = width,
                  .x = x.data(),
                  .x_stride = 31,
                  .x_dtype = DType::kF32,
                  .out = same ? static_cast<void*>(wide.data()) : narrow.data(),
                  .out_stride = 33,
                  .out_dtype = to});
    EXPECT_TRUE(same ? wide.untouched_outside(width, 33) : narrow.untouched_outside(width, 33));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < width; ++j) {
        const float value = x[static_cast<size_t>(r * 31 + j)];
        if (same) {
          ASSERT_EQ(wide.data()[r * 33 + j], value);
        } else {
          ASSERT_EQ(narrow.data()[r * 33 + j],
                    to == DType::kBF16 ? bf16_of(value) : fp16_of(value));
        }
      }
    }
  }
}

TEST(IsaTest, NamesAndChoice) {
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmxBf16})
    EXPECT_EQ(isa_from_name(to_string(isa)), isa);
  EXPECT_EQ(isa_from_name("sse9"), std::nullopt);
  EXPECT_EQ(best_isa({}), Isa::kPortable);
  EXPECT_EQ(best_isa({.avx2 = true}), Isa::kAvx2);
  EXPECT_EQ(best_isa({.avx2 = true, .avx512 = true}), Isa::kAvx512);
  EXPECT_EQ(best_isa({.avx2 = true, .avx512 = true, .avx512_bf16 = true}), Isa::kAvx512Bf16);
  EXPECT_EQ(best_isa({.avx512 = true}), Isa::kPortable);
}

}  // namespace
}  // namespace millrace::cpu
