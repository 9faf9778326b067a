// Each family of decoders against transformers' logits, and a row's bits against batch and chunks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "checkpoint/model_files.h"
#include "kernels/kernel_test.h"
#include "support/made_weights.h"
#include "support/paged_decoder.h"
#include "support/source_dir.h"
#include "support/test_device.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::Chunk;
using test::MadeWeights;
using test::PagedDecoder;
using Rows = std::vector<std::vector<float>>;

const std::vector<std::string> kFamilies = {
    "llama2", "llama3",    "llama_biases", "llama_dynamic", "mistral",  "qwen2",
    "qwen3",  "gemma2",    "gemma3",       "gemma3_old",    "phi3",     "granite",
    "decilm", "phi3_long", "phi3_short",   "llama_1",       "internlm", "internlm2",
    "aquila", "xverse",    "palmyra",      "unknown"};

struct Fixture {
  explicit Fixture(const std::string& name)
      : directory(test::source_dir() / "tests" / "golden" / "decoders" / name),
        config(ModelConfig::from_hf(read_config_texts(directory), directory.string())),
        weights(directory),
        expected(Checkpoint::from_file((directory / "expected.safetensors").string())) {
    const auto tokens = expected.find("token_ids")->as<const int32_t>();
    ids.assign(tokens.begin(), tokens.end());
    prompt_length = static_cast<size_t>(expected.find("prompt_length")->as<const int32_t>()[0]);
  }

  std::unique_ptr<PagedDecoder> decoder(PagedDecoder::Options options) const {
    const StepLimits limits{
        .max_num_tokens = 256, .max_num_sequences = 256, .max_seq_len = config.max_input_tokens};
    return std::make_unique<PagedDecoder>(config, limits, weights, options);
  }

  std::vector<int32_t> slice(size_t begin, size_t end) const {
    return {ids.begin() + static_cast<int64_t>(begin), ids.begin() + static_cast<int64_t>(end)};
  }

  double error_of(const std::vector<float>& row, size_t index) const {
    const Tensor reference = expected.find("logits")->slice_rows(static_cast<int64_t>(index),
                                                                 static_cast<int64_t>(index) + 1);
    const auto want = reference.as<const float>();
    EXPECT_EQ(row.size(), want.size());
    double difference = 0, norm = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      difference += std::pow(static_cast<double>(row[i]) - want[i], 2);
      norm += std::pow(static_cast<double>(want[i]), 2);
    }
    return std::isfinite(difference) ? std::sqrt(difference / norm) : INFINITY;
  }

  fs::path directory;
  ModelConfig config;
  MadeWeights weights;
  Checkpoint expected;
  std::vector<int32_t> ids;  // a prompt and what follows it greedily
  size_t prompt_length = 0;
};

int32_t best_of(const std::vector<float>& row) {
  return static_cast<int32_t>(std::ranges::max_element(row) - row.begin());
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// All rows of the fixture: the prompt at once, then row by row.
Rows run_alone(const Fixture& fixture, PagedDecoder& decoder, int sequence) {
  Rows rows = decoder.step({{sequence, fixture.slice(0, fixture.prompt_length)}});
  for (size_t i = fixture.prompt_length; i < fixture.ids.size(); ++i)
    rows.push_back(decoder.step({{sequence, fixture.slice(i, i + 1)}}).front());
  return rows;
}

class DecoderGoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(DecoderGoldenTest, AgreesWithTransformersOnEveryInstructionSet) {
  const Fixture fixture(GetParam());
  for (const cpu::Isa isa : cpu::supported_isas(cpu_features())) {
    SCOPED_TRACE(to_string(isa));
    const auto decoder = fixture.decoder({.isa = isa});
    const Rows rows = run_alone(fixture, *decoder, 0);
    ASSERT_EQ(rows.size(), fixture.ids.size());
    double worst = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      worst = std::max(worst, fixture.error_of(rows[i], i));
      if (i + 1 >= fixture.prompt_length && i + 1 < rows.size()) {
        EXPECT_EQ(best_of(rows[i]), fixture.ids[i + 1]) << "after row " << i;
      }
    }
    EXPECT_LE(worst, 1e-4);
    RecordProperty(std::string(to_string(isa)), std::to_string(worst));
    std::cout << "[          ] " << to_string(isa) << ": worst relative error " << worst << "\n";
  }
}

