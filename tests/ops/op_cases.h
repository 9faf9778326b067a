// The ops as test cases: one definition each, for the test on every backend and for the benchmark.
#pragma once

#include "ops/backends.h"

namespace millrace {

struct OpError {
  double value = 0;  // the worst row's ||out - ref|| / ||ref||
  DType result = DType::kF32;
  DType hidden = DType::kF32;  // of the backend: what it rounds to between two kernels
};

// The greatest error that a row may have, by the dtype of the op's result. In fp32 it is the
// rounding of some hundred sums. A value of 8 or 11 bits is off by 2^-9 or 2^-12 of itself at most
// when rounded once; some ops round twice: products before an activation that is a kernel of its
// own, weights of attention.
double bound_of(const OpError& error);

// Makes inputs, calls the op through TestDevice::run(), and compares with the reference.
struct OpCase {
  std::string name;
  std::function<OpError(TestDevice&, cpu::Random&)> run;
};

// Sizes that fill no tile evenly.
std::vector<OpCase> test_cases();

// Those of the row-wise ops of decoders, which the two lists above and below contain.
std::vector<OpCase> decoder_row_cases();
std::vector<OpCase> decoder_row_bench_cases(int64_t num_tokens);

// Sizes of BERT-base and of decoders, in steps of so many tokens: a multiple of 512.
std::vector<OpCase> bench_cases(int64_t num_tokens);

}  // namespace millrace
