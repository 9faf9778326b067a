// Every op of decoders on every CPU backend against sums in double, over sizes that fill no tile
// evenly and caches whose blocks are in no order.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/reference/decoder_reference.h"
#include "kernels/reference/reference.h"
#include "ops/backends.h"

namespace millrace {
namespace {

// ||out - ref|| / ||ref|| of a row, by the dtype of the result: see ops_test.cpp.
double bound_of(DType result) {
  return result == DType::kBF16 ? 4e-3 : 4e-6;
}

std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

std::vector<Backend> cpu_backends() {
  std::vector<Backend> all;
  add_cpu_backends(all);
  return all;
}

class DecoderOpsTest : public testing::TestWithParam<Backend> {
 protected:
  void expect_near(const Tensor& out, const std::vector<double>& expected) {
    ASSERT_EQ(static_cast<size_t>(out.numel()), expected.size()) << to_string(out);
    const std::vector<float> values = device_->download(out);
    EXPECT_LE(
        reference::max_row_error(values.data(), out.columns(), expected, out.rows(), out.columns()),
        bound_of(out.dtype));
  }

  Tensor upload(const std::vector<float>& values, int64_t rows, int64_t gap = 0) {
    return device_->upload(values, DType::kF32, rows, gap);
  }

  RmsNorm norm(std::vector<float>& gamma, int64_t width, float offset) {
    gamma = random_.normal(width, 0.3f, 1.0f - offset);
    const Tensor row = upload(gamma, 1);
    return {.weight = Tensor::contiguous(row.data, DType::kF32, {width}),
            .eps = 1e-5f,
            .offset = offset};
  }

  ActivationFormat product() { return {.dtype = ops().precision().product}; }
  Ops& ops() { return device_->ops(); }

  cpu::Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "MILLRACE_TEST_SEED=" + std::to_string(random_.seed())};
  std::unique_ptr<TestDevice> device_ = GetParam().make({});
};

TEST_P(DecoderOpsTest, EmbedTokens) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int64_t width : {1, 17, 384}) {
      constexpr int64_t kVocab = 23;
      const std::vector<float> values = rounded(random_.normal(kVocab * width), dtype);
      const Tensor table = ops().place_table(device_->upload(values, dtype, kVocab));
      Batch batch;
      std::vector<double> expected;
      for (int i = 0; i < 70; ++i) {
        const auto id = static_cast<int32_t>(random_.integer(0, kVocab - 1));
        batch.append_rows(std::vector{id}, i);
        for (int64_t j = 0; j < width; ++j)
          expected.push_back(2.5 *
                             static_cast<double>(values[static_cast<size_t>(id * width + j)]));
      }
      device_->poison();
      expect_near(ops().embed_tokens(batch, table, 2.5f), expected);
    }
  }
}

// A step that follows a sample() before anybody has read it names the tokens by their rows.
TEST_P(DecoderOpsTest, EmbedSampledTokens) {
  constexpr int64_t kVocab = 23, kWidth = 8;
  const std::vector<float> values = random_.normal(kVocab * kWidth);
  const Tensor table = ops().place_table(device_->upload(values, DType::kF32, kVocab));
  const Tensor logits = device_->upload(std::vector<float>(kVocab, 1), DType::kF32, 1);
  SamplingBatch sampling;
  for (const int32_t token : {9, 22, 4}) sampling.append({.given_token = token});
  device_->poison();
  ops().sample(logits, sampling);
  Batch batch;
  const std::vector<int32_t> ids = {~1, 3, ~2, ~0};
  batch.append_rows(ids, 0);
  std::vector<double> expected;
  for (const size_t token : {22, 3, 4, 9})
    for (size_t j = 0; j < kWidth; ++j)
      expected.push_back(static_cast<double>(values[token * kWidth + j]));
  expect_near(ops().embed_tokens(batch, table, 1.0f), expected);
  batch.token_ids[0] = ~3;
  EXPECT_THROW(ops().embed_tokens(batch, table, 1.0f), InternalError) << "no such row";
}

