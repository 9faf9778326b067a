// Paged keys and values on every backend against sums in double: caches whose blocks are in no
// order and hold NaN where nobody wrote, in steps of one row and of many.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/reference/decoder_reference.h"
#include "kernels/reference/reference.h"
#include "ops/backends.h"

namespace millrace {
namespace {

struct AttentionCase {
  HeadLayout heads;
  int64_t block_size = 16;
  int64_t window = 0;
  float soft_cap = 0;
  int64_t rotary_dim = 0;
  bool interleaved = false;
  bool norms = false;
  int64_t gap = 5;  // elements between rows
};

// One layer's history of some sequences: what was fed, and what should have come of it.
class PagedHistory {
 public:
  PagedHistory(TestDevice& device, cpu::Random& random, const AttentionCase& c, int64_t sequences)
      : device_(device), random_(random), c_(c), past_(static_cast<size_t>(sequences)) {
    const KvCacheSpec spec{
        .groups = {{.window = c.window}},
        .layers = {{.num_kv_heads = 1, .head_dim = 3},  // another layer's
                   {.num_kv_heads = c.heads.num_kv_heads, .head_dim = c.heads.head_dim}}};
    device.ops().allocate_kv_cache(
        spec, {.block_size = c.block_size, .num_blocks = {kBlocks}, .num_host_blocks = {kBlocks}});
    for (const auto* layers :
         {&device.ops().kv_cache().layers, &device.ops().kv_cache().host_layers}) {
      for (const KvLayer& layer : *layers) {
        for (const Tensor& side : {layer.k, layer.v}) device.poison(side);
      }
    }
    free_.resize(kBlocks);
    std::iota(free_.begin(), free_.end(), 0);
    std::ranges::shuffle(free_, std::mt19937(random.seed()));
    for (int64_t i = 0; i < c.rotary_dim / 2; ++i)
      rope_.inverse_frequencies.push_back(1.0f / static_cast<float>(1 + 3 * i));
    rope_.interleaved = c.interleaved;
    rope_.scale = 1.1f;
    q_gamma_ = normal(c.heads.head_dim, 0.3f, 1.0f);
    k_gamma_ = normal(c.heads.head_dim, 0.3f, 1.0f);
  }

  // Feeds `rows[s]` rows to each sequence (none: it is not in the step) and compares.
  double step(const std::vector<int64_t>& rows, const ActivationFormat& consumer) {
    Ops& ops = device_.ops();
    Batch batch;
    std::vector<float> qkv;
    std::vector<double> expected;
    std::vector<size_t> in_step;
    for (size_t s = 0; s < rows.size(); ++s) {
      if (rows[s] == 0) continue;
      in_step.push_back(s);
      const std::vector<float> fed = some_rows(rows[s]);
      qkv.insert(qkv.end(), fed.begin(), fed.end());
      batch.append_rows(std::vector<int32_t>(static_cast<size_t>(rows[s]), 0), past_[s].length);
      const auto out = expect(past_[s], fed, rows[s]);
      expected.insert(expected.end(), out.begin(), out.end());
    }
    batch.kv = {table(batch, in_step)};
    const Tensor input = device_.upload(qkv, hidden(), batch.num_tokens(), c_.gap);
    device_.poison();
    ops.begin_step(batch);
    const Tensor angles = ops.rope_angles(batch, rope_);
    const RmsNorm q_norm{.weight = vector(q_gamma_), .eps = 1e-6f};
    const RmsNorm k_norm{.weight = vector(k_gamma_), .eps = 1e-6f};
    ops.rope_and_write_kv(input, batch, 1, c_.heads, rope_, angles, c_.norms ? &q_norm : nullptr,
                          c_.norms ? &k_norm : nullptr);
    const CausalAttention attention{.heads = c_.heads, .scale = scale(), .soft_cap = c_.soft_cap};
    const Tensor out = ops.paged_attention(input, batch, 1, attention, consumer).values;
    const std::vector<float> values = device_.download(out);
    return reference::max_row_error(values.data(), out.columns(), expected, out.rows(),
                                    out.columns());
  }

