// Request: what a client asked of the engine, immutable once submitted, and its answer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace millrace {

// One input of a request: a sequence of the packed batch.
struct Sequence {
  std::vector<int32_t> token_ids;
  std::vector<int32_t> token_type_ids;

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
};

// How long the parts of a request took.
struct RequestTimings {
  Clock::duration queue{};    // submitted until its first sequence entered a step
  Clock::duration compute{};  // from then until its last sequence left one
};

// Which rows a request wants of the model.
enum class OutputKind : uint8_t {
  kSequence,  // one a sequence: its vector or its logits
  kTokens,    // one a token: the last layer's
};

// What a request ends with: rows for every sequence, or the reason why not.
struct RequestResult {
  std::vector<float> rows;        // [num_rows, width]
  std::vector<size_t> first_row;  // [num_sequences + 1]: where the rows of each sequence begin
  int64_t width = 0;
  std::exception_ptr error;  // set: `rows` is empty
  RequestTimings timings;

  std::span<const float> row(size_t index) const {
    return std::span(rows).subspan(index * static_cast<size_t>(width), static_cast<size_t>(width));
  }
};

struct Request {
  std::vector<Sequence> sequences;  // at least one, none empty
  OutputKind output = OutputKind::kSequence;
  std::optional<Clock::time_point> deadline;  // what has not finished by then is given up
  // Called once, on the engine thread: hand over and return. Not called after a cancel() that came
  // in time.
  std::function<void(RequestResult)> on_done;
};

// A client's hold on its request.
class RequestHandle {
 public:
  // Any thread. Sequences that are not in a step yet will not enter one.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // One choice of a generator's request; the others go on. Any thread.
  void cancel(size_t choice) {
    CHECK(choice < kMaxChoices, "choice {}", choice);
    choices_[choice / 64].fetch_or(uint64_t{1} << (choice % 64), std::memory_order_relaxed);
  }
  bool cancelled(size_t choice) const {
    return choice < kMaxChoices &&
           (choices_[choice / 64].load(std::memory_order_relaxed) >> (choice % 64) & 1) != 0;
  }

 private:
  static constexpr size_t kMaxChoices = 128;  // SamplingLimits::max_choices

  std::atomic<bool> cancelled_{false};
  std::array<std::atomic<uint64_t>, kMaxChoices / 64> choices_{};  // a bit for each
};

}  // namespace millrace
