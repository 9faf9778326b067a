// Each op once: its inputs, the call, and what the reference says.
#include "ops/op_cases.h"

#include <numeric>

#include "kernels/reference/reference.h"
#include "ops/op_case_tools.h"

namespace millrace {
namespace {

using cpu::Random;
using Lengths = std::vector<int64_t>;

Batch random_batch(Random& random, const Lengths& lengths, int64_t vocab, int64_t types) {
  Batch batch;
  for (const int64_t length : lengths) {
    std::vector<int32_t> ids;
    std::vector<int32_t> type_ids;
    for (int64_t i = 0; i < length; ++i) {
      ids.push_back(static_cast<int32_t>(random.integer(0, vocab - 1)));
      type_ids.push_back(static_cast<int32_t>(random.integer(0, types - 1)));
    }
    batch.append(ids, type_ids);
  }
  return batch;
}

// A norm with its values on the host and on the device.
struct TestNorm {
  TestNorm(TestDevice& device, Random& random, int64_t width)
      : gamma(normal(device, random, width, 0.5f, 1.0f)), beta(normal(device, random, width)) {
    placed = {.weight = device.ops().place(host_tensor(gamma, {width})),
              .bias = device.ops().place(host_tensor(beta, {width})),
              .eps = 1e-6f};
  }

  std::vector<float> gamma, beta;
  LayerNorm placed;
};

// --- the ops -------------------------------------------------------------------------------------

OpError run_embed(TestDevice& device, Random& random, const Lengths& lengths, int64_t width,
                  bool all_tables, int64_t vocab) {
  constexpr int64_t kTypes = 2;
  Ops& ops = device.ops();
  const int64_t positions = *std::ranges::max_element(lengths);
  std::vector<float> word = normal(device, random, vocab * width);
  std::vector<float> position = normal(device, random, positions * width);
  std::vector<float> type = normal(device, random, kTypes * width);
  const TestNorm norm(device, random, width);
  const Batch batch = random_batch(random, lengths, vocab, kTypes);
  EmbeddingTables tables{.word = ops.place(host_tensor(word, {vocab, width}))};
  std::vector<std::vector<float>> values = {word};
  std::vector<std::vector<int32_t>> indices = {batch.token_ids};
  if (all_tables) {
    tables.position = ops.place(host_tensor(position, {positions, width}));
    tables.token_type = ops.place(host_tensor(type, {kTypes, width}));
    values.insert(values.end(), {position, type});
    indices.insert(indices.end(), {batch.position_ids, batch.token_type_ids});
  }
  device.poison();
  ops.begin_step(batch);
  HiddenStates out;
  device.run(
      [&] { out = ops.embed(batch, tables, norm.placed, format_of(ops.precision().product)); });
  const auto expected = [&] {
    std::vector<float> sums;
    for (const double sum : reference::embed(values, indices, batch.num_tokens(), width))
      sums.push_back(static_cast<float>(sum));
    return reference::layer_norm(sums, {}, norm.gamma, norm.beta, norm.placed.eps,
                                 batch.num_tokens(), width);
  };
  const OpError residual = compare(device, out.residual, expected);
  EXPECT_LE(residual.value, bound_of(residual));
  return compare(device, out.normed.values, expected);
}

struct LinearSize {
  int64_t rows, out, in, gap;
};

OpError run_linear(TestDevice& device, Random& random, const LinearSize& size, bool with_bias,
                   ActivationFunction function, reference::Activation expected_function,
                   bool for_product) {
  Ops& ops = device.ops();
  // Few outputs near zero would make a relative error of nothing: such sums are of one sign.
  const float mean = size.out < 16 ? 3.0f : 0.0f;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size.in));
  std::vector<float> weight = random.normal(size.out * size.in, scale, mean * scale);
  std::vector<float> bias =
      with_bias ? normal(device, random, size.out, 0.3f, mean) : std::vector<float>{};
  Linear linear{.weight = host_tensor(weight, {size.out, size.in})};
  if (with_bias) linear.bias = host_tensor(bias, {size.out});
  ops.prepare(linear);
  EXPECT_EQ(linear.input.dtype, ops.precision().product);
  const std::vector<float> x = random.normal(size.rows * size.in, 1.0f, mean);
  const Activation input{.values = device.upload(x, linear.input.dtype, size.rows, size.gap),
                         .format = linear.input};
  const ActivationFormat consumer = for_product ? linear.input : ops.hidden_format();
  device.poison();
  Activation out;
  device.run([&] { out = ops.linear(input, linear, function, consumer); });
  EXPECT_EQ(out.format, consumer);
  return compare(device, out.values, [&] {
    return reference::linear(rounded(x, linear.input.dtype), rounded(weight, linear.input.dtype),
                             bias, expected_function, size.rows, size.out, size.in);
  });
}

