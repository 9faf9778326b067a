// Steps from batch to rows.
#include "runtime/model_runner.h"

namespace millrace {

void ModelRunner::launch(const Batch& batch, bool with_token_rows) {
  CHECK(static_cast<int>(in_flight_.size()) < max_in_flight(), "{} steps in flight",
        in_flight_.size());
  ops_->begin_step(batch);
  const Output output = model_->forward(*ops_, batch);
  CHECK(output.vectors || output.logits, "the model gave neither vectors nor logits");
  const Tensor& rows = output.vectors ? *output.vectors : *output.logits;
  CHECK(rows.rows() == batch.num_sequences(), "{} for {}", to_string(rows), to_string(batch));
  Launched launched{.rows = ops_->to_host(rows)};
  if (with_token_rows) {
    const Tensor tokens = ops_->as_input(output.hidden, {.dtype = DType::kF32}).values;
    CHECK(tokens.rows() == batch.num_tokens(), "{} for {}", to_string(tokens), to_string(batch));
    launched.token_rows = ops_->to_host(tokens);
  }
  launched.step = ops_->end_step();
  in_flight_.push_back(launched);
}

StepOutput ModelRunner::collect() {
  CHECK(!in_flight_.empty(), "no step is in flight");
  const Launched launched = in_flight_.front();
  in_flight_.pop_front();
  ops_->wait_step(launched.step);
  StepOutput output{.rows = launched.rows.as<const float>(), .width = launched.rows.columns()};
  if (launched.token_rows) {
    output.token_rows = launched.token_rows->as<const float>();
    output.token_width = launched.token_rows->columns();
  }
  return output;
}

StepOutput ModelRunner::run(const Batch& batch, bool with_token_rows) {
  launch(batch, with_token_rows);
  return collect();
}

}  // namespace millrace