TEST_P(DecoderOpsTest, RmsNorms) {
  for (const int64_t rows : {1, 3, 70}) {
    for (const int64_t width : {16, 17, 72, 383, 1024}) {
      for (const float offset : {0.0f, 1.0f}) {
        std::vector<float> gamma, delta_gamma;
        const RmsNorm main = norm(gamma, width, offset);
        const RmsNorm post = norm(delta_gamma, width, offset);
        const std::vector<float> x = random_.normal(rows * width, 2.0f, 0.5f);
        const std::vector<float> delta = random_.normal(rows * width);
        device_->poison();
        expect_near(ops().rms_norm(upload(x, rows, 3), main, product()).values,
                    reference::rms_norm(doubles(x), gamma, offset, 1e-5, rows, width));
        for (const bool normed : {false, true}) {
          HiddenStates hidden{.residual = upload(x, rows, 5)};
          hidden.normed = {.values = ops().arena().allocate(product().dtype, {rows, width}),
                           .format = product()};
          ops().add_rms_norm(hidden, {.values = upload(delta, rows, 1)},
                             {.scale = 0.4f, .norm = normed ? &post : nullptr}, main);
          std::vector<double> sum = doubles(delta);
          if (normed) sum = reference::rms_norm(sum, delta_gamma, offset, 1e-5, rows, width);
          for (size_t i = 0; i < sum.size(); ++i)
            sum[i] = static_cast<double>(x[i]) + static_cast<double>(0.4f) * sum[i];
          expect_near(hidden.residual, sum);
          expect_near(hidden.normed.values,
                      reference::rms_norm(sum, gamma, offset, 1e-5, rows, width));
        }
      }
    }
  }
}

TEST_P(DecoderOpsTest, GatedActivations) {
  using F = ActivationFunction;
  using R = reference::Activation;
  const std::pair<F, R> functions[] = {{F::kSilu, R::kSilu},
                                       {F::kGelu, R::kGelu},
                                       {F::kGeluTanh, R::kGeluTanh},
                                       {F::kRelu, R::kRelu}};
  for (const auto& [function, expected_function] : functions) {
    for (const int64_t width : {1, 19, 200}) {
      constexpr int64_t kRows = 37;
      // Gates away from zero, whose relative error means nothing.
      const std::vector<float> x = random_.normal(kRows * 2 * width, 0.5f, 2.0f);
      std::vector<double> expected;
      for (int64_t row = 0; row < kRows; ++row) {
        const float* gate = x.data() + row * 2 * width;
        for (int64_t j = 0; j < width; ++j)
          expected.push_back(reference::activate(expected_function, static_cast<double>(gate[j])) *
                             static_cast<double>(gate[width + j]));
      }
      device_->poison();
      expect_near(ops().act_and_mul({.values = upload(x, kRows, 3)}, function, product()).values,
                  expected);
    }
  }
}

TEST_P(DecoderOpsTest, GatheredRowsAndCappedLogits) {
  constexpr int64_t kRows = 9;
  constexpr int64_t kWidth = 33;
  const std::vector<float> x = random_.normal(kRows * kWidth, 5.0f);
  const std::vector<int32_t> rows = {0, 3, 3, 8};
  device_->poison();
  const Activation out = ops().gather_rows({.values = upload(x, kRows, 2)}, rows);
  const std::vector<float> values = device_->download(out.values);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < kWidth; ++j)
      EXPECT_EQ(values[i * kWidth + j], x[static_cast<size_t>(rows[i]) * kWidth + j]);
  }
  for (const float cap : {0.0f, 4.0f}) {
    const Tensor logits = upload(x, kRows, 2);
    ops().scale_and_cap(logits, 0.5f, cap);
    std::vector<double> expected;
    for (const float value : x) {
      const double scaled = 0.5 * static_cast<double>(value);
      expected.push_back(cap > 0 ? 4 * std::tanh(scaled / 4) : scaled);
    }
    expect_near(logits, expected);
  }
}