OpError run_add_layer_norm(TestDevice& device, Random& random, int64_t rows, int64_t width,
                           int64_t gap) {
  Ops& ops = device.ops();
  const TestNorm norm(device, random, width);
  const std::vector<float> x = normal(device, random, rows * width, 2.0f, 0.5f);
  const std::vector<float> delta = normal(device, random, rows * width);
  const Tensor change = device.upload(delta, ops.precision().hidden, rows, gap);
  device.poison();
  HiddenStates hidden{.residual = device.upload(x, ops.precision().hidden, rows)};
  hidden.normed.format = format_of(ops.precision().product);
  hidden.normed.values = ops.precision().product == ops.precision().hidden
                             ? hidden.residual
                             : ops.arena().allocate(ops.precision().product, {rows, width});
  device.run([&] {
    ops.add_layer_norm(hidden, {.values = change, .format = ops.hidden_format()}, norm.placed);
  });
  const auto expected = [&] {
    return reference::layer_norm(x, delta, norm.gamma, norm.beta, norm.placed.eps, rows, width);
  };
  const OpError residual = compare(device, hidden.residual, expected);
  EXPECT_LE(residual.value, bound_of(residual));
  return compare(device, hidden.normed.values, expected);
}

OpError run_attention(TestDevice& device, Random& random, const Lengths& lengths, int64_t heads,
                      int64_t head_dim, int64_t gap) {
  Ops& ops = device.ops();
  const Batch batch = random_batch(random, lengths, 2, 1);
  const int64_t rows = batch.num_tokens();
  const int64_t width = heads * head_dim;
  const std::vector<float> qkv = normal(device, random, rows * 3 * width);
  const AttentionShape shape{.num_heads = heads,
                             .head_dim = head_dim,
                             .scale = 1.3f / std::sqrt(static_cast<float>(head_dim))};
  const Activation input{.values = device.upload(qkv, ops.precision().hidden, rows, gap),
                         .format = ops.hidden_format()};
  device.poison();
  ops.begin_step(batch);
  Activation out;
  device.run([&] { out = ops.attention(input, batch, shape, format_of(ops.precision().product)); });
  return compare(device, out.values, [&] {
    std::vector<std::vector<float>> parts(3);
    for (int64_t i = 0; i < rows * 3; ++i) {
      auto& part = parts[static_cast<size_t>(i % 3)];
      part.insert(part.end(), qkv.data() + i * width, qkv.data() + (i + 1) * width);
    }
    return reference::attention(parts[0], parts[1], parts[2], batch.cu_seqlens, heads, head_dim,
                                shape.scale);
  });
}

