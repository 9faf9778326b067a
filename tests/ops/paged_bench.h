// The benchmark of attention over paged keys: see test_ops --bench.
#pragma once

#include <functional>
#include <memory>

#include "ops/backends.h"

namespace millrace {

// `make`: devices that measure. Rates in bytes and operations per second, of the same GPU.
void bench_paged_attention(const std::function<std::unique_ptr<TestDevice>()>& make,
                           double copy_rate, double product_rate);

}  // namespace millrace
