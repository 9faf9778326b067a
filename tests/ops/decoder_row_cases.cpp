// Each row-wise op of decoders once: its inputs, the call, and what the reference says.
#include <numeric>

#include "kernels/reference/decoder_reference.h"
#include "ops/op_case_tools.h"

namespace millrace {
namespace {

using cpu::Random;

std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// A step of so many sequences of one token each.
Batch batch_of_ones(int64_t rows) {
  return decoder_batch(std::vector<SequenceLength>(static_cast<size_t>(rows), {1, 1}), 1, 32);
}

// Many values are the same few over and over: they are drawn on the host.
std::vector<float> many_normal(TestDevice& device, Random& random, int64_t count,
                               float deviation = 1.0f, float mean = 0.0f) {
  constexpr int64_t kDrawn = 1'000'003;
  std::vector<float> values = normal(device, random, std::min(count, kDrawn), deviation, mean);
  values.resize(static_cast<size_t>(count));
  for (size_t i = kDrawn; i < values.size(); ++i) values[i] = values[i - kDrawn];
  return values;
}

// A norm with its weights on the host and on the device.
struct TestRmsNorm {
  TestRmsNorm(TestDevice& device, Random& random, int64_t width, float offset)
      : gamma(normal(device, random, width, 0.3f, 1.0f - offset)) {
    placed = {
        .weight = device.ops().place(host_tensor(gamma, {width})), .eps = 1e-5f, .offset = offset};
  }

  std::vector<double> of(const std::vector<double>& x, int64_t rows) const {
    return reference::rms_norm(x, gamma, static_cast<double>(placed.offset), 1e-5, rows,
                               static_cast<int64_t>(gamma.size()));
  }

