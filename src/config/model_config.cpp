// Hugging Face's config files, in their old and new spellings, read into a ModelConfig.
#include "config/model_config.h"

#include <algorithm>
#include <array>

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/json.h"
#include "config/hf_decoder.h"
#include "config/hf_limits.h"

namespace millrace {

namespace {

// A named text parsed as a JSON object; empty when the directory has no such file.
class ConfigText {
 public:
  ConfigText(const ConfigTexts& texts, const std::string& where, const std::string& name)
      : what_(where + "/" + name) {
    const auto found = texts.find(name);
    if (found == texts.end()) return;
    present_ = true;
    value_ = json::parse(found->second, what_);
  }
  explicit operator bool() const { return present_; }
  const json::value& value() const { return value_; }
  json::Reader reader() const { return {json::as_object(value_, what_), what_}; }
  const std::string& what() const { return what_; }

 private:
  std::string what_;
  json::value value_;
  bool present_ = false;
};

DType checkpoint_dtype(const json::Reader& config) {
  auto name = config.string("dtype");              // since transformers 5
  if (!name) name = config.string("torch_dtype");  // before
  if (!name || *name == "float32") return DType::kF32;
  if (*name == "float16") return DType::kF16;
  if (*name == "bfloat16") return DType::kBF16;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: dtype \"{}\" is not one of float32, float16, bfloat16",
                          config.what(), *name));
}

std::string architecture_name(const json::Reader& config) {
  const auto names = config.strings("architectures");
  if (names.size() == 1) return names.front();
  if (names.empty()) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: \"architectures\" is missing", config.what()),
                "add it, for example \"architectures\": [\"BertModel\"]");
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("{}: {} architectures are named, one is expected", config.what(), names.size()));
}

// id2label as a list by index; num_labels when there are no names. Transformers' default is two
// labels.
std::vector<std::string> label_names(const json::Reader& config) {
  constexpr size_t kMaxLabels = 100'000;
  const auto id2label = config.child("id2label");
  if (!id2label) {
    std::vector<std::string> out;
    const int64_t count =
        config.has("num_labels") ? config.require_integer("num_labels", 1, kMaxLabels) : 2;
    for (int64_t i = 0; i < count; ++i) out.push_back(fmt::format("LABEL_{}", i));
    return out;
  }
  std::vector<std::string> out(id2label->raw().size());
  if (out.empty() || out.size() > kMaxLabels)
    config.fail("id2label", "it must name 1 to 100000 labels");
  std::vector<bool> seen(out.size());
  for (const auto& member : id2label->raw()) {
    const std::string key(member.key());
    const bool digits = !key.empty() && key.size() < 7 &&
                        std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    const size_t index = digits ? std::stoul(key) : out.size();
    if (index >= out.size() || seen[index]) {
      config.fail("id2label",
                  fmt::format("\"{}\" is not an index of 0..{} named once", key, out.size() - 1));
    }
    seen[index] = true;
    out[index] = id2label->require_string(member.key());
  }
  return out;
}

PoolingMode pooling_mode(const json::Reader& pooling) {
  struct Row {
    std::string_view flag;
    std::string_view name;  // of the newer "pooling_mode" spelling
    PoolingMode mode;
  };
  constexpr std::array rows = {Row{"pooling_mode_cls_token", "cls", PoolingMode::kCls},
                               Row{"pooling_mode_mean_tokens", "mean", PoolingMode::kMean},
                               Row{"pooling_mode_lasttoken", "lasttoken", PoolingMode::kLastToken}};
  std::vector<PoolingMode> chosen;
  std::string others;  // flags of modes that have no row here
  const auto* name = pooling.find("pooling_mode");
  for (const Row& row : rows) {
    const bool by_flag = pooling.boolean(row.flag).value_or(false);
    const bool by_name = name && name->is_string() && name->get_string() == row.name;
    if (by_flag || by_name) chosen.push_back(row.mode);
  }
  for (const auto& member : pooling.raw()) {
    const std::string_view key = member.key();
    const bool known = std::ranges::find(rows, key, &Row::flag) != rows.end();
    if (key.starts_with("pooling_mode_") && !known && pooling.boolean(key).value_or(false))
      others += fmt::format(", {}", key);
  }
  if (chosen.size() == 1 && others.empty()) return chosen.front();
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format(
          "{}: exactly one of the pooling modes cls, mean and lasttoken must be on, found {}{}",
          pooling.what(), chosen.size(), others),
      "other modes (max, weighted mean, several at once) are not built yet");
}

