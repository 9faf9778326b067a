// BERT's tensors by name, and the two heads.
#include "models/bert.h"

#include <cmath>

#include "layers/encoder_model.h"

namespace millrace {

namespace {

EncoderLayer bert_layer(const Params& p, const ModelConfig& c) {
  const int64_t h = c.hidden_size;
  const Params attention = p / "attention";
  return {
      .qkv = (attention / "self").merged_linear("qkv", {{"query", h}, {"key", h}, {"value", h}}, h),
      .attention_out = (attention / "output").linear("dense", h, h),
      .attention_norm = (attention / "output").layer_norm("LayerNorm", h, c.norm_eps),
      .up = (p / "intermediate").linear("dense", c.intermediate_size, h),
      .down = (p / "output").linear("dense", h, c.intermediate_size),
      .output_norm = (p / "output").layer_norm("LayerNorm", h, c.norm_eps)};
}

EncoderModel bert_encoder(const Params& p, const ModelConfig& c) {
  const int64_t h = c.hidden_size;
  const Params embeddings = p / "embeddings";
  EncoderModel encoder;
  encoder.tables.word = embeddings.tensor("word_embeddings.weight", {c.vocab_size, h});
  encoder.tables.position =
      embeddings.tensor("position_embeddings.weight", {c.max_position_embeddings, h});
  encoder.tables.token_type =
      embeddings.tensor("token_type_embeddings.weight", {c.type_vocab_size, h});
  encoder.embedding_norm = embeddings.layer_norm("LayerNorm", h, c.norm_eps);
  const Params layers = p / "encoder" / "layer";
  for (int64_t i = 0; i < c.num_layers; ++i)
    encoder.layers.push_back(bert_layer(layers / std::to_string(i), c));
  encoder.attention = {.num_heads = c.num_heads,
                       .head_dim = c.head_dim,
                       .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim))};
  encoder.hidden_act = c.hidden_act;
  return encoder;
}

class BertModel : public Model {
 public:
  BertModel(const Params& p, const ModelConfig& c)
      : encoder_(bert_encoder(p.within_optional("bert"), c)),
        pooling_(c.pooling),
        normalize_(c.normalize) {}

  Output forward(Ops& ops, const Batch& batch) const override {
    const Tensor hidden = encoder_.forward(ops, batch).residual;
    const Tensor vectors = ops.pool(hidden, batch, pooling_);
    if (normalize_) ops.normalize_rows(vectors);
    return {.hidden = hidden, .vectors = vectors};
  }

 private:
  EncoderModel encoder_;
  PoolingMode pooling_;
  bool normalize_;
};

// logits = classifier(tanh(pooler(first row))).
class BertForSequenceClassification : public Model {
 public:
  BertForSequenceClassification(const Params& p, const ModelConfig& c)
      : encoder_(bert_encoder(p / "bert", c)),
        pooler_((p / "bert" / "pooler").linear("dense", c.hidden_size, c.hidden_size)),
        classifier_(p.linear("classifier", static_cast<int64_t>(c.labels.size()), c.hidden_size)) {}

  Output forward(Ops& ops, const Batch& batch) const override {
    const Tensor hidden = encoder_.forward(ops, batch).residual;
    const Activation first =
        ops.as_input(ops.pool(hidden, batch, PoolingMode::kCls), pooler_.input);
    const Activation pooled =
        ops.linear(first, pooler_, ActivationFunction::kTanh, classifier_.input);
    const Activation logits =
        ops.linear(pooled, classifier_, ActivationFunction::kNone, {.dtype = DType::kF32});
    return {.hidden = hidden, .logits = logits.values};
  }

 private:
  EncoderModel encoder_;
  Linear pooler_;
  Linear classifier_;
};

}  // namespace

std::unique_ptr<Model> make_bert_model(const Params& params, const ModelConfig& config) {
  return std::make_unique<BertModel>(params, config);
}

std::unique_ptr<Model> make_bert_for_sequence_classification(const Params& params,
                                                             const ModelConfig& config) {
  return std::make_unique<BertForSequenceClassification>(params, config);
}

}  // namespace millrace