  std::vector<float> gamma;
  RmsNorm placed;
};

OpError run_embed_tokens(TestDevice& device, Random& random, int64_t rows, int64_t width,
                         int64_t vocab) {
  constexpr float kScale = 2.5f;
  Ops& ops = device.ops();
  std::vector<float> values = many_normal(device, random, vocab * width);
  const Tensor table = ops.place_table(host_tensor(values, {vocab, width}));
  Batch batch = batch_of_ones(rows);
  for (int32_t& id : batch.token_ids) id = static_cast<int32_t>(random.integer(0, vocab - 1));
  device.poison();
  ops.begin_step(batch);
  Tensor out;
  device.run([&] { out = ops.embed_tokens(batch, table, kScale); });
  return compare(device, out, [&] {
    std::vector<double> expected;
    for (const int32_t id : batch.token_ids) {
      for (int64_t j = 0; j < width; ++j)
        expected.push_back(2.5 * static_cast<double>(values[static_cast<size_t>(id * width + j)]));
    }
    return expected;
  });
}

// A step that follows a sample() before anybody has read it names the tokens by their rows.
OpError run_embed_sampled_tokens(TestDevice& device, Random& random) {
  constexpr int64_t kTableRows = 23, kTableWidth = 8;
  Ops& ops = device.ops();
  std::vector<float> values = normal(device, random, kTableRows * kTableWidth);
  const Tensor table = ops.place_table(host_tensor(values, {kTableRows, kTableWidth}));
  const Tensor logits = device.upload(std::vector<float>(kTableRows, 1), DType::kF32, 1);
  SamplingBatch sampling;
  for (const int32_t token : {9, 22, 4}) sampling.append({.given_token = token});
  device.poison();
  ops.sample(logits, sampling);
  Batch batch = batch_of_ones(4);
  batch.token_ids = {~1, 3, ~2, ~0};
  ops.begin_step(batch);
  Tensor out;
  device.run([&] { out = ops.embed_tokens(batch, table, 1.0f); });
  const OpError error = compare(device, out, [&] {
    std::vector<double> expected;
    for (const int64_t token : {22, 3, 4, 9})
      expected.insert(expected.end(), values.begin() + token * kTableWidth,
                      values.begin() + (token + 1) * kTableWidth);
    return expected;
  });
  batch.token_ids[0] = ~3;
  EXPECT_THROW(ops.embed_tokens(batch, table, 1.0f), InternalError) << "no such row";
  return error;
}

OpError run_rms_norm(TestDevice& device, Random& random, int64_t rows, int64_t width, float offset,
                     int64_t gap) {
  Ops& ops = device.ops();
  const TestRmsNorm norm(device, random, width, offset);
  const std::vector<float> x = many_normal(device, random, rows * width, 2.0f, 0.5f);
  const Tensor input = device.upload(x, ops.precision().hidden, rows, gap);
  device.poison();
  Activation out;
  device.run([&] { out = ops.rms_norm(input, norm.placed, format_of(ops.precision().product)); });
  return compare(device, out.values, [&] { return norm.of(doubles(x), rows); });
}

OpError run_add_rms_norm(TestDevice& device, Random& random, int64_t rows, int64_t width,
                         float offset, bool norms_delta, int64_t gap) {
  constexpr float kScale = 0.4f;
  Ops& ops = device.ops();
  const TestRmsNorm norm(device, random, width, offset);
  const TestRmsNorm delta_norm(device, random, width, offset);
  const std::vector<float> x = many_normal(device, random, rows * width, 2.0f, 0.5f);
  const std::vector<float> delta = many_normal(device, random, rows * width);
  const DType hidden_type = ops.precision().hidden;
  const Tensor change = device.upload(delta, hidden_type, rows, gap);
  device.poison();
  HiddenStates hidden{.residual = device.upload(x, hidden_type, rows, gap)};
  hidden.normed.format = format_of(ops.precision().product);
  hidden.normed.values = ops.arena().allocate(ops.precision().product, {rows, width});
  device.run([&] {
    ops.add_rms_norm(hidden, {.values = change, .format = ops.hidden_format()},
                     {.scale = kScale, .norm = norms_delta ? &delta_norm.placed : nullptr},
                     norm.placed);
  });
  std::vector<double> sum;
  if (device.compares()) {
    sum = doubles(delta);
    if (norms_delta) sum = delta_norm.of(sum, rows);
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] = static_cast<double>(x[i]) + static_cast<double>(kScale) * sum[i];
  }
  const OpError residual = compare(device, hidden.residual, [&] { return sum; });
  EXPECT_LE(residual.value, bound_of(residual));
  return compare(device, hidden.normed.values, [&] { return norm.of(sum, rows); });
}

OpError run_act_and_mul(TestDevice& device, Random& random, int64_t rows, int64_t width,
                        int64_t gap, ActivationFunction function, reference::Activation expected) {
  Ops& ops = device.ops();
  // Gates away from zero, whose relative error means nothing.
  const std::vector<float> x = many_normal(device, random, rows * 2 * width, 0.5f, 2.0f);
  const Activation input{.values = device.upload(x, ops.precision().hidden, rows, gap),
                         .format = ops.hidden_format()};
  device.poison();
  Activation out;
  device.run([&] { out = ops.act_and_mul(input, function, format_of(ops.precision().product)); });
  return compare(device, out.values, [&] {
    std::vector<double> products;
    for (int64_t row = 0; row < rows; ++row) {
      const float* gate = x.data() + row * 2 * width;
      for (int64_t j = 0; j < width; ++j)
        products.push_back(reference::activate(expected, static_cast<double>(gate[j])) *
                           static_cast<double>(gate[width + j]));
    }
    return products;
  });
}

OpError run_gather_logits_rows(TestDevice& device, Random& random, int64_t rows, int64_t width,
                               int64_t gap) {
  Ops& ops = device.ops();
  const std::vector<float> x = many_normal(device, random, rows * width);
  const Activation input{.values = device.upload(x, ops.precision().product, rows, gap),
                         .format = format_of(ops.precision().product)};
  Batch batch = batch_of_ones(rows);
  if (rows > 2) batch.logits_rows.erase(batch.logits_rows.begin() + rows / 2);
  device.poison();
  ops.begin_step(batch);
  Activation out;
  device.run([&] { out = ops.gather_logits_rows(input, batch); });
  return compare(device, out.values, [&] {
    std::vector<double> expected;
    const std::vector<float> held = rounded(x, ops.precision().product);
    for (const int32_t row : batch.logits_rows)
      expected.insert(expected.end(), held.begin() + row * width, held.begin() + (row + 1) * width);
    return expected;
  });
}

OpError run_scale_and_cap(TestDevice& device, Random& random, int64_t rows, int64_t width,
                          int64_t gap, float cap) {
  const std::vector<float> x = many_normal(device, random, rows * width, 5.0f);
  const Tensor logits = device.upload(x, DType::kF32, rows, gap);
  device.poison();
  device.run([&] { device.ops().scale_and_cap(logits, 0.5f, cap); });
  return compare(device, logits, [&] {
    std::vector<double> expected;
    const auto c = static_cast<double>(cap);
    for (const float value : x) {
      const double scaled = 0.5 * static_cast<double>(value);
      expected.push_back(cap > 0 ? c * std::tanh(scaled / c) : scaled);
    }
    return expected;
  });
}

OpError run_rope_angles(TestDevice& device, Random& random, int64_t rows, int64_t num_pairs) {
  Ops& ops = device.ops();
  Rope rope{.scale = 1.1f};
  for (int64_t i = 0; i < num_pairs; ++i) {
    rope.inverse_frequencies.push_back(
        std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(num_pairs)));
  }
  Batch batch = batch_of_ones(rows);
  for (int32_t& position : batch.position_ids)
    position = static_cast<int32_t>(random.integer(0, 1 << random.integer(0, 20)));
  device.poison();
  ops.begin_step(batch);
  Tensor out;
  device.run([&] { out = ops.rope_angles(batch, rope); });
  return compare(device, out, [&] {
    std::vector<double> expected;
    for (const int32_t position : batch.position_ids) {
      for (const bool sine : {false, true}) {
        for (const float frequency : rope.inverse_frequencies) {
          const auto angle = static_cast<double>(static_cast<float>(position) * frequency);
          expected.push_back(static_cast<double>(rope.scale) *
                             (sine ? std::sin(angle) : std::cos(angle)));
        }
      }
    }
    return expected;
  });
}