TEST_P(DecoderGoldenTest, BitsDependOnTheSequenceAlone) {
  const Fixture fixture(GetParam());
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  for (const cpu::Isa isa : cpu::supported_isas(cpu_features())) {
    for (const DType product : {DType::kF32, DType::kBF16}) {
      if (product == DType::kBF16 && !cpu::has_bf16_products(isa)) continue;
      SCOPED_TRACE(fmt::format("{} {}", to_string(isa), to_string(product)));
      const Precision precision{.hidden = DType::kF32, .product = product};
      const auto single = fixture.decoder({.isa = isa, .precision = precision, .num_threads = 1});
      const Rows alone = run_alone(fixture, *single, 0);
      // Several sequences of the same ids, cut into chunks of any lengths that share steps; one of
      // them begins anew in between, as after a preemption.
      const auto decoder = fixture.decoder({.isa = isa,
                                            .precision = precision,
                                            .num_threads = 3,
                                            .block_size = 16 * random.integer(1, 3),
                                            .seed = random.seed()});
      std::vector<size_t> done(5, 0);
      bool restarted = false;
      while (*std::ranges::min_element(done) < fixture.ids.size()) {
        std::vector<Chunk> chunks;
        for (size_t s = 0; s < done.size(); ++s) {
          const size_t left = fixture.ids.size() - done[s];
          if (left == 0 || random.integer(0, 3) == 0) continue;
          const auto rows =
              std::min(left, static_cast<size_t>(random.integer(0, 1) ? 1 : random.integer(1, 20)));
          chunks.push_back({static_cast<int>(s), fixture.slice(done[s], done[s] + rows)});
        }
        if (chunks.empty()) continue;
        const Rows rows = decoder->step(chunks);
        size_t next = 0;
        for (const Chunk& chunk : chunks) {
          size_t& position = done[static_cast<size_t>(chunk.sequence)];
          for (size_t i = 0; i < chunk.ids.size(); ++i, ++position)
            EXPECT_TRUE(same_bits(rows[next++], alone[position])) << "row " << position;
        }
        if (!restarted && done[0] > fixture.prompt_length) {
          restarted = true;
          decoder->forget(0);
          done[0] = 0;
        }
      }
    }
  }
}

// Beyond one tile of keys, and with windows that begin within one.
TEST(DecoderBitsTest, LongSequencesInChunksOfAnyLength) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  for (const char* name : {"qwen3", "gemma2"}) {
    Fixture fixture(name);
    for (DecoderLayerConfig& layer : fixture.config.decoder->layers)
      if (layer.window > 0) layer.window = 150;
    fixture.ids.clear();
    for (int i = 0; i < 420; ++i)
      fixture.ids.push_back(static_cast<int32_t>(random.integer(0, fixture.config.vocab_size - 1)));
    const StepLimits limits{.max_num_tokens = 512, .max_num_sequences = 512, .max_seq_len = 512};
    for (const cpu::Isa isa : cpu::supported_isas(cpu_features())) {
      SCOPED_TRACE(fmt::format("{} {}", name, to_string(isa)));
      PagedDecoder single(fixture.config, limits, fixture.weights,
                          {.isa = isa, .num_threads = 1, .num_blocks = 30});
      const Rows alone = single.step({{0, fixture.ids}});
      PagedDecoder decoder(fixture.config, limits, fixture.weights,
                           {.isa = isa, .block_size = 48, .num_blocks = 30, .seed = random.seed()});
      std::vector<size_t> done(2, 0);
      while (done[0] + done[1] < 2 * fixture.ids.size()) {
        std::vector<Chunk> chunks;
        for (size_t s = 0; s < done.size(); ++s) {
          const size_t left = fixture.ids.size() - done[s];
          const auto rows =
              std::min(left, static_cast<size_t>(random.integer(0, 2) ? random.integer(0, 3)
                                                                      : random.integer(1, 200)));
          if (rows > 0)
            chunks.push_back({static_cast<int>(s), fixture.slice(done[s], done[s] + rows)});
        }
        if (chunks.empty()) continue;
        const Rows rows = decoder.step(chunks);
        size_t next = 0;
        for (const Chunk& chunk : chunks) {
          size_t& position = done[static_cast<size_t>(chunk.sequence)];
          for (size_t i = 0; i < chunk.ids.size(); ++i, ++position)
            ASSERT_TRUE(same_bits(rows[next++], alone[position])) << "row " << position;
        }
      }
    }
  }
}

// --- on a GPU ------------------------------------------------------------------------------------

