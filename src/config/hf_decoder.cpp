// Families of decoders: what their configs leave unsaid, and what their keys mean.
// Source: the configuration files of transformers, and of the models' own repositories.
#include "config/hf_decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "config/hf_limits.h"
#include "config/hf_rope.h"

namespace millrace {

namespace {

constexpr int64_t kMaxHeadDim = 256;
constexpr size_t kMaxEosTokens = 1024;

// Which layers see a window alone where layer_types does not say it.
enum class WindowRule : uint8_t {
  kNone,       // sliding_window is not used
  kAll,        // every layer, where sliding_window is set
  kFromLayer,  // from max_window_layers on, where use_sliding_window
  kPattern,    // all but each n-th layer: sliding_window_pattern
};

struct Family {
  std::vector<std::string_view> architectures;
  WindowRule window = WindowRule::kNone;
  int64_t window_pattern = 0;
  int64_t default_window = 0;  // 0: none
  int64_t head_dim = 0;        // where config.json has none; 0: hidden_size / num_attention_heads
  bool tie_word_embeddings = false;
  bool qkv_bias = false;  // whatever config.json says
  bool qk_norm = false;
  bool is_gemma = false;
  std::string_view activation = "silu";
  double norm_eps = 1e-6;
};

const Family& family_of(const std::string& architecture) {
  static const std::vector<Family> families = {
      {.architectures = {"LlamaForCausalLM", "LLaMAForCausalLM", "AquilaForCausalLM",
                         "XverseForCausalLM", "InternLMForCausalLM", "InternLM2ForCausalLM",
                         "DeciLMForCausalLM", "GraniteForCausalLM"}},
      {.architectures = {"MistralForCausalLM"}, .window = WindowRule::kAll, .default_window = 4096},
      {.architectures = {"Qwen2ForCausalLM", "PalmyraForCausalLM", "Palmyra4ForCausalLM"},
       .window = WindowRule::kFromLayer,
       .default_window = 4096,
       .qkv_bias = true},
      {.architectures = {"Qwen3ForCausalLM"},
       .window = WindowRule::kFromLayer,
       .default_window = 4096,
       .head_dim = 128,
       .qk_norm = true},
      {.architectures = {"Gemma2ForCausalLM"},
       .window = WindowRule::kPattern,
       .window_pattern = 2,
       .default_window = 4096,
       .head_dim = 256,
       .tie_word_embeddings = true,
       .is_gemma = true,
       .activation = "gelu_pytorch_tanh"},
      {.architectures = {"Gemma3ForCausalLM"},
       .window = WindowRule::kPattern,
       .window_pattern = 6,
       .default_window = 4096,
       .head_dim = 256,
       .tie_word_embeddings = true,
       .qk_norm = true,
       .is_gemma = true,
       .activation = "gelu_pytorch_tanh"},
      {.architectures = {"Phi3ForCausalLM"}, .window = WindowRule::kAll, .norm_eps = 1e-5},
  };
  static const Family unknown = {.window = WindowRule::kAll};
  for (const Family& family : families) {
    if (std::ranges::find(family.architectures, architecture) != family.architectures.end())
      return family;
  }
  return unknown;
}

// Keys that are read here, or that have no say in what the network computes.
constexpr std::array kKnownKeys = std::to_array<std::string_view>(
    {"architectures", "model_type", "dtype", "torch_dtype", "vocab_size", "hidden_size",
     "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
     "head_dim", "hidden_act", "hidden_activation", "max_position_embeddings", "rms_norm_eps",
     "rope_theta", "rope_scaling", "rope_parameters", "rope_local_base_freq",
     "partial_rotary_factor", "original_max_position_embeddings", "layer_types", "sliding_window",
     "use_sliding_window", "max_window_layers", "sliding_window_pattern", "tie_word_embeddings",
     "attention_bias", "qkv_bias", "bias", "mlp_bias", "use_qk_norm", "qk_norm",
     "embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling",
     "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
     "use_bidirectional_attention", "block_configs", "num_key_value_heads_per_layer",
     "eos_token_id",
     // bookkeeping, training, and the code that transformers would run
     "_name_or_path", "_attn_implementation", "attn_implementation", "attention_dropout",
     "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "embd_pdrop",
     "resid_pdrop", "dropout", "auto_map", "bos_token_id", "pad_token_id", "unk_token_id",
     "cache_implementation", "initializer_range", "pretraining_tp", "transformers_version",
     "use_cache", "output_attentions", "output_hidden_states", "return_dict", "id2label",
     "label2id", "is_decoder", "is_encoder_decoder", "add_cross_attention",
     "cross_attention_hidden_size", "tie_encoder_decoder", "tokenizer_class",
     "task_specific_params", "problem_type", "chunk_size_feed_forward", "finetuning_task",
     "generation_config", "use_mrope", "max_tokenizer_truncation", "torchscript"});

double number_in(const json::Reader& hf, std::string_view key, double otherwise, double least,
                 double most) {
  const double value = hf.number(key).value_or(otherwise);
  if (!(value >= least && value <= most))
    hf.fail(key, fmt::format("{} is outside {}..{}", value, least, most));
  return value;
}

float scale_of(const json::Reader& hf, std::string_view key, double otherwise) {
  return static_cast<float>(number_in(hf, key, otherwise, -1e6, 1e6));
}

// c of c tanh(x / c), or 0 where there is none.
float soft_cap(const json::Reader& hf, std::string_view key, double otherwise) {
  const bool none = hf.raw().contains(key) && !hf.has(key);  // null
  return none ? 0.0f : static_cast<float>(number_in(hf, key, otherwise, 0, 1e6));
}

std::vector<int32_t> eos_tokens(const json::Reader& hf) {
  const json::value* found = hf.find("eos_token_id");
  if (!found) return {};
  if (!found->is_array())
    return {static_cast<int32_t>(hf.require_integer("eos_token_id", 0, kMaxVocab))};
  std::vector<int32_t> ids;
  for (const json::value& element : found->get_array()) {
    const int64_t id = element.is_int64() ? element.get_int64() : -1;
    if (id < 0 || id > kMaxVocab || ids.size() == kMaxEosTokens)
      hf.fail("eos_token_id",
              fmt::format("it must be a token id or a list of at most {} of them", kMaxEosTokens));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// --- windows -------------------------------------------------------------------------------------

int64_t window_size(const json::Reader& hf, const Family& family) {
  if (hf.has("sliding_window")) return hf.require_integer("sliding_window", 1, kMaxPositions);
  const bool said = hf.raw().contains("sliding_window");  // null
  return said ? 0 : family.default_window;
}

// For each layer, whether it sees a window alone.
std::vector<bool> windowed_layers(const json::Reader& hf, const Family& family,
                                  int64_t num_layers) {
  std::vector<bool> out(static_cast<size_t>(num_layers), false);
  if (const std::vector<std::string> types = hf.strings("layer_types"); !types.empty()) {
    if (types.size() != out.size())
      hf.fail("layer_types", fmt::format("it names {} of {} layers", types.size(), num_layers));
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = types[i] == "sliding_attention";
      if (!out[i] && types[i] != "full_attention") {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{}: layer type \"{}\" is not supported; allowed: full_attention, "
                                "sliding_attention",
                                hf.what(), types[i].substr(0, 100)));
      }
    }
    return out;
  }
  const bool by_layer = family.window == WindowRule::kFromLayer || hf.has("use_sliding_window");
  const int64_t first =
      hf.has("max_window_layers") ? hf.require_integer("max_window_layers", 0, kMaxLayers) : 28;
  const int64_t pattern = hf.has("sliding_window_pattern")
                              ? hf.require_integer("sliding_window_pattern", 1, kMaxLayers)
                              : family.window_pattern;
  for (int64_t i = 0; i < num_layers; ++i) {
    bool windowed = false;
    if (family.window == WindowRule::kPattern) {
      windowed = (i + 1) % pattern != 0;
    } else if (by_layer) {
      windowed = hf.boolean("use_sliding_window").value_or(false) && i >= first;
    } else {
      windowed = family.window == WindowRule::kAll;
    }
    out[static_cast<size_t>(i)] = windowed;
  }
  return out;
}

void read_windows(const json::Reader& hf, const Family& family, DecoderConfig& decoder) {
  const int64_t window = window_size(hf, family);
  const auto windowed = windowed_layers(hf, family, static_cast<int64_t>(decoder.layers.size()));
  const bool two_ropes = decoder.ropes.size() > 1;
  for (size_t i = 0; i < windowed.size(); ++i) {
    if (!windowed[i]) continue;
    decoder.layers[i].window = window;
    if (two_ropes) decoder.layers[i].rope = 1;
  }
}

// --- rotary positions ----------------------------------------------------------------------------

// One for all layers; or that of full layers and that of windows.
void read_ropes(const json::Reader& hf, const ModelConfig& config, DecoderConfig& decoder,
                std::set<std::string>& unknown) {
  RopeDefaults defaults{
      .what = hf.what(),
      .theta = number_in(hf, "rope_theta", 10'000, 1e-3, 1e12),
      .partial_rotary_factor = hf.number("partial_rotary_factor").value_or(1),
      .head_dim = config.head_dim,
      .max_positions = config.max_position_embeddings,
      .original_max_positions =
          hf.has("original_max_position_embeddings")
              ? hf.require_integer("original_max_position_embeddings", 2, kMaxPositions)
              : 0,
      .is_phi3 = config.architecture == "Phi3ForCausalLM"};
  std::set<std::string> keys;
  const auto read = [&](const std::optional<json::Reader>& rope) {
    decoder.ropes.push_back(read_rope(rope ? &*rope : nullptr, defaults, keys));
  };
  const auto parameters = hf.child("rope_parameters");
  const auto scaling = hf.child("rope_scaling");
  const bool by_layer_type =
      parameters && (parameters->has("full_attention") || parameters->has("sliding_attention"));
  if (by_layer_type) {
    const bool gemma3 = config.architecture == "Gemma3ForCausalLM";
    if (gemma3 && !hf.has("rope_theta")) defaults.theta = 1e6;
    read(parameters->child("full_attention"));
    if (gemma3) defaults.theta = number_in(hf, "rope_local_base_freq", 10'000, 1e-3, 1e12);
    read(parameters->child("sliding_attention"));
  } else if (config.architecture == "Gemma3ForCausalLM") {  // before transformers 5
    if (!hf.has("rope_theta")) defaults.theta = 1e6;
    read(scaling);
    defaults.theta = number_in(hf, "rope_local_base_freq", 10'000, 1e-3, 1e12);
    read(std::nullopt);
  } else {
    read(scaling ? scaling : parameters);
  }
  for (const std::string& key : keys) unknown.insert("rope_parameters." + key);
}

// --- layers --------------------------------------------------------------------------------------

// 2/3 of the multiple of the hidden size, rounded up to 256: DeciLM's own rule.
int64_t ffn_size(double multiple, int64_t hidden) {
  const auto size = static_cast<int64_t>(2 * multiple * static_cast<double>(hidden) / 3);
  return (size + 255) / 256 * 256;
}

// DeciLM of Nemotron-NAS: each layer has sizes of its own, or lacks a half.
void read_block_configs(const json::Reader& hf, const ModelConfig& config, DecoderConfig& decoder) {
  const json::value* found = hf.find("block_configs");
  const json::array* blocks = found ? found->if_array() : nullptr;
  if (!blocks || blocks->size() != decoder.layers.size())
    hf.fail("block_configs", fmt::format("it must describe {} layers", decoder.layers.size()));
  for (size_t i = 0; i < decoder.layers.size(); ++i) {
    const std::string where = fmt::format("{}: block_configs[{}]", hf.what(), i);
    const json::Reader block(json::as_object((*blocks)[i], where), where);
    const auto attention = block.child("attention");
    const auto ffn = block.child("ffn");
    if (!attention || !ffn) block.fail("attention", "attention and ffn must both be described");
    for (const json::Reader& half : {*attention, *ffn}) {
      if (half.boolean("replace_with_linear").value_or(false)) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{}: blocks replaced with one linear layer are not supported",
                                half.what()));
      }
    }
    DecoderLayerConfig& layer = decoder.layers[i];
    layer.num_kv_heads = layer.intermediate_size = 0;
    if (!attention->boolean("no_op").value_or(false)) {
      const int64_t group = attention->require_integer("n_heads_in_group", 1, config.num_heads);
      if (config.num_heads % group != 0)
        attention->fail("n_heads_in_group", "it must divide num_attention_heads");
      layer.num_kv_heads = config.num_heads / group;
    }
    if (ffn->boolean("no_op").value_or(false)) continue;
    if (ffn->has("intermediate_size")) {
      layer.intermediate_size = ffn->require_integer("intermediate_size", 1, kMaxIntermediate);
    } else {
      layer.intermediate_size =
          ffn_size(number_in(*ffn, "ffn_mult", 0, 1e-3, 1000), config.hidden_size);
    }
  }
}

void read_layers(const json::Reader& hf, ModelConfig& config, DecoderConfig& decoder) {
  decoder.layers.resize(static_cast<size_t>(config.num_layers));
  if (hf.has("block_configs")) return read_block_configs(hf, config, decoder);
  config.intermediate_size = hf.require_integer("intermediate_size", 1, kMaxIntermediate);
  const int64_t kv_heads = hf.has("num_key_value_heads")
                               ? hf.require_integer("num_key_value_heads", 1, config.num_heads)
                               : config.num_heads;
  const json::value* found = hf.find("num_key_value_heads_per_layer");
  const json::array* per_layer = found ? found->if_array() : nullptr;
  if (found && (!per_layer || per_layer->size() != decoder.layers.size()))
    hf.fail("num_key_value_heads_per_layer", "it must have one number a layer");
  for (size_t i = 0; i < decoder.layers.size(); ++i) {
    const json::value* own = per_layer ? &(*per_layer)[i] : nullptr;
    const int64_t heads = !own ? kv_heads : own->is_int64() ? own->get_int64() : 0;
    if (heads < 1 || config.num_heads % heads != 0) {
      hf.fail(per_layer ? "num_key_value_heads_per_layer" : "num_key_value_heads",
              fmt::format("{} does not divide num_attention_heads {}", heads, config.num_heads));
    }
    decoder.layers[i] = {.num_kv_heads = heads, .intermediate_size = config.intermediate_size};
  }
}

void read_scales(const json::Reader& hf, const Family& family, const ModelConfig& config,
                 DecoderConfig& decoder) {
  const double head_dim = static_cast<double>(config.head_dim);
  if (family.is_gemma) {
    const bool caps = config.architecture == "Gemma2ForCausalLM";
    decoder.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
    decoder.attention_scale =
        static_cast<float>(1 / std::sqrt(number_in(hf, "query_pre_attn_scalar", 256, 1e-3, 1e6)));
    decoder.attention_soft_cap = soft_cap(hf, "attn_logit_softcapping", caps ? 50 : 0);
    decoder.logits_soft_cap = soft_cap(hf, "final_logit_softcapping", caps ? 30 : 0);
    if (hf.boolean("use_bidirectional_attention").value_or(false)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: bidirectional attention does not generate text", hf.what()));
    }
    return;
  }
  const bool granite = config.architecture == "GraniteForCausalLM";
  decoder.attention_scale =
      hf.has("attention_multiplier") || granite
          ? static_cast<float>(number_in(hf, "attention_multiplier", 1, 1e-6, 1e6))
          : static_cast<float>(1 / std::sqrt(head_dim));
  decoder.embedding_scale = scale_of(hf, "embedding_multiplier", 1);
  decoder.residual_scale = scale_of(hf, "residual_multiplier", 1);
  decoder.logits_scale = static_cast<float>(1 / number_in(hf, "logits_scaling", 1, 1e-6, 1e6));
  decoder.attention_soft_cap = soft_cap(hf, "attn_logit_softcapping", 0);
  decoder.logits_soft_cap = soft_cap(hf, "final_logit_softcapping", 0);
}

void read_biases(const json::Reader& hf, const Family& family, DecoderConfig& decoder) {
  const auto is_set = [&](std::string_view key) { return hf.boolean(key).value_or(false); };
  const bool all = is_set("bias");  // InternLM: of every projection of attention
  const bool attention = is_set("attention_bias");
  decoder.qkv_bias = family.qkv_bias || all || attention || is_set("qkv_bias");
  decoder.attention_out_bias = (!family.qkv_bias && attention) || all;
  decoder.mlp_bias = is_set("mlp_bias");
  decoder.qk_norm = family.qk_norm || is_set("use_qk_norm") || is_set("qk_norm");
}

}  // namespace

