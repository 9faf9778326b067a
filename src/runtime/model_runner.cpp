// Steps from batch to rows.
#include "runtime/model_runner.h"

namespace millrace {

void ModelRunner::launch(const Batch& batch, bool with_token_rows) {
  CHECK(static_cast<int>(in_flight_.size()) < max_in_flight(), "{} steps in flight",
        in_flight_.size());
  const auto forward = [&](const Batch& rows) {
    const Output output = model_->forward(*ops_, rows);
    CHECK(output.vectors || output.logits, "the model gave neither vectors nor logits");
    StepRows wanted{.sequences = output.vectors ? output.vectors : output.logits};
    if (with_token_rows)
      wanted.tokens = ops_->as_input(output.hidden, {.dtype = DType::kF32}).values;
    return wanted;
  };
  Step step = ops_->run_step(batch, with_token_rows ? 1 : 0, forward);
  CHECK(step.rows.sequences->rows() == batch.num_sequences() &&
            (!with_token_rows || step.rows.tokens->rows() == batch.num_tokens()),
        "{} for {}", to_string(*step.rows.sequences), to_string(batch));
  in_flight_.push_back(std::move(step));
}

StepOutput ModelRunner::collect() {
  CHECK(!in_flight_.empty(), "no step is in flight");
  const Step step = in_flight_.front();
  in_flight_.pop_front();
  ops_->wait_step(step.number);
  const Tensor& rows = *step.rows.sequences;
  StepOutput output{.rows = rows.as<const float>(), .width = rows.columns()};
  if (const auto& tokens = step.rows.tokens) {
    output.token_rows = tokens->as<const float>();
    output.token_width = tokens->columns();
  }
  return output;
}

StepOutput ModelRunner::run(const Batch& batch, bool with_token_rows) {
  launch(batch, with_token_rows);
  return collect();
}

}  // namespace millrace
