// Every op on every backend against sums in double.
#include <gtest/gtest.h>

#include <iostream>
#include <map>

#include "ops/op_cases.h"

namespace millrace {
namespace {

class OpsTest : public testing::TestWithParam<Backend> {};

TEST_P(OpsTest, EveryOpAgreesWithTheReference) {
  const std::unique_ptr<TestDevice> device = GetParam().make({});
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  std::map<DType, std::pair<double, std::string>> worst;
  for (const OpCase& op : test_cases()) {
    SCOPED_TRACE(op.name);
    const OpError error = op.run(*device, random);
    EXPECT_LE(error.value, bound_of(error)) << to_string(error.result);
    worst[error.result] = std::max(worst[error.result], {error.value, op.name});
  }
  for (const auto& [dtype, error] : worst) {
    std::cout << "[          ] worst of " << to_string(dtype) << ": " << error.first << " in "
              << error.second << "\n";
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, OpsTest, testing::ValuesIn(all_backends()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace millrace
