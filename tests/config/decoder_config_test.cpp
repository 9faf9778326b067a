// Configs of decoders: families, spellings before and since transformers 5, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "config/model_config.h"
#include "support/errors.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ModelConfig golden(const std::string& name) {
  const fs::path file = test::source_dir() / "tests/golden/decoders" / name;
  return ModelConfig::from_hf({{"config.json", read_file((file / "config.json").string())}}, name);
}

// A small sound decoder, with fields set to JSON texts or removed by empty ones.
ModelConfig read(const std::string& architecture,
                 const std::map<std::string, std::string>& fields) {
  json::object config = {{"architectures", json::array{architecture}},
                         {"vocab_size", 100},
                         {"hidden_size", 48},
                         {"intermediate_size", 70},
                         {"num_hidden_layers", 4},
                         {"num_attention_heads", 6},
                         {"num_key_value_heads", 2},
                         {"max_position_embeddings", 64}};
  for (const auto& [key, text] : fields) {
    if (text.empty()) {
      config.erase(key);
    } else {
      config[key] = json::parse(text, key);
    }
  }
  return ModelConfig::from_hf({{"config.json", json::to_text(config)}}, "dir");
}

std::vector<int64_t> windows(const ModelConfig& config) {
  std::vector<int64_t> out;
  for (const DecoderLayerConfig& layer : config.decoder->layers) out.push_back(layer.window);
  return out;
}