// sentence-transformers' prompts, which encode() puts before each text.
void read_prompts(const ConfigTexts& texts, const std::string& where, ModelConfig& config) {
  const ConfigText text(texts, where, "config_sentence_transformers.json");
  if (!text || config.is_classifier()) return;
  const json::Reader reader = text.reader();
  if (const auto prompts = reader.child("prompts")) {
    for (const auto& member : prompts->raw())
      config.prompts[member.key()] = prompts->string(member.key()).value_or("");
  }
  config.default_prompt_name = reader.string("default_prompt_name").value_or("");
  if (config.default_prompt_name.empty()) return;
  if (!config.prompts.contains(config.default_prompt_name))
    reader.fail("default_prompt_name", "names none of the prompts");
  config.prompt(std::nullopt);  // refuses what cannot be pooled
}

// sentence-transformers' modules.json: a Transformer, a Pooling, perhaps a Normalize.
void read_modules(const ConfigTexts& texts, const std::string& where, ModelConfig& config) {
  const ConfigText modules(texts, where, "modules.json");
  if (!modules)
    return;  // a plain transformers checkpoint: CLS, as transformers users expect of BERT
  const auto* list = modules.value().if_array();
  if (!list)
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: expected an array of modules", modules.what()));
  bool pooled = false;
  for (const json::value& element : *list) {
    const json::Reader module(json::as_object(element, modules.what()), modules.what());
    const std::string type = module.require_string("type");
    const std::string kind = type.substr(type.rfind('.') + 1);
    const std::string path = module.string("path").value_or("");
    if (kind == "Transformer") continue;
    if (kind == "Normalize") {
      config.normalize = true;
    } else if (kind == "Pooling") {
      const ConfigText pooling(texts, where, path + "/config.json");
      if (!pooling) {
        throw Error(ErrorCode::kNotFound,
                    fmt::format("{} names {}/config.json, which is missing", modules.what(), path),
                    "download the whole checkpoint, sub-folders included");
      }
      config.pooling = pooling_mode(pooling.reader());
      config.pools_prompt = pooling.reader().boolean("include_prompt").value_or(true);
      pooled = true;
    } else {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("{}: module {} is not supported; allowed: Transformer, Pooling, Normalize",
                      modules.what(), type));
    }
  }
  if (!pooled && !config.is_classifier()) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: no module is a Pooling, so that there is no vector of a text",
                    modules.what()),
        "add sentence-transformers' Pooling module, or remove modules.json for CLS pooling");
  }
}

float layer_norm_eps(const json::Reader& config) {
  const double eps = config.number("layer_norm_eps").value_or(1e-12);
  if (!(eps >= 1e-30 && eps <= 1))
    config.fail("layer_norm_eps", fmt::format("{} is outside 1e-30..1", eps));
  return static_cast<float>(eps);
}

int64_t input_limit(const ConfigTexts& texts, const std::string& where, const ModelConfig& config) {
  const ConfigText sentence(texts, where, "sentence_bert_config.json");
  if (sentence && sentence.reader().has("max_seq_length")) {
    const int64_t limit = sentence.reader().require_integer("max_seq_length", 1, INT64_MAX);
    return std::min(limit, config.max_position_embeddings);
  }
  return config.max_position_embeddings;
}

}  // namespace

ActivationFunction activation_function(const json::Reader& config, std::string_view key,
                                       const std::string& name) {
  if (name == "gelu") return ActivationFunction::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return ActivationFunction::kGeluTanh;
  if (name == "relu") return ActivationFunction::kRelu;
  if (name == "silu" || name == "swish") return ActivationFunction::kSilu;
  if (name == "tanh") return ActivationFunction::kTanh;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {} \"{}\" is not known; allowed: gelu, gelu_new, "
                          "gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh",
                          config.what(), key, name));
}

