// Packing of weights, and sharing out a product's rows and panels over the pool.
#include "kernels/cpu/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cpu/gemm_partition.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar_convert.h"

namespace millrace::cpu {

namespace {

// Panels are only split when that saves a tenth.
constexpr int64_t kLeastGain = 10;
// Weights from this size on, bytes, are not in a cache when their turn comes again.
constexpr int64_t kUncachedBytes = 4 * 1024 * 1024;
// Products of fewer steps (row, panel, k) than this are done before another thread is awake.
constexpr int64_t kLeastSharedProduct = 4096;

int64_t round_up(int64_t a, int64_t multiple) {
  return ceil_div(a, multiple) * multiple;
}

const ProductKernel& product_kernel(const Kernels& kernels, const Factors& factors) {
  const bool widens = factors == Factors{.weight = DType::kBF16};
  const ProductKernel& kernel = widens                 ? kernels.gemm_f32_bf16
                                : factors == Factors{} ? kernels.gemm_f32
                                                       : kernels.gemm_bf16;
  CHECK(factors.x == factors.weight || widens);
  CHECK(kernel.run, "{} has no products of {} by {}", to_string(kernels.isa), to_string(factors.x),
        to_string(factors.weight));
  return kernel;
}

// Of one thread that multiplies `rows` rows with `panels` panels.
int64_t thread_cost(const ProductCost& cost, int64_t rows, int64_t panels) {
  const int64_t tiles = ceil_div(rows, cost.tile_rows);
  const int64_t computed = round_up(rows, cost.row_multiple) + tiles + cost.first_tile;
  return std::max(computed, cost.panel) * panels + rows * cost.row;
}

template <typename Packed, typename Read>
void pack_panel(const PanelShape& shape, int64_t n, int64_t k, int64_t panel, const Read& read,
                Packed* out) {
  const int64_t k_padded = round_up(k, shape.k_multiple);
  out += panel * shape.width * k_padded;
  for (int64_t i = 0; i < k_padded; i += shape.depth) {
    for (int64_t j = 0; j < shape.width; ++j) {
      const int64_t row = panel * shape.width + j;
      for (int64_t d = 0; d < shape.depth; ++d)
        *out++ = row < n && i + d < k ? read(row * k + i + d) : Packed{};
    }
  }
}

}  // namespace

GemmPartition best_partition(int64_t m, int64_t panels, int64_t k, const ProductCost& cost,
                             int64_t num_threads) {
  if (m * panels * k < kLeastSharedProduct) return {};
  GemmPartition best;
  int64_t best_cost = INT64_MAX;
  for (int64_t row_parts = num_threads; row_parts >= 1; --row_parts) {
    if (num_threads % row_parts != 0) continue;
    const int64_t panel_parts = num_threads / row_parts;
    const int64_t thread = thread_cost(cost, ceil_div(m, row_parts), ceil_div(panels, panel_parts));
    if (best_cost - thread > best_cost / kLeastGain) {
      best_cost = thread;
      best = {.row_parts = row_parts, .panel_parts = panel_parts};
    }
  }
  return best;
}

std::string to_string(const GemmPartition& partition) {
  return fmt::format("{} x {}", partition.row_parts, partition.panel_parts);
}

int64_t packed_weight_bytes(const Kernels& kernels, const Factors& factors, int64_t n, int64_t k) {
  const PanelShape& shape = product_kernel(kernels, factors).panel;
  return round_up(n, shape.width) * round_up(k, shape.k_multiple) * size_of(factors.weight);
}

PackedWeight pack_weight(const Kernels& kernels, ThreadPool& pool, const Factors& factors,
                         const void* weight, DType weight_dtype, int64_t n, int64_t k, void* out) {
  const PanelShape& shape = product_kernel(kernels, factors).panel;
  with_reader(weight, weight_dtype, [&](const auto& read) {
    pool.parallel_for(ceil_div(n, shape.width), [&](int64_t panel) {
      if (factors.weight == DType::kBF16) {
        pack_panel(
            shape, n, k, panel, [&](int64_t i) { return bf16_of(read(i)); },
            static_cast<uint16_t*>(out));
      } else {
        pack_panel(shape, n, k, panel, read, static_cast<float*>(out));
      }
    });
  });
  return {.data = out, .n = n, .k = k, .factors = factors};
}

void gemm(const Kernels& kernels, ThreadPool& pool, const GemmArgs& args) {
  if (args.m == 0) return;
  const ProductKernel& kernel = product_kernel(kernels, args.weight.factors);
  const int64_t panels = ceil_div(args.weight.n, kernel.panel.width);
  ProductCost cost = kernel.cost;
  if (args.weight.n * args.weight.k * size_of(args.weight.factors.weight) >= kUncachedBytes)
    cost.panel = cost.uncached_panel;
  const GemmPartition parts =
      best_partition(args.m, panels, args.weight.k, cost, pool.num_threads());
  const auto work = [&](int64_t thread) {
    if (thread >= parts.row_parts * parts.panel_parts) return;
    const auto rows = partition(args.m, parts.row_parts, thread / parts.panel_parts);
    const auto cut = partition(panels, parts.panel_parts, thread % parts.panel_parts);
    if (rows.begin == rows.end || cut.begin == cut.end) return;
    kernel.run(args, {.row_begin = rows.begin,
                      .row_end = rows.end,
                      .panel_begin = cut.begin,
                      .panel_end = cut.end});
  };
  if (parts == GemmPartition{}) return work(0);
  pool.run(work);
}

}  // namespace millrace::cpu
