// The words of BuildConfig's enums, and its printed form.
#include "config/build_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace millrace {

namespace {

template <typename Enum>
struct Word {
  Enum value;
  std::string_view text;
};

constexpr std::array kBaseModels = {
    Word<BaseModel>{BaseModel::kDecoder, "decoder"},
    Word<BaseModel>{BaseModel::kEncoder, "encoder"},
    Word<BaseModel>{BaseModel::kEncoderBert, "encoder_bert"},
};

constexpr std::array kQuantizationTypes = {
    Word<QuantizationType>{QuantizationType::kNoQuant, "no_quant"},
    Word<QuantizationType>{QuantizationType::kFp8, "fp8"},
    Word<QuantizationType>{QuantizationType::kFp8Kv, "fp8_kv"},
    Word<QuantizationType>{QuantizationType::kFp4, "fp4"},
    Word<QuantizationType>{QuantizationType::kFp4Kv, "fp4_kv"},
    Word<QuantizationType>{QuantizationType::kFp4MlpOnly, "fp4_mlp_only"},
    Word<QuantizationType>{QuantizationType::kWeightsInt8, "weights_int8"},
    Word<QuantizationType>{QuantizationType::kWeightsKvInt8, "weights_kv_int8"},
    Word<QuantizationType>{QuantizationType::kWeightsInt4, "weights_int4"},
    Word<QuantizationType>{QuantizationType::kWeightsInt4KvInt8, "weights_int4_kv_int8"},
    Word<QuantizationType>{QuantizationType::kSmoothQuant, "smooth_quant"},
};

constexpr std::array kSourceKinds = {
    Word<SourceKind>{SourceKind::kHuggingFace, "HF"},
    Word<SourceKind>{SourceKind::kLocal, "LOCAL"},
    Word<SourceKind>{SourceKind::kGcs, "GCS"},
    Word<SourceKind>{SourceKind::kS3, "S3"},
    Word<SourceKind>{SourceKind::kAzure, "AZURE"},
    Word<SourceKind>{SourceKind::kRemoteUrl, "REMOTE_URL"},
    Word<SourceKind>{SourceKind::kBasetenTraining, "BASETEN_TRAINING"},
};

template <typename Words, typename Enum>
std::string_view text_of(const Words& words, Enum value) {
  const auto found =
      std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.value == value; });
  CHECK(found != words.end());
  return found->text;
}

template <typename Words>
auto value_of(const Words& words, std::string_view text)
    -> std::optional<decltype(words.front().value)> {
  const auto found =
      std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.text == text; });
  if (found == words.end()) return std::nullopt;
  return found->value;
}

}  // namespace

std::string_view to_string(BaseModel base_model) {
  return text_of(kBaseModels, base_model);
}

std::string_view to_string(QuantizationType type) {
  return text_of(kQuantizationTypes, type);
}

std::string_view to_string(SourceKind kind) {
  return text_of(kSourceKinds, kind);
}

std::optional<BaseModel> base_model_from_name(std::string_view name) {
  return value_of(kBaseModels, name);
}

std::optional<QuantizationType> quantization_type_from_name(std::string_view name) {
  return value_of(kQuantizationTypes, name);
}

std::optional<SourceKind> source_kind_from_name(std::string_view name) {
  return value_of(kSourceKinds, name);
}

bool is_hub_repository(std::string_view id) {
  if (id.empty() || id.size() > 96 || std::count(id.begin(), id.end(), '/') > 1) return false;
  if (id.find("--") != id.npos || id.find("..") != id.npos || id.ends_with(".git")) return false;
  const size_t slash = id.find('/');
  for (std::string_view part :
       {id.substr(0, slash), slash == id.npos ? "x" : id.substr(slash + 1)}) {
    const auto is_word = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    };
    if (part.empty() || !is_word(part.front()) || !is_word(part.back())) return false;
    if (!std::all_of(part.begin(), part.end(),
                     [&](char c) { return is_word(c) || c == '-' || c == '.'; })) {
      return false;
    }
  }
  return true;
}

std::string to_string(const ModelSource& source) {
  return fmt::format("{}:{}{}{}", to_string(source.kind), source.repo,
                     source.revision.empty() ? "" : "@", source.revision);
}

std::string to_string(const BuildConfig& config) {
  return fmt::format(
      "base_model: {}\nsource: {}\nmax_seq_len: {}\nmax_batch_size: {}\nmax_num_tokens: {}\n"
      "quantization_type: {}\ndtype: {}\ntargets: [{}]\n",
      config.base_model ? to_string(*config.base_model) : "from the checkpoint",
      to_string(config.source),
      config.max_seq_len ? std::to_string(*config.max_seq_len) : "from the checkpoint",
      config.max_batch_size, config.max_num_tokens, to_string(config.quantization_type),
      to_string(config.dtype), fmt::join(config.targets, ", "));
}

}  // namespace millrace