class GpuDecoderTest : public testing::TestWithParam<std::string> {};

// ||out - want|| / ||want|| of a row of logits. Random weights make a decoder that forgives little:
// what bf16 rounds grows from layer to layer, to 0.05 in most families, and to 0.1 in two.
double gpu_bound(DType dtype) {
  if (dtype == DType::kF32) return 1e-4;
  return dtype == DType::kF16 ? 0.02 : 0.15;
}

PagedDecoder::Options on_gpu(DType dtype) {
  return {.precision = {.hidden = dtype, .product = dtype}, .on_gpu = true};
}

TEST_P(GpuDecoderTest, AgreesWithTransformers) {
  const Fixture fixture(GetParam());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const auto decoder = fixture.decoder(on_gpu(dtype));
    const Rows rows = run_alone(fixture, *decoder, 0);
    ASSERT_EQ(rows.size(), fixture.ids.size());
    double worst = 0;
    int same = 0, all = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      worst = std::max(worst, fixture.error_of(rows[i], i));
      if (i + 1 < fixture.prompt_length || i + 1 == rows.size()) continue;
      ++all;
      same += best_of(rows[i]) == fixture.ids[i + 1];
    }
    EXPECT_LE(worst, gpu_bound(dtype)) << to_string(dtype);
    if (dtype == DType::kF32) {
      EXPECT_EQ(same, all);
    }
    std::cout << "[          ] " << to_string(dtype) << ": worst relative error " << worst << ", "
              << same << " of " << all << " greedy tokens\n";
  }
}

// Steps of several sequences, in chunks of any lengths, each size of them run, recorded and
// replayed. Where `deterministic` promises it, the bits are those of steps that are never recorded,
// and of a sequence that is alone; elsewhere products of other sizes have other bits.
TEST_P(GpuDecoderTest, ReplayedStepsGiveTheBitsOfLaunchedOnes) {
  const Fixture fixture(GetParam());
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool deterministic : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", to_string(dtype), deterministic ? " deterministic" : ""));
      PagedDecoder::Options options = on_gpu(dtype);
      options.deterministic = deterministic;
      options.seed = random.seed();
      const auto replaying = fixture.decoder(options);
      options.enforce_eager = true;
      const auto launching = fixture.decoder(options);
      Rows alone;
      if (deterministic) alone = run_alone(fixture, *fixture.decoder(options), 0);
      for (int round = 0; round < 3; ++round) {
        std::vector<size_t> done(5, 0);
        while (*std::ranges::min_element(done) < fixture.ids.size()) {
          std::vector<Chunk> chunks;
          for (size_t s = 0; s < done.size(); ++s) {
            const size_t left = fixture.ids.size() - done[s];
            if (left == 0 || random.integer(0, 3) == 0) continue;
            const auto rows = std::min(
                left, static_cast<size_t>(random.integer(0, 3) ? 1 : random.integer(1, 20)));
            chunks.push_back({static_cast<int>(s), fixture.slice(done[s], done[s] + rows)});
          }
          if (chunks.empty()) continue;
          const Rows replayed = replaying->step(chunks);
          const Rows launched = launching->step(chunks);
          ASSERT_EQ(replayed.size(), launched.size());
          size_t next = 0;
          for (const Chunk& chunk : chunks) {
            size_t& position = done[static_cast<size_t>(chunk.sequence)];
            for (size_t i = 0; i < chunk.ids.size(); ++i, ++position, ++next) {
              if (deterministic) {
                ASSERT_TRUE(same_bits(replayed[next], launched[next])) << "row " << position;
                ASSERT_TRUE(same_bits(replayed[next], alone[position])) << "row " << position;
              } else {
                const double bound = gpu_bound(dtype);
                ASSERT_LE(fixture.error_of(replayed[next], position), bound) << "row " << position;
                ASSERT_LE(fixture.error_of(launched[next], position), bound) << "row " << position;
              }
            }
          }
        }
        for (int s = 0; s < 5; ++s) {
          replaying->forget(s);
          launching->forget(s);
        }
      }
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuDecoderTest);
INSTANTIATE_TEST_SUITE_P(Gpu, GpuDecoderTest,
                         testing::ValuesIn(tests_a_gpu() ? kFamilies : std::vector<std::string>()),
                         [](const auto& family) { return family.param; });

INSTANTIATE_TEST_SUITE_P(Families, DecoderGoldenTest, testing::ValuesIn(kFamilies),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace millrace