  // Moves all blocks: half of them within the device, half by way of the host.
  void move_blocks() {
    std::vector<KvCopy> copies;
    for (Past& past : past_) {
      for (size_t i = 0; i < past.blocks.size(); ++i) {
        const int32_t to = free_.back();
        free_.pop_back();
        if (i % 2 == 0) {
          copies.push_back({.from = past.blocks[i], .to = to});
        } else {
          copies.push_back({.kind = KvCopy::Kind::kToHost, .from = past.blocks[i], .to = 3});
          copies.push_back({.kind = KvCopy::Kind::kFromHost, .from = 3, .to = to});
        }
        past.blocks[i] = to;  // the old block stays unused, as other copies may read it
      }
    }
    device_.ops().copy_kv_blocks(copies);
  }

 private:
  static constexpr int64_t kBlocks = 160;

  struct Past {
    int64_t length = 0;
    std::vector<double> k, v;  // [length, num_kv_heads * head_dim]
    std::vector<int32_t> blocks;
  };

  float scale() const { return 1.3f / std::sqrt(static_cast<float>(c_.heads.head_dim)); }

  DType hidden() const { return device_.ops().precision().hidden; }

  // Values as the device holds them.
  std::vector<float> normal(int64_t count, float deviation = 1.0f, float mean = 0.0f) {
    return rounded(random_.normal(count, deviation, mean), hidden());
  }

  // Queries, keys and values. The values are around one: sums near zero would make a relative error
  // of nothing.
  std::vector<float> some_rows(int64_t rows) {
    std::vector<float> fed = random_.normal(rows * c_.heads.width());
    const int64_t first_value = (c_.heads.num_heads + c_.heads.num_kv_heads) * c_.heads.head_dim;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t j = first_value; j < c_.heads.width(); ++j)
        fed[static_cast<size_t>(row * c_.heads.width() + j)] += 1.0f;
    }
    return rounded(std::move(fed), hidden());
  }

  Tensor vector(const std::vector<float>& values) {
    return Tensor::contiguous(device_.upload(values, hidden(), 1).data, hidden(),
                              {static_cast<int64_t>(values.size())}, device_.ops().device());
  }

  // One head's rows, normalised and rotated.
  std::vector<double> turn(std::vector<double> x, const std::vector<float>& gamma, int64_t first,
                           int64_t rows) const {
    std::vector<int32_t> positions(static_cast<size_t>(rows));
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    const int64_t head_dim = c_.heads.head_dim;
    if (c_.norms) x = reference::rms_norm(x, gamma, 0, 1e-6, rows, head_dim);
    return reference::rotate(x, positions, rope_.inverse_frequencies,
                             static_cast<double>(rope_.scale), c_.interleaved, head_dim);
  }

  std::vector<double> expect(Past& past, const std::vector<float>& fed, int64_t rows) const {
    const auto& heads = c_.heads;
    const int64_t head_dim = heads.head_dim;
    const int64_t all = heads.num_heads + 2 * heads.num_kv_heads;
    // Columns of heads [first, first + count) of all rows, turned where they are queries or keys.
    const auto part = [&](int64_t first, int64_t count, const std::vector<float>* gamma) {
      std::vector<double> out(static_cast<size_t>(rows * count * head_dim));
      for (int64_t h = 0; h < count; ++h) {
        std::vector<double> head;
        for (int64_t r = 0; r < rows; ++r) {
          const float* from = fed.data() + (r * all + first + h) * head_dim;
          head.insert(head.end(), from, from + head_dim);
        }
        if (gamma) head = turn(std::move(head), *gamma, past.length, rows);
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(head.begin() + r * head_dim, head_dim,
                      out.begin() + (r * count + h) * head_dim);
      }
      return out;
    };
    const auto append = [](std::vector<double>& to, const std::vector<double>& more) {
      to.insert(to.end(), more.begin(), more.end());
    };
    const std::vector<double> q = part(0, heads.num_heads, &q_gamma_);
    append(past.k, part(heads.num_heads, heads.num_kv_heads, &k_gamma_));
    append(past.v, part(heads.num_heads + heads.num_kv_heads, heads.num_kv_heads, nullptr));
    past.length += rows;
    return reference::causal_attention(q, past.k, past.v,
                                       {.heads = heads.num_heads,
                                        .kv_heads = heads.num_kv_heads,
                                        .head_dim = head_dim,
                                        .window = c_.window,
                                        .scale = static_cast<double>(scale()),
                                        .soft_cap = static_cast<double>(c_.soft_cap)});
  }