TEST(DecoderConfigTest, DefaultsAreTransformers) {
  const ModelConfig config = read("LlamaForCausalLM", {});
  const DecoderConfig& decoder = *config.decoder;
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.norm_eps, 1e-6f);
  EXPECT_EQ(config.hidden_act, ActivationFunction::kSilu);
  EXPECT_EQ(config.max_input_tokens, 64);
  EXPECT_EQ(config.type_vocab_size, 0);
  ASSERT_EQ(decoder.ropes.size(), 1u);
  EXPECT_EQ(decoder.ropes[0], (RopeConfig{.theta = 10'000, .rotary_dim = 8}));
  EXPECT_FALSE(decoder.tie_word_embeddings || decoder.qkv_bias || decoder.qk_norm);
  EXPECT_FLOAT_EQ(decoder.attention_scale, 1 / std::sqrt(8.0f));
  EXPECT_THAT(decoder.eos_token_ids, IsEmpty());
  EXPECT_THAT(windows(config), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(decoder.unknown_keys, IsEmpty());
  EXPECT_EQ(read("Qwen3ForCausalLM", {}).head_dim, 128);
  EXPECT_EQ(read("Gemma2ForCausalLM", {}).head_dim, 256);
  EXPECT_TRUE(read("Gemma2ForCausalLM", {}).decoder->tie_word_embeddings);
  EXPECT_EQ(read("Phi3ForCausalLM", {}).norm_eps, 1e-5f);
}

TEST(DecoderConfigTest, RotaryPositionsInBothSpellings) {
  const RopeConfig llama3 = golden("llama3").decoder->ropes[0];
  EXPECT_EQ(llama3.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(llama3.theta, 5000);
  EXPECT_EQ(llama3.original_max_positions, 32);
  const std::string scaling =
      R"({"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32})";
  const auto old = read("LlamaForCausalLM", {{"rope_theta", "5000.0"},
                                             {"head_dim", "12"},
                                             {"rope_scaling", scaling},
                                             {"rope_parameters", R"({"rope_theta": 7.0})"}});
  EXPECT_EQ(old.decoder->ropes[0], llama3);
  EXPECT_EQ(golden("llama_dynamic").decoder->ropes[0].scaling, RopeScaling::kNone);
  const RopeConfig yarn = golden("qwen2").decoder->ropes[0];
  EXPECT_EQ(yarn.scaling, RopeScaling::kYarn);
  EXPECT_NEAR(yarn.attention_factor, 0.1 * std::log(4.0) + 1, 1e-12);
  const RopeConfig longrope = golden("phi3_long").decoder->ropes[0];
  EXPECT_EQ(longrope.rotary_dim, 12);
  EXPECT_EQ(longrope.factor, 8);
  EXPECT_NEAR(longrope.attention_factor, std::sqrt(1 + std::log(8.0) / std::log(16.0)), 1e-12);
}

TEST(DecoderConfigTest, RotaryPositionsByKindOfLayer) {
  for (const char* name : {"gemma3", "gemma3_old"}) {
    SCOPED_TRACE(name);
    const ModelConfig config = golden(name);
    ASSERT_EQ(config.decoder->ropes.size(), 2u);
    EXPECT_EQ(config.decoder->ropes[0].theta, 1e6);
    for (const DecoderLayerConfig& layer : config.decoder->layers)
      EXPECT_EQ(layer.rope, layer.window > 0 ? 1u : 0u);
  }
  EXPECT_EQ(golden("gemma3").decoder->ropes[0].factor, 8);
  EXPECT_EQ(golden("gemma3").decoder->ropes[1].scaling, RopeScaling::kNone);
  EXPECT_EQ(golden("gemma3_old").decoder->ropes[1].theta, 500);
}

TEST(DecoderConfigTest, WindowsByTheRulesOfFamilies) {
  const std::pair<std::string, std::string> window = {"sliding_window", "5"};
  EXPECT_THAT(windows(read("LlamaForCausalLM", {window})), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(windows(read("MistralForCausalLM", {window})), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(windows(read("MistralForCausalLM", {{"sliding_window", "null"}})),
              ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(windows(read("MistralForCausalLM", {})), ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(windows(read("Qwen2ForCausalLM", {window})), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(windows(read("Qwen2ForCausalLM",
                           {window, {"use_sliding_window", "true"}, {"max_window_layers", "3"}})),
              ElementsAre(0, 0, 0, 5));
  EXPECT_THAT(windows(read("Gemma2ForCausalLM", {window})), ElementsAre(5, 0, 5, 0));
  EXPECT_THAT(windows(read("Gemma3ForCausalLM", {window, {"sliding_window_pattern", "3"}})),
              ElementsAre(5, 5, 0, 5));
  EXPECT_THAT(windows(read("Qwen3ForCausalLM",
                           {window, {"layer_types", R"(["full_attention", "sliding_attention",
                                        "sliding_attention", "full_attention"])"}})),
              ElementsAre(0, 5, 5, 0));
}

TEST(DecoderConfigTest, FamiliesDifferInBiasesScalesAndCaps) {
  EXPECT_TRUE(read("Qwen2ForCausalLM", {}).decoder->qkv_bias);
  EXPECT_FALSE(read("Qwen2ForCausalLM", {}).decoder->attention_out_bias);
  const auto internlm = read("InternLMForCausalLM", {{"bias", "true"}});
  EXPECT_TRUE(internlm.decoder->qkv_bias && internlm.decoder->attention_out_bias);
  EXPECT_TRUE(read("Qwen3ForCausalLM", {}).decoder->qk_norm);
  const auto gemma = read("Gemma2ForCausalLM", {{"query_pre_attn_scalar", "144"}});
  EXPECT_FLOAT_EQ(gemma.decoder->attention_scale, 1 / 12.0f);
  EXPECT_FLOAT_EQ(gemma.decoder->embedding_scale, std::sqrt(48.0f));
  EXPECT_EQ(gemma.decoder->attention_soft_cap, 50);
  EXPECT_EQ(gemma.decoder->logits_soft_cap, 30);
  EXPECT_EQ(gemma.hidden_act, ActivationFunction::kGeluTanh);
  EXPECT_EQ(
      read("Gemma2ForCausalLM", {{"attn_logit_softcapping", "null"}}).decoder->attention_soft_cap,
      0);
  const auto granite = golden("granite");
  EXPECT_FLOAT_EQ(granite.decoder->attention_scale, 0.2f);
  EXPECT_FLOAT_EQ(granite.decoder->residual_scale, 0.4f);
  EXPECT_FLOAT_EQ(granite.decoder->logits_scale, 1 / 3.0f);
}

TEST(DecoderConfigTest, LayersMayDiffer) {
  const ModelConfig config = golden("decilm");
  const auto& layers = config.decoder->layers;
  ASSERT_EQ(layers.size(), 4u);
  EXPECT_EQ(layers[0].num_kv_heads, 2);
  EXPECT_EQ(layers[0].intermediate_size, 256);  // 2/3 of 2 * 48, rounded up
  EXPECT_EQ(layers[1].num_kv_heads, 0);
  EXPECT_EQ(layers[2].intermediate_size, 0);
  EXPECT_EQ(layers[3].num_kv_heads, 6);
  EXPECT_EQ(layers[3].intermediate_size, 512);
  const auto old = read("DeciLMForCausalLM", {{"num_key_value_heads_per_layer", "[6, 3, 2, 1]"}});
  EXPECT_EQ(old.decoder->layers[1].num_kv_heads, 3);
}

TEST(DecoderConfigTest, EndTokensAreOneOrSeveral) {
  EXPECT_THAT(golden("llama2").decoder->eos_token_ids, ElementsAre(2));
  EXPECT_THAT(golden("llama3").decoder->eos_token_ids, ElementsAre(2, 3, 4));
}

TEST(DecoderConfigTest, KeysThatNobodyReadsAreTold) {
  const auto config = read("NewForCausalLM", {{"zeta", "1"},
                                              {"alpha", "null"},
                                              {"rope_parameters", R"({"twist": 2})"},
                                              {"torch_dtype", "\"bfloat16\""}});
  EXPECT_THAT(config.decoder->unknown_keys, ElementsAre("alpha", "rope_parameters.twist", "zeta"));
  EXPECT_EQ(config.dtype, DType::kBF16);
}

TEST(DecoderConfigTest, RefusesBadFieldsByName) {
  struct Bad {
    const char* key;
    const char* text;
    const char* problem;
  };
  for (const auto& [key, text, problem] : {
           Bad{"vocab_size", "", "vocab_size: missing"},
           Bad{"num_key_value_heads", "4", "num_key_value_heads: 4 does not divide"},
           Bad{"num_key_value_heads", "0", "num_key_value_heads: 0 is outside"},
           Bad{"num_attention_heads", "5", "5 does not divide hidden_size 48"},
           Bad{"head_dim", "257", "head_dim: 257 is outside 1..256"},
           Bad{"head_dim", "9", "pairs of elements"},
           Bad{"partial_rotary_factor", "1.5", "partial_rotary_factor 1.5"},
           Bad{"rope_theta", "1", "rope_theta 1 is not above 1"},
           Bad{"rope_theta", "\"x\"", "rope_theta: expected a number"},
           Bad{"rope_scaling", R"({"type": "spiral"})", "rope_type \"spiral\" is not supported"},
           Bad{"rope_scaling", R"({"type": "linear"})", "factor: it is missing"},
           Bad{"rope_scaling", R"({"type": "linear", "factor": 0})", "factor: 0 is outside"},
           Bad{"rope_scaling", R"({"type": "longrope", "short_factor": [1]})",
               "short_factor: it must be a list of 4 numbers"},
           Bad{"layer_types", R"(["full_attention"])", "layer_types: it names 1 of 4 layers"},
           Bad{"layer_types", R"(["a", "a", "a", "a"])", "layer type \"a\" is not supported"},
           Bad{"sliding_window", "-1", "sliding_window: -1 is outside"},
           Bad{"eos_token_id", "[1, \"x\"]", "eos_token_id: it must be a token id"},
           Bad{"hidden_act", "\"sine\"", "hidden_act \"sine\" is not known"},
           Bad{"rms_norm_eps", "0", "rms_norm_eps: 0 is outside"},
           Bad{"quantization_config", R"({"bits": 4})", "quantized checkpoints are not supported"},
           Bad{"block_configs", "[]", "block_configs: it must describe 4 layers"},
           Bad{"num_hidden_layers", "10001", "num_hidden_layers: 10001 is outside"},
       }) {
    SCOPED_TRACE(std::string(key) + " " + text);
    EXPECT_THAT(error_of([&, k = key, t = text] {
                  read("LlamaForCausalLM", {{k, t}});
                }).what(),
                testing::AllOf(HasSubstr("dir/config.json"), HasSubstr(problem)));
  }
}

}  // namespace
}  // namespace millrace
