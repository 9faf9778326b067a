// One step from batch to rows.
#include "runtime/model_runner.h"

namespace millrace {

StepOutput ModelRunner::run(const Batch& batch) {
  ops_->arena().reset();
  const Output output = model_->forward(*ops_, batch);
  CHECK(output.vectors || output.logits, "the model gave neither vectors nor logits");
  const Tensor& rows = output.vectors ? *output.vectors : *output.logits;
  CHECK(rows.rows() == batch.num_sequences(), "{} for {}", to_string(rows), to_string(batch));
  const Tensor& tokens = output.hidden;
  CHECK(tokens.rows() == batch.num_tokens() && tokens.is_contiguous(), "{} for {}",
        to_string(tokens), to_string(batch));
  return {.rows = rows.as<const float>(),
          .width = rows.columns(),
          .token_rows = tokens.as<const float>(),
          .token_width = tokens.columns()};
}

}  // namespace millrace
