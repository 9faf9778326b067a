// ModelConfig: what the network is, as frozen numbers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/decoder_config.h"
#include "tensor/dtype.h"

namespace millrace {

enum class ActivationFunction : uint8_t { kNone, kGelu, kGeluTanh, kRelu, kSilu, kTanh };
enum class PoolingMode : uint8_t { kCls, kMean, kLastToken };

std::string_view to_string(ActivationFunction function);
std::string_view to_string(PoolingMode mode);

// The small text files of a Hugging Face directory that say what a model is, by their path in it:
// "config.json", "modules.json", "1_Pooling/config.json", ... An engine carries the same files.
using ConfigTexts = std::map<std::string, std::string>;

struct ModelConfig {
  std::string architecture;   // the class name that the registry knows, e.g. "BertModel"
  std::string model_type;     // e.g. "bert"
  DType dtype = DType::kF32;  // of the checkpoint, as its config says; tensors have the last word

  int64_t vocab_size = 0;
  int64_t type_vocab_size = 0;          // token types; 0: the model has none
  int64_t max_position_embeddings = 0;  // rows of the position table
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  ActivationFunction hidden_act = ActivationFunction::kGelu;
  float norm_eps = 1e-12f;

  int64_t max_input_tokens = 0;  // special tokens included; longer inputs are truncated
  PoolingMode pooling = PoolingMode::kCls;
  bool normalize = false;           // vectors are divided by their Euclidean norm
  std::vector<std::string> labels;  // of a classifier, by output index; empty: an embedder
  std::map<std::string, std::string> prompts;  // texts that are put before an input, by name
  std::string default_prompt_name;             // for requests that name none; empty: no prompt
  bool pools_prompt = true;                    // the prompt's tokens count in the pooling

  std::optional<DecoderConfig> decoder;  // of a model that generates text

  bool is_classifier() const { return !labels.empty(); }

  // The prompt of that name, or the default one. Throws Error{kInvalidArgument}.
  std::string prompt(const std::optional<std::string>& name) const;

  // Reads Hugging Face's spellings, old and new; the only place that knows them.
  // `where` names the directory in errors. Throws Error{kCorrupt, kUnsupported, kNotFound}.
  // Sources: transformers' BertConfig and sentence-transformers' module configs.
  static ModelConfig from_hf(const ConfigTexts& texts, const std::string& where);
};

// The files that say what a model is and how it is used, beside the config.json of each folder that
// modules.json names and the templates of additional_chat_templates.
const std::vector<std::string>& hf_config_files();

}  // namespace millrace