std::string_view to_string(ActivationFunction function) {
  switch (function) {
    case ActivationFunction::kNone: return "none";
    case ActivationFunction::kGelu: return "gelu";
    case ActivationFunction::kGeluTanh: return "gelu_tanh";
    case ActivationFunction::kRelu: return "relu";
    case ActivationFunction::kSilu: return "silu";
    case ActivationFunction::kTanh: return "tanh";
  }
  return "unknown";
}

std::string_view to_string(PoolingMode mode) {
  switch (mode) {
    case PoolingMode::kCls: return "cls";
    case PoolingMode::kMean: return "mean";
    case PoolingMode::kLastToken: return "lasttoken";
  }
  return "unknown";
}

const std::vector<std::string>& hf_config_files() {
  static const std::vector<std::string> files = {"config.json",
                                                 "modules.json",
                                                 "sentence_bert_config.json",
                                                 "config_sentence_transformers.json",
                                                 "tokenizer_config.json",
                                                 "special_tokens_map.json",
                                                 "generation_config.json",
                                                 "chat_template.jinja",
                                                 "chat_template.json"};
  return files;
}

std::string ModelConfig::prompt(const std::optional<std::string>& name) const {
  const std::string& wanted = name ? *name : default_prompt_name;
  if (wanted.empty()) return {};
  const auto found = prompts.find(wanted);
  if (found == prompts.end()) {
    std::vector<std::string> names;
    for (const auto& [known, text] : prompts) names.push_back(known);
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("prompt_name \"{}\" is none of this model's prompts ({})",
                    wanted.substr(0, 100),
                    names.empty() ? "it has none" : fmt::format("{}", fmt::join(names, ", "))));
  }
  if (!pools_prompt && !found->second.empty()) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "this model leaves its prompts out of the pooling (include_prompt: false), which is "
        "not supported",
        "write the prompt into the text, or use a model that pools it");
  }
  return found->second;
}

ModelConfig ModelConfig::from_hf(const ConfigTexts& texts, const std::string& where) {
  const ConfigText text(texts, where, "config.json");
  if (!text) {
    throw Error(ErrorCode::kNotFound, fmt::format("{} has no config.json", where),
                "point to the root of a Hugging Face checkpoint or to an engine");
  }
  const json::Reader hf = text.reader();
  ModelConfig config;
  config.architecture = architecture_name(hf);
  config.model_type = hf.string("model_type").value_or("");
  config.dtype = checkpoint_dtype(hf);
  if (is_decoder_architecture(config.architecture)) {
    read_decoder(hf, config);
    return config;
  }
  config.vocab_size = hf.require_integer("vocab_size", 1, kMaxVocab);
  config.type_vocab_size =
      hf.has("type_vocab_size") ? hf.require_integer("type_vocab_size", 1, kMaxVocab) : 2;
  config.max_position_embeddings = hf.require_integer("max_position_embeddings", 1, kMaxPositions);
  config.hidden_size = hf.require_integer("hidden_size", 1, kMaxHidden);
  config.intermediate_size = hf.require_integer("intermediate_size", 1, kMaxIntermediate);
  config.num_layers = hf.require_integer("num_hidden_layers", 1, kMaxLayers);
  config.num_heads = hf.require_integer("num_attention_heads", 1, kMaxHidden);
  if (config.hidden_size % config.num_heads != 0) {
    hf.fail("num_attention_heads",
            fmt::format("{} does not divide hidden_size {}", config.num_heads, config.hidden_size));
  }
  config.head_dim = config.hidden_size / config.num_heads;
  config.hidden_act =
      activation_function(hf, "hidden_act", hf.string("hidden_act").value_or("gelu"));
  config.norm_eps = layer_norm_eps(hf);
  const std::string positions = hf.string("position_embedding_type").value_or("absolute");
  if (positions != "absolute") {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: position_embedding_type \"{}\" is not supported; allowed: absolute",
                    hf.what(), positions));
  }
  if (config.architecture.ends_with("ForSequenceClassification")) config.labels = label_names(hf);
  read_modules(texts, where, config);
  read_prompts(texts, where, config);
  config.max_input_tokens = input_limit(texts, where, config);
  return config;
}

}  // namespace millrace
