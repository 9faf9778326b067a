// A row's bits depend on its own sequence alone: not on the batch, its order, or the threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/kernel_test.h"
#include "ops/golden_model.h"

namespace millrace {
namespace {

// The output of one sequence: its hidden rows, then its vector or logits.
using Bits = std::vector<float>;

std::vector<Bits> outputs_of(GoldenModel& model, const Batch& batch) {
  const Output output = model.forward(batch);
  const Tensor& rows = output.vectors ? *output.vectors : *output.logits;
  std::vector<Bits> outputs;
  for (int64_t i = 0; i < batch.num_sequences(); ++i) {
    const auto index = static_cast<size_t>(i);
    const Tensor hidden =
        output.hidden.slice_rows(batch.cu_seqlens[index], batch.cu_seqlens[index + 1]);
    const Tensor row = rows.slice_rows(i, i + 1);
    Bits bits(hidden.as<const float>().begin(), hidden.as<const float>().end());
    bits.insert(bits.end(), row.as<const float>().begin(), row.as<const float>().end());
    outputs.push_back(std::move(bits));
  }
  return outputs;
}

bool same_bits(const Bits& a, const Bits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Case {
  std::string model;
  cpu::Isa isa;
  DType product;
};

void PrintTo(const Case& test, std::ostream* out) {
  *out << test.model << " " << to_string(test.isa) << " " << to_string(test.product);
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const std::string& model : kGoldenModels) {
    for (const cpu::Isa isa : cpu::supported_isas(cpu_features())) {
      all.push_back({model, isa, DType::kF32});
      if (cpu::has_bf16_products(isa)) all.push_back({model, isa, DType::kBF16});
    }
  }
  return all;
}

class BitEqualityTest : public testing::TestWithParam<Case> {};

TEST_P(BitEqualityTest, BatchEqualsSingleInAnyOrderAtAnyThreadCount) {
  const GoldenFiles files(GetParam().model);
  const Precision precision{.hidden = DType::kF32, .product = GetParam().product};
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  std::mt19937 shuffle(random.seed());

  GoldenModel single(files, GetParam().isa, precision, 1);
  std::vector<Bits> alone;
  for (size_t i = 0; i < files.num_sequences(); ++i)
    alone.push_back(outputs_of(single, files.batch_of({i})).front());

  std::vector<size_t> order(files.num_sequences());
  std::iota(order.begin(), order.end(), 0);
  for (const int threads : {1, 2, 3}) {
    GoldenModel model(files, GetParam().isa, precision, threads);
    for (int round = 0; round < 4; ++round) {
      const auto outputs = outputs_of(model, files.batch_of(order));
      for (size_t i = 0; i < order.size(); ++i) {
        EXPECT_TRUE(same_bits(outputs[i], alone[order[i]]))
            << threads << " threads, sequence " << order[i] << " as number " << i << " of "
            << order.size();
      }
      // Next another order of another choice, in which a sequence may occur twice.
      order.resize(static_cast<size_t>(random.integer(1, 40)));
      for (size_t& index : order)
        index =
            static_cast<size_t>(random.integer(0, static_cast<int64_t>(files.num_sequences()) - 1));
    }
    order.resize(files.num_sequences());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, shuffle);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BitEqualityTest, testing::ValuesIn(all_cases()),
                         [](const auto& test) {
                           return fmt::format("{}_{}_{}", test.param.model,
                                              to_string(test.param.isa),
                                              to_string(test.param.product));
                         });

}  // namespace
}  // namespace millrace
