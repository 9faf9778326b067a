// Every op on every backend against sums in double.
#include <gtest/gtest.h>

#include <cctype>
#include <iostream>
#include <map>

#include "ops/op_cases.h"

namespace millrace {
namespace {

// The name of the case up to its sizes: linear_31x65x129_gelu is one of linear.
std::string op_of(const OpCase& op) {
  size_t end = op.name.find('_');
  while (end != std::string::npos && std::isdigit(op.name[end + 1]) == 0)
    end = op.name.find('_', end + 1);
  return op.name.substr(0, end);
}

struct OpOnBackend {
  std::string op;
  Backend backend;
};

void PrintTo(const OpOnBackend& one, std::ostream* out) {
  *out << one.op << " on " << one.backend.name;
}

std::vector<OpOnBackend> all_ops() {
  std::map<std::string, int> cases;
  for (const OpCase& op : test_cases()) ++cases[op_of(op)];
  std::vector<OpOnBackend> all;
  for (const Backend& backend : all_backends()) {
    for (const auto& [op, count] : cases) all.push_back({.op = op, .backend = backend});
  }
  return all;
}

class OpsTest : public testing::TestWithParam<OpOnBackend> {};

TEST_P(OpsTest, AgreesWithTheReference) {
  const auto device = GetParam().backend.make({.arena_bytes = int64_t{1} << 23});
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  std::map<DType, std::pair<double, std::string>> worst;
  for (const OpCase& op : test_cases()) {
    if (op_of(op) != GetParam().op) continue;
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

INSTANTIATE_TEST_SUITE_P(Backends, OpsTest, testing::ValuesIn(all_ops()), [](const auto& one) {
  return one.param.backend.name + "_" + one.param.op;
});

}  // namespace
}  // namespace millrace