OpError run_pool(TestDevice& device, Random& random, const Lengths& lengths, int64_t width,
                 int64_t gap, PoolingMode mode, reference::Pooling expected_mode) {
  Ops& ops = device.ops();
  const Batch batch = random_batch(random, lengths, 2, 1);
  const std::vector<float> x = normal(device, random, batch.num_tokens() * width, 1.0f, 0.2f);
  const Tensor hidden = device.upload(x, ops.precision().hidden, batch.num_tokens(), gap);
  device.poison();
  ops.begin_step(batch);
  Tensor out;
  device.run([&] { out = ops.pool(hidden, batch, mode); });
  return compare(device, out,
                 [&] { return reference::pool_rows(x, batch.cu_seqlens, expected_mode, width); });
}

OpError run_normalize_rows(TestDevice& device, Random& random, int64_t rows, int64_t width,
                           int64_t gap) {
  std::vector<float> x = random.normal(rows * width);
  std::fill_n(x.begin(), width, 0.0f);  // a row without a direction stays zero
  const Tensor out = device.upload(x, DType::kF32, rows, gap);
  device.poison();
  device.run([&] { device.ops().normalize_rows(out); });
  return compare(device, out, [&] { return reference::l2_normalize(x, rows, width); });
}

OpError run_as_input(TestDevice& device, Random& random, int64_t rows, int64_t width) {
  Ops& ops = device.ops();
  const std::vector<float> x = normal(device, random, rows * width);
  const Tensor hidden = device.upload(x, ops.precision().hidden, rows, 2);
  device.poison();
  Activation out;
  device.run([&] { out = ops.as_input(hidden, format_of(ops.precision().product)); });
  EXPECT_EQ(out.values.data == hidden.data, ops.precision().product == ops.precision().hidden);
  return compare(device, out.values, [&] { return std::vector<double>(x.begin(), x.end()); });
}

// --- the tables ----------------------------------------------------------------------------------

const Lengths kMixed = {1, 7, 64, 2, 33, 129, 1};
const Lengths kSingle = {5};
const Lengths kToken = {1};

std::string text_of(const Lengths& lengths) {
  std::string text;
  for (const int64_t length : lengths) text += fmt::format("_{}", length);
  return text;
}

}  // namespace

double bound_of(const OpError& error) {
  if (error.result == DType::kBF16) return error.hidden == DType::kBF16 ? 8e-3 : 4e-3;
  return error.result == DType::kF16 ? 1e-3 : 4e-6;
}