// Rows that ask for the most likely token, or for one of top_p (and top_k, and penalties of the
// tokens so far). Of logits as models have them: few are near the greatest.
enum class Draw : uint8_t { kGreedy, kTopP, kTopKTopPPenalties, kFlat };

OpError run_sample(TestDevice& device, Random& random, int64_t rows, int64_t vocab, Draw draw) {
  Ops& ops = device.ops();
  const std::vector<float> values =
      many_normal(device, random, rows * vocab, draw == Draw::kFlat ? 0.3f : 3.0f);
  const Tensor logits = device.upload(values, DType::kF32, rows);
  const bool penalizes = draw == Draw::kTopKTopPPenalties;
  std::vector<int32_t> tokens(penalizes ? 1000 : 0);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7);
  const std::vector<int32_t> counts(tokens.size(), 1);
  SamplingBatch batch;
  for (int64_t i = 0; i < rows; ++i) {
    batch.append({.logits_row = i,
                  .temperature = draw == Draw::kGreedy ? 0.0f : 1.0f,
                  .top_k = penalizes ? 50 : 0,
                  .top_p = draw == Draw::kGreedy ? 1.0f : 0.9f,
                  .repetition_penalty = penalizes ? 1.1f : 1.0f,
                  .seed = static_cast<uint64_t>(i),
                  .counted_tokens = tokens,
                  .counts = counts});
  }
  device.poison();
  device.run([&] { ops.sample(logits, batch); });
  ops.wait_sampled();
  return {.result = DType::kF32, .hidden = ops.precision().hidden};
}

template <typename Run, typename... Sizes>
void add(std::vector<OpCase>& all, std::string name, Run run, Sizes... sizes) {
  all.push_back(make_case(std::move(name), run, sizes...));
}

using F = ActivationFunction;
using R = reference::Activation;

}  // namespace

