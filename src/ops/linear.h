// Linear and its neighbours: weights as ops consume them, and the activations between them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "tensor/weight_format.h"

namespace millrace {

// The form in which a Linear wants its input. Block-scaled formats will add their scales here.
struct ActivationFormat {
  DType dtype = DType::kF32;

  bool operator==(const ActivationFormat&) const = default;
};

// Rows of values in the input format of the op that consumes them.
struct Activation {
  Tensor values;  // [rows, features]
  ActivationFormat format;
};

// A backend's own copy of a weight, in the layout of its kernels.
struct PreparedWeight {
  virtual ~PreparedWeight() = default;
};

// The rows of a merged Linear that came from one weight of the checkpoint.
struct LinearPart {
  std::string name;  // e.g. "query"
  int64_t rows = 0;
};

// y = x * weight^T + bias.
struct Linear {
  Tensor weight;                  // [out_features, in_features]; without values once prepared
  std::optional<Tensor> bias;     // [out_features]
  WeightFormat format;            // how `weight` is stored
  std::vector<LinearPart> parts;  // in row order; one when nothing was merged
  ActivationFormat input;         // what the backend wants x to be; set by prepare()
  std::shared_ptr<const PreparedWeight> prepared;

  int64_t out_features() const { return weight.shape[0]; }
  int64_t in_features() const { return weight.shape[1]; }
};

// LN(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, over the last dimension.
struct LayerNorm {
  Tensor weight;  // [features]
  Tensor bias;    // [features]
  float eps = 1e-12f;
};

// RMS(x) = x / sqrt(mean(x^2) + eps) * (weight + offset), over the last dimension.
struct RmsNorm {
  Tensor weight;  // [features]
  float eps = 1e-6f;
  float offset = 0.0f;  // 1 where the checkpoint stores weights around 0 (Gemma)
};

// Tables whose rows are added up to a token's first hidden row. Absent tables have no rows to add.
struct EmbeddingTables {
  Tensor word;                       // [vocab, hidden]
  std::optional<Tensor> position;    // [positions, hidden]
  std::optional<Tensor> token_type;  // [types, hidden]
};

// The rows that flow from layer to layer: the residual stream, and its normalised form in the input
// format of the next Linear. One memory where both are the same values in the same format.
struct HiddenStates {
  Tensor residual;    // [num_tokens, hidden]
  Activation normed;  // [num_tokens, hidden]
};

}  // namespace millrace
