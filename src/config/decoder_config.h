// DecoderConfig: what a decoder's network is beyond the sizes that every model has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// How the angles of rotary positions grow (Su et al. 2021) and how they are scaled to longer texts.
enum class RopeScaling : uint8_t {
  kNone,      // also "dynamic", which changes nothing up to max_position_embeddings
  kLinear,    // all frequencies divided by the factor (Chen et al. 2023)
  kLlama3,    // low frequencies divided, high ones kept, a ramp between (Llama 3.1)
  kYarn,      // the same by rotations within the original length (Peng et al. 2023)
  kLongRope,  // a divisor per frequency, for short and for long texts (Ding et al. 2024)
};

std::string_view to_string(RopeScaling scaling);

struct RopeConfig {
  RopeScaling scaling = RopeScaling::kNone;
  double theta = 10'000;
  int64_t rotary_dim = 0;  // leading elements of a head that are rotated; even
  double factor = 1;
  int64_t original_max_positions = 0;  // length of the texts before scaling
  double attention_factor = 1;         // of cosines and sines
  double low_freq_factor = 1;          // kLlama3
  double high_freq_factor = 4;
  double beta_fast = 32;  // kYarn: rotations within the original length
  double beta_slow = 1;
  bool truncate = true;             // kYarn: the ramp begins and ends at whole frequencies
  std::vector<float> short_factor;  // kLongRope, [rotary_dim / 2]
  std::vector<float> long_factor;

  bool operator==(const RopeConfig&) const = default;
};

struct DecoderLayerConfig {
  int64_t num_kv_heads = 0;       // 0: the layer has no attention
  int64_t intermediate_size = 0;  // 0: the layer has no MLP
  int64_t window = 0;             // keys that a query sees, its own included; 0: all before it
  size_t rope = 0;                // index into DecoderConfig::ropes
};

struct DecoderConfig {
  std::vector<DecoderLayerConfig> layers;
  std::vector<RopeConfig> ropes;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;          // queries and keys are normalised head by head before rotation
  float embedding_scale = 1.0f;  // of the rows that enter the first layer
  float attention_scale = 1.0f;  // of the scores
  float residual_scale = 1.0f;   // of what a layer adds to the residual stream
  float logits_scale = 1.0f;
  float attention_soft_cap = 0.0f;  // c tanh(x / c) of the scores; 0: none
  float logits_soft_cap = 0.0f;     // of the scaled logits; 0: none
  std::vector<int32_t> eos_token_ids;
  std::vector<std::string> unknown_keys;  // of config.json, which nothing here reads; sorted
};

// Whether `architecture` names a model that generates text: "*ForCausalLM".
bool is_decoder_architecture(const std::string& architecture);

}  // namespace millrace
