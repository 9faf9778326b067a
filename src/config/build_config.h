// BuildConfig: what to build, as `trt_llm.build` of config.yaml or the flags of `build` say it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace millrace {

// The kind of engine, in the words of `trt_llm.build.base_model`.
enum class BaseModel : uint8_t {
  kDecoder,      // generates text
  kEncoder,      // causal embedders, rerankers and classifiers
  kEncoderBert,  // bidirectional encoders
};

enum class QuantizationType : uint8_t {
  kNoQuant,
  kFp8,
  kFp8Kv,
  kFp4,
  kFp4Kv,
  kFp4MlpOnly,
  kWeightsInt8,
  kWeightsKvInt8,
  kWeightsInt4,
  kWeightsInt4KvInt8,
  kSmoothQuant,
};

// Where a checkpoint comes from, in the words of `checkpoint_repository.source`.
enum class SourceKind : uint8_t {
  kHuggingFace,
  kLocal,
  kGcs,
  kS3,
  kAzure,
  kRemoteUrl,
  kBasetenTraining,
};

// The words of config.yaml: "encoder_bert", "fp8_kv", "LOCAL".
std::string_view to_string(BaseModel base_model);
std::string_view to_string(QuantizationType type);
std::string_view to_string(SourceKind kind);
std::optional<BaseModel> base_model_from_name(std::string_view name);
std::optional<QuantizationType> quantization_type_from_name(std::string_view name);
std::optional<SourceKind> source_kind_from_name(std::string_view name);

// Whether this can be the id of a repository: huggingface_hub's rules for [owner/]name (letters,
// digits, - _ . with no "--" or "..", no - or . at an end, at most 96 characters, not ".git").
bool is_hub_repository(std::string_view id);

struct ModelSource {
  SourceKind kind = SourceKind::kLocal;
  std::string repo;      // kLocal: a directory, already relative to the working directory
  std::string revision;  // branch, tag or commit; empty: the source's default
  std::string runtime_secret_name = "hf_access_token";  // holds the credentials of the source

  bool operator==(const ModelSource&) const = default;
};

struct BuildConfig {
  std::optional<BaseModel> base_model;  // absent: the checkpoint's architecture decides
  ModelSource source;
  std::optional<int64_t> max_seq_len;  // tokens per sequence; absent: what the checkpoint allows
  int64_t max_batch_size = 256;        // sequences per step; 1..1024 for encoder_bert
  int64_t max_num_tokens = 8192;       // tokens per step, all sequences; at least 1024
  QuantizationType quantization_type = QuantizationType::kNoQuant;
  ComputeDType dtype = ComputeDType::kAuto;  // what the engine computes in unless serve says else
  std::vector<std::string> targets;  // GPU architectures ("sm_90a") of the accelerator asked for

  bool operator==(const BuildConfig&) const = default;
};

std::string to_string(const ModelSource& source);  // "LOCAL:./minilm", "HF:BAAI/bge-m3@main"
std::string to_string(const BuildConfig& config);  // one line per setting

}  // namespace millrace