std::string_view to_string(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::kNone: return "none";
    case RopeScaling::kLinear: return "linear";
    case RopeScaling::kLlama3: return "llama3";
    case RopeScaling::kYarn: return "yarn";
    case RopeScaling::kLongRope: return "longrope";
  }
  return "unknown";
}

bool is_decoder_architecture(const std::string& architecture) {
  return architecture.ends_with("ForCausalLM");
}

void read_decoder(const json::Reader& hf, ModelConfig& config) {
  if (hf.has("quantization_config")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: quantized checkpoints are not supported yet", hf.what()),
                "use the checkpoint in bf16, fp16 or fp32");
  }
  const Family& family = family_of(config.architecture);
  DecoderConfig& decoder = config.decoder.emplace();
  config.type_vocab_size = 0;
  config.vocab_size = hf.require_integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = hf.require_integer("hidden_size", 1, kMaxHidden);
  config.num_layers = hf.require_integer("num_hidden_layers", 1, kMaxLayers);
  config.num_heads = hf.require_integer("num_attention_heads", 1, kMaxHidden);
  config.max_position_embeddings = hf.require_integer("max_position_embeddings", 1, kMaxPositions);
  config.max_input_tokens = config.max_position_embeddings;
  if (hf.has("head_dim")) {
    config.head_dim = hf.require_integer("head_dim", 1, kMaxHeadDim);
  } else {
    config.head_dim = family.head_dim > 0 ? family.head_dim : config.hidden_size / config.num_heads;
    if (family.head_dim == 0 && config.hidden_size % config.num_heads != 0) {
      hf.fail("num_attention_heads", fmt::format("{} does not divide hidden_size {}",
                                                 config.num_heads, config.hidden_size));
    }
    if (config.head_dim > kMaxHeadDim)
      hf.fail("head_dim", fmt::format("{} is above {}", config.head_dim, kMaxHeadDim));
  }
  const std::string_view key = hf.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  config.hidden_act =
      activation_function(hf, key, hf.string(key).value_or(std::string(family.activation)));
  config.norm_eps = static_cast<float>(number_in(hf, "rms_norm_eps", family.norm_eps, 1e-30, 1));
  decoder.tie_word_embeddings =
      hf.boolean("tie_word_embeddings").value_or(family.tie_word_embeddings);
  decoder.eos_token_ids = eos_tokens(hf);
  std::set<std::string> unknown;
  for (const auto& member : hf.raw()) {
    if (std::ranges::find(kKnownKeys, std::string_view(member.key())) == kKnownKeys.end())
      unknown.insert(std::string(member.key()));
  }
  read_layers(hf, config, decoder);
  read_ropes(hf, config, decoder, unknown);
  read_windows(hf, family, decoder);
  read_scales(hf, family, config, decoder);
  read_biases(hf, family, decoder);
  decoder.unknown_keys.assign(unknown.begin(), unknown.end());
}

}  // namespace millrace