std::vector<OpCase> decoder_row_cases() {
  std::vector<OpCase> all;
  for (const int64_t rows : {1, 3, 70}) {
    for (const int64_t width : {1, 17, 72, 384, 2560}) {
      add(all, fmt::format("embed_tokens_{}x{}", rows, width), run_embed_tokens, rows, width,
          int64_t{23});
    }
    for (const int64_t width : {16, 17, 72, 383, 1024, 1032, 3584, 8200}) {
      for (const float offset : {0.0f, 1.0f}) {
        for (const int64_t gap : {0, 3, 8}) {
          const std::string size = fmt::format("{}x{}_offset_{}_gap_{}", rows, width, offset, gap);
          add(all, "rms_norm_" + size, run_rms_norm, rows, width, offset, gap);
          for (const bool norms_delta : {false, true})
            add(all, fmt::format("add_rms_norm_{}{}", size, norms_delta ? "_of_norm" : ""),
                run_add_rms_norm, rows, width, offset, norms_delta, gap);
        }
      }
    }
    const std::pair<F, R> functions[] = {{F::kSilu, R::kSilu},
                                         {F::kGelu, R::kGelu},
                                         {F::kGeluTanh, R::kGeluTanh},
                                         {F::kRelu, R::kRelu}};
    for (const auto& [function, expected] : functions) {
      for (const int64_t width : {1, 19, 200, 2304}) {
        for (const int64_t gap : {0, 3})
          add(all,
              fmt::format("act_and_mul_{}x{}_gap_{}_{}", rows, width, gap, to_string(function)),
              run_act_and_mul, rows, width, gap, function, expected);
      }
    }
    for (const int64_t width : {1, 33, 384}) {
      for (const int64_t gap : {0, 2}) {
        add(all, fmt::format("gather_logits_rows_{}x{}_gap_{}", rows, width, gap),
            run_gather_logits_rows, rows, width, gap);
        if (width == 1) continue;  // a tanh near zero has no relative error to speak of
        for (const float cap : {0.0f, 4.0f})
          add(all, fmt::format("scale_and_cap_{}x{}_gap_{}_cap_{}", rows, width, gap, cap),
              run_scale_and_cap, rows, width, gap, cap);
      }
    }
    for (const int64_t pairs : {1, 20, 64})
      add(all, fmt::format("rope_angles_{}x{}", rows, pairs), run_rope_angles, rows, pairs);
  }
  add(all, "embed_sampled_tokens", run_embed_sampled_tokens);
  add(all, "rms_norm_widest", run_rms_norm, int64_t{5}, int64_t{16384}, 0.0f, int64_t{0});
  add(all, "add_rms_norm_widest", run_add_rms_norm, int64_t{5}, int64_t{16383}, 1.0f, true,
      int64_t{1});
  return all;
}

std::vector<OpCase> decoder_row_bench_cases(int64_t num_tokens) {
  std::vector<OpCase> all;
  constexpr int64_t kHidden = 4096;
  constexpr int64_t kGates = 14336;
  constexpr int64_t kLlamaVocab = 128256;
  const int64_t many = num_tokens / 2;
  for (const int64_t rows : {many, int64_t{64}, int64_t{1}}) {
    add(all, fmt::format("embed_tokens_{}x{}", rows, kHidden), run_embed_tokens, rows, kHidden,
        int64_t{8192});
    add(all, fmt::format("add_rms_norm_{}x{}", rows, kHidden), run_add_rms_norm, rows, kHidden,
        0.0f, false, int64_t{0});
    add(all, fmt::format("act_and_mul_{}x{}_silu", rows / 4 + 1, kGates), run_act_and_mul,
        rows / 4 + 1, kGates, int64_t{0}, F::kSilu, R::kSilu);
  }
  add(all, fmt::format("rope_angles_{}x64", many), run_rope_angles, many, int64_t{64});
  add(all, fmt::format("scale_and_cap_64x{}", kLlamaVocab), run_scale_and_cap, int64_t{64},
      kLlamaVocab, int64_t{0}, 30.0f);
  for (const int64_t rows : {1, 64, 256}) {
    const std::string size = fmt::format("{}x{}", rows, kLlamaVocab);
    add(all, "sample_greedy_" + size, run_sample, rows, kLlamaVocab, Draw::kGreedy);
    add(all, "sample_top_p_" + size, run_sample, rows, kLlamaVocab, Draw::kTopP);
    add(all, "sample_top_k_p_penalties_" + size, run_sample, rows, kLlamaVocab,
        Draw::kTopKTopPPenalties);
    add(all, "sample_flat_" + size, run_sample, rows, kLlamaVocab, Draw::kFlat);
  }
  return all;
}

}  // namespace millrace