std::vector<OpCase> test_cases() {
  std::vector<OpCase> all;
  const auto add = [&](auto&&... arguments) { all.push_back(make_case(arguments...)); };

  for (const Lengths& lengths : {kMixed, kSingle, kToken}) {
    for (const int64_t width : {17, 72, 384}) {
      for (const bool all_tables : {false, true})
        add(fmt::format("embed{}_x{}{}", text_of(lengths), width, all_tables ? "_all" : "_word"),
            run_embed, lengths, width, all_tables, int64_t{37});
    }
  }

  using F = ActivationFunction;
  using R = reference::Activation;
  const std::pair<F, R> functions[] = {{F::kNone, R::kNone},         {F::kGelu, R::kGelu},
                                       {F::kGeluTanh, R::kGeluTanh}, {F::kRelu, R::kRelu},
                                       {F::kSilu, R::kSilu},         {F::kTanh, R::kTanh}};
  const LinearSize sizes[] = {{1, 1, 1, 0},      {1, 3, 72, 0},     {13, 1, 33, 5},
                              {1, 384, 384, 0},  {5, 17, 31, 3},    {31, 65, 129, 1},
                              {200, 72, 200, 0}, {67, 100, 513, 64}};
  for (const LinearSize& size : sizes) {
    for (const auto& [function, expected] : functions) {
      for (const bool for_product : {false, true})
        add(fmt::format("linear_{}x{}x{}_{}{}", size.rows, size.out, size.in, to_string(function),
                        for_product ? "_product" : ""),
            run_linear, size, true, function, expected, for_product);
    }
    add(fmt::format("linear_{}x{}x{}_no_bias", size.rows, size.out, size.in), run_linear, size,
        false, F::kNone, R::kNone, false);
  }

  for (const int64_t rows : {1, 3, 70}) {
    for (const int64_t width : {16, 17, 72, 383, 768}) {
      add(fmt::format("add_layer_norm_{}x{}", rows, width), run_add_layer_norm, rows, width,
          int64_t{3});
      add(fmt::format("add_layer_norm_{}x{}_dense", rows, width), run_add_layer_norm, rows, width,
          int64_t{0});
      add(fmt::format("normalize_rows_{}x{}", rows, width), run_normalize_rows, rows, width,
          int64_t{1});
      add(fmt::format("as_input_{}x{}", rows, width), run_as_input, rows, width);
    }
  }

  for (const Lengths& lengths : {kMixed, kSingle, kToken, Lengths{300}}) {
    for (const auto& [heads, head_dim] :
         std::vector<std::pair<int64_t, int64_t>>{{6, 12}, {16, 1}, {3, 32}, {2, 64}, {1, 100}})
      add(fmt::format("attention{}_{}_heads_of_{}", text_of(lengths), heads, head_dim),
          run_attention, lengths, heads, head_dim, int64_t{5});
    // Rows that begin on 16 bytes have kernels of their own.
    for (const int64_t head_dim : {32, 64, 96, 128}) {
      add(fmt::format("attention{}_2_heads_of_{}_aligned", text_of(lengths), head_dim),
          run_attention, lengths, int64_t{2}, head_dim, int64_t{8});
    }
    const std::pair<PoolingMode, reference::Pooling> modes[] = {
        {PoolingMode::kCls, reference::Pooling::kFirst},
        {PoolingMode::kMean, reference::Pooling::kMean},
        {PoolingMode::kLastToken, reference::Pooling::kLast}};
    for (const auto& [mode, expected] : modes) {
      for (const int64_t width : {19, 72, 384})
        add(fmt::format("pool_{}{}_x{}", to_string(mode), text_of(lengths), width), run_pool,
            lengths, width, int64_t{7}, mode, expected);
    }
  }
  const std::vector<OpCase> more = decoder_row_cases();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<OpCase> bench_cases(int64_t num_tokens) {
  std::vector<OpCase> all;
  const auto add = [&](auto&&... arguments) { all.push_back(make_case(arguments...)); };
  const int64_t t = num_tokens;
  const Lengths lengths(static_cast<size_t>(t / 512), 512);
  using F = ActivationFunction;
  using R = reference::Activation;
  add(fmt::format("embed_{}x768", t), run_embed, lengths, int64_t{768}, true, int64_t{30522});
  add(fmt::format("add_layer_norm_{}x768", t), run_add_layer_norm, t, int64_t{768}, int64_t{0});
  add(fmt::format("linear_{}x2304x768", t), run_linear, LinearSize{t, 2304, 768, 0}, true, F::kNone,
      R::kNone, false);
  add(fmt::format("linear_{}x3072x768_gelu", t), run_linear, LinearSize{t, 3072, 768, 0}, true,
      F::kGelu, R::kGelu, true);
  add(fmt::format("linear_{}x768x3072", t), run_linear, LinearSize{t, 768, 3072, 0}, true, F::kNone,
      R::kNone, false);
  for (const auto& [heads, head_dim] :
       std::vector<std::pair<int64_t, int64_t>>{{12, 32}, {12, 64}, {8, 96}, {8, 128}})
    add(fmt::format("attention_{}x512_{}_heads_of_{}", t / 512, heads, head_dim), run_attention,
        lengths, heads, head_dim, int64_t{0});
  add(fmt::format("pool_mean_{}x512_x768", t / 512), run_pool, lengths, int64_t{768}, int64_t{0},
      PoolingMode::kMean, reference::Pooling::kMean);
  add(fmt::format("normalize_rows_{}x384", t), run_normalize_rows, t, int64_t{384}, int64_t{0});
  const std::vector<OpCase> more = decoder_row_bench_cases(t);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace millrace
