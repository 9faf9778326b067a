// The forward pass of a post-norm encoder.
#include "layers/encoder_model.h"

namespace millrace {

HiddenStates EncoderModel::forward(Ops& ops, const Batch& batch) const {
  HiddenStates hidden = ops.embed(batch, tables, embedding_norm, layers.front().qkv.input);
  for (const EncoderLayer& layer : layers) {
    {
      const ArenaScope scope(ops.arena());
      const Activation qkv = ops.linear(hidden.normed, layer.qkv);
      const Activation context = ops.attention(qkv, batch, attention, layer.attention_out.input);
      ops.add_layer_norm(hidden, ops.linear(context, layer.attention_out), layer.attention_norm);
    }
    const ArenaScope scope(ops.arena());
    const Activation inner = ops.linear(hidden.normed, layer.up, hidden_act, layer.down.input);
    ops.add_layer_norm(hidden, ops.linear(inner, layer.down), layer.output_norm);
  }
  return hidden;
}

}  // namespace millrace