// --- paged keys and values -----------------------------------------------------------------------

struct AttentionCase {
  HeadLayout heads;
  int64_t block_size = 16;
  int64_t window = 0;
  float soft_cap = 0;
  int64_t rotary_dim = 0;
  bool interleaved = false;
  bool norms = false;
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
        for (const Tensor& side : {layer.k, layer.v})
          std::memset(side.data, 0xff, static_cast<size_t>(side.bytes()));
      }
    }
    free_.resize(kBlocks);
    std::iota(free_.begin(), free_.end(), 0);
    std::ranges::shuffle(free_, std::mt19937(random.seed()));
    for (int64_t i = 0; i < c.rotary_dim / 2; ++i)
      rope_.inverse_frequencies.push_back(1.0f / static_cast<float>(1 + 3 * i));
    rope_.interleaved = c.interleaved;
    rope_.scale = 1.1f;
    q_gamma_ = random.normal(c.heads.head_dim, 0.3f, 1.0f);
    k_gamma_ = random.normal(c.heads.head_dim, 0.3f, 1.0f);
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
      const std::vector<float> fed = random_.normal(rows[s] * c_.heads.width());
      qkv.insert(qkv.end(), fed.begin(), fed.end());
      batch.append_rows(std::vector<int32_t>(static_cast<size_t>(rows[s]), 0), past_[s].length);
      const auto out = expect(past_[s], fed, rows[s]);
      expected.insert(expected.end(), out.begin(), out.end());
    }
    batch.kv = {table(batch, in_step)};
    const Tensor input = device_.upload(qkv, DType::kF32, batch.num_tokens(), 5);
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
  static constexpr int64_t kBlocks = 128;

  struct Past {
    int64_t length = 0;
    std::vector<double> k, v;  // [length, num_kv_heads * head_dim]
    std::vector<int32_t> blocks;
  };

  float scale() const { return 1.3f / std::sqrt(static_cast<float>(c_.heads.head_dim)); }

  Tensor vector(const std::vector<float>& values) {
    return Tensor::contiguous(device_.upload(values, DType::kF32, 1).data, DType::kF32,
                              {static_cast<int64_t>(values.size())});
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

TEST_P(DecoderOpsTest, PagedAttention) {
  const std::vector<AttentionCase> cases = {
      {.heads = {.num_heads = 6, .num_kv_heads = 6, .head_dim = 12}, .rotary_dim = 12},
      {.heads = {.num_heads = 6, .num_kv_heads = 2, .head_dim = 20},
       .block_size = 48,
       .rotary_dim = 14,
       .norms = true},
      {.heads = {.num_heads = 8, .num_kv_heads = 1, .head_dim = 64},
       .window = 7,
       .rotary_dim = 64,
       .interleaved = true},
      {.heads = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 128},
       .block_size = 32,
       .window = 130,
       .soft_cap = 1.5f,
       .rotary_dim = 128,
       .norms = true},
      {.heads = {.num_heads = 71, .num_kv_heads = 1, .head_dim = 2}, .rotary_dim = 2},
      {.heads = {.num_heads = 2, .num_kv_heads = 1, .head_dim = 256},
       .soft_cap = 30.0f,
       .rotary_dim = 256},
  };
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(fmt::format("{} heads of {}, {} of keys, window {}", c.heads.num_heads,
                             c.heads.head_dim, c.heads.num_kv_heads, c.window));
    PagedHistory history(*device_, random_, c, 4);
    const double bound = bound_of(product().dtype);
    EXPECT_LE(history.step({1, 40, 0, 17}, product()), bound);
    EXPECT_LE(history.step({1, 1, 0, 1}, product()), bound);
    EXPECT_LE(history.step({1, 65, 200, 0}, product()), bound);
    history.move_blocks();
    EXPECT_LE(history.step({2, 1, 1, 3}, product()), bound);
    EXPECT_LE(history.step({0, 0, 1, 0}, product()), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, DecoderOpsTest, testing::ValuesIn(cpu_backends()),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace
}  // namespace millrace