  KvBatch table(const Batch& batch, const std::vector<size_t>& in_step) {
    KvBatch kv{.table_width = 40};
    for (size_t i = 0; i < in_step.size(); ++i) {
      Past& past = past_[in_step[i]];
      while (static_cast<int64_t>(past.blocks.size()) * c_.block_size < past.length) {
        past.blocks.push_back(free_.back());
        free_.pop_back();
      }
      std::vector<int32_t> row = past.blocks;
      row.resize(40, -1);
      kv.block_table.insert(kv.block_table.end(), row.begin(), row.end());
      for (int32_t r = batch.cu_seqlens[i]; r < batch.cu_seqlens[i + 1]; ++r) {
        const int64_t position = batch.position_ids[static_cast<size_t>(r)];
        const int32_t block = past.blocks[static_cast<size_t>(position / c_.block_size)];
        kv.slot_mapping.push_back(
            static_cast<int32_t>(block * c_.block_size + position % c_.block_size));
      }
    }
    return kv;
  }

  TestDevice& device_;
  cpu::Random& random_;
  AttentionCase c_;
  Rope rope_;
  std::vector<float> q_gamma_, k_gamma_;
  std::vector<Past> past_;
  std::vector<int32_t> free_;
};

// ||out - ref|| / ||ref|| of a row. Of 16-bit values queries and keys are rounded once more than in
// the attention of ops_test.cpp, after their rotation.
double bound_of(const Precision& precision) {
  if (precision.hidden == DType::kBF16) return 1e-2;
  if (precision.hidden == DType::kF16) return 1.25e-3;
  return precision.product == DType::kBF16 ? 4e-3 : 3e-6;
}

class PagedAttentionTest : public testing::TestWithParam<Backend> {};

TEST_P(PagedAttentionTest, AgreesWithTheReference) {
  const std::vector<AttentionCase> cases = {
      {.heads = {.num_heads = 6, .num_kv_heads = 6, .head_dim = 12}, .rotary_dim = 12},
      {.heads = {.num_heads = 6, .num_kv_heads = 2, .head_dim = 20},
       .block_size = 48,
       .rotary_dim = 14,
       .norms = true},
      {.heads = {.num_heads = 8, .num_kv_heads = 1, .head_dim = 64},
       .window = 7,
       .rotary_dim = 64,
       .interleaved = true,
       .gap = 0},
      {.heads = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 128},
       .block_size = 32,
       .window = 130,
       .soft_cap = 1.5f,
       .rotary_dim = 128,
       .norms = true,
       .gap = 0},
      {.heads = {.num_heads = 16, .num_kv_heads = 2, .head_dim = 128},
       .block_size = 32,
       .rotary_dim = 64,
       .gap = 8},
      {.heads = {.num_heads = 3, .num_kv_heads = 1, .head_dim = 80}, .rotary_dim = 32, .gap = 0},
      {.heads = {.num_heads = 71, .num_kv_heads = 1, .head_dim = 2}, .rotary_dim = 2},
      {.heads = {.num_heads = 2, .num_kv_heads = 1, .head_dim = 256},
       .soft_cap = 30.0f,
       .rotary_dim = 256,
       .gap = 0},
  };
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  const double bound = bound_of(GetParam().precision);
  double worst = 0;
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(fmt::format("{} heads of {}, {} of keys, window {}", c.heads.num_heads,
                             c.heads.head_dim, c.heads.num_kv_heads, c.window));
    const std::unique_ptr<TestDevice> device = GetParam().make({});
    const ActivationFormat product{.dtype = GetParam().precision.product};
    PagedHistory history(*device, random, c, 4);
    const auto step = [&](const std::vector<int64_t>& rows) {
      const double error = history.step(rows, product);
      EXPECT_LE(error, bound) << fmt::format("rows {}", fmt::join(rows, ", "));
      worst = std::max(worst, error);
    };
    step({1, 40, 0, 17});
    step({1, 1, 0, 1});
    step({1, 65, 200, 0});
    history.move_blocks();
    step({2, 1, 1, 3});
    step({0, 0, 1, 0});
    step({300, 1, 0, 9});
    step({1, 8, 1, 1});
  }
  std::cout << "[          ] worst of " << GetParam().name << ": " << worst << "\n";
}

INSTANTIATE_TEST_SUITE_P(Backends, PagedAttentionTest, testing::ValuesIn(all_backends()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace millrace
