// The program of the op tests; with --bench, of their benchmark: time, rates, the share of the
// ceiling measured in the same run, and the ratio to a library.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <iostream>
#include <thread>

#include "base/json.h"
#include "ops/op_cases.h"
#include "ops/paged_bench.h"

namespace millrace {
namespace {

// FLOP/s of a large product in the backend's types.
double product_rate(const Backend& backend, TestDevice& device, int64_t size) {
  Ops& ops = device.ops();
  const std::vector<float> values = cpu::Random().normal(size * size);
  std::vector<float> weight = values;
  Linear linear{.weight = Tensor::contiguous(weight.data(), DType::kF32, {size, size})};
  ops.prepare(linear);
  const Activation x{.values = device.upload(values, backend.precision.product, size),
                     .format = linear.input};
  ops.finish_loading();
  const Batch batch;
  ops.begin_step(batch);
  device.run([&] { ops.linear(x, linear); });
  return 2.0 * static_cast<double>(size * size * size) / device.seconds();
}

// Microseconds by the name of a case, "{backend} {case}", of a library on the same device.
using LibraryTimes = json::object;

void bench(const Backend& backend, const LibraryTimes& library, bool paged_only) {
  const bool gpu = tests_a_gpu();
  const int64_t num_tokens = gpu ? 16384 : 2048;
  const TestSizes sizes = {
      .arena_bytes = int64_t{1} << 28,
      .max_num_tokens = num_tokens,
      .max_num_sequences = num_tokens,
      .num_threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency())),
      .compares = false};
  const auto make = [&] { return backend.make(sizes); };
  const double copy = make()->copy_rate();
  const double product = product_rate(backend, *make(), gpu ? 8192 : 1024);
  fmt::print("{}: copies {:.0f} GB/s, products {:.2f} TFLOP/s\n", backend.name, copy / 1e9,
             product / 1e12);
  if (paged_only) {
    bench_paged_attention(make, copy, product);
    return;
  }
  fmt::print("| {:<34} | {:>9} | {:>7} | {:>7} | {:>10} | {:>9} |\n", "op", "us", "GB/s", "TFLOP/s",
             "of ceiling", "x library");
  for (const OpCase& op : bench_cases(num_tokens)) {
    cpu::Random random;
    TraceTestDevice cost(backend.precision);
    op.run(cost, random);
    const auto device = make();
    op.run(*device, random);
    const double seconds = device->seconds();
    const double floor = std::max(cost.bytes() / copy, cost.flops() / product);
    const auto* theirs = library.if_contains(backend.name + " " + op.name);
    fmt::print("| {:<34} | {:>9.1f} | {:>7.0f} | {:>7.2f} | {:>9.0f}% | {:>9} |\n", op.name,
               seconds * 1e6, cost.bytes() / seconds / 1e9, cost.flops() / seconds / 1e12,
               100 * floor / seconds,
               theirs ? fmt::format("{:.2f}", theirs->to_number<double>() / (seconds * 1e6)) : "");
    std::cout.flush();
  }
  if (gpu) bench_paged_attention(make, copy, product);
}

// test_ops --bench [BACKEND] [TIMES.json] [paged]: that alone, on a GPU
int run_bench(const std::vector<std::string>& arguments) {
  LibraryTimes library;
  std::string wanted;
  bool paged_only = false;
  for (const std::string& argument : arguments) {
    if (argument.ends_with(".json")) {
      library = json::parse_file(argument).as_object();
    } else if (argument == "paged") {
      paged_only = true;
    } else {
      wanted = argument;
    }
  }
  bool found = false;
  for (const Backend& backend : all_backends()) {
    if (!wanted.empty() && backend.name != wanted) continue;
    found = true;
    bench(backend, library, paged_only && tests_a_gpu());
  }
  if (!found) fmt::print(stderr, "there is no backend {}\n", wanted);
  return found ? 0 : 2;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--bench")
    return millrace::run_bench({argv + 2, argv + argc});
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
