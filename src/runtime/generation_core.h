// GenerationCore: one thread that recites schedule -> launch -> commit -> sample over the requests
// of a text generator.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/decode_runner.h"
#include "runtime/sampler.h"

namespace millrace {

// Steps are counted by their tokens, up to each of these (vLLM's buckets), or more.
inline constexpr std::array<int64_t, 13> kStepTokenBounds = {1,   8,    16,   32,   64,   128,  256,
                                                             512, 1024, 2048, 4096, 8192, 16384};

// What the engine has done and is doing; a snapshot.
struct GenerationStats {
  uint64_t num_steps = 0;
  uint64_t num_failed_steps = 0;
  uint64_t num_step_tokens = 0;                                         // of all steps
  std::array<uint64_t, kStepTokenBounds.size() + 1> steps_by_tokens{};  // the last: beyond them
  uint64_t num_prompt_tokens = 0;     // computed; those found in the cache are not
  uint64_t num_generated_tokens = 0;  // given to requests
  uint64_t num_preemptions = 0;
  size_t num_requests = 0;  // submitted and not ended
  size_t num_running = 0;   // sequences with blocks
  size_t num_waiting = 0;   // sequences without
  BlockManagerStats prefixes;
  std::vector<CacheGroupStats> groups;
};

struct GenerationConfig {
  DecodeLimits limits;        // those that the runner's arena was planned for
  BlockManagerConfig blocks;  // the cache that the runner's ops were given
  int64_t vocab_size = 0;
};

class GenerationCore {
 public:
  // Starts the thread. `on_lost` is called once, on the engine's thread, when the device fails for
  // good.
  GenerationCore(std::unique_ptr<DecodeRunner> runner, const GenerationConfig& config,
                 std::function<void()> on_lost = {});
  ~GenerationCore();  // stop()
  GenerationCore(const GenerationCore&) = delete;
  GenerationCore& operator=(const GenerationCore&) = delete;

  // Any thread. Throws Error{kInvalidArgument} for what could never be run, Error{kUnavailable}
  // after stop() or when the device is lost. The caller bounds how many requests it has submitted.
  std::shared_ptr<RequestHandle> submit(GenerationRequest request);

  // Fails what has not ended with Error{kUnavailable}, ends the thread. Any thread but the engine's
  // own, any number of times.
  void stop();

  GenerationStats stats() const;

  // False when requests have waited for longer than `patience` without a step being finished, and
  // when the device is lost.
  bool healthy(Clock::duration patience) const;

 private:
  struct Active;  // a request in work

  // A step on its way.
  struct Step {
    DecodeStep schedule;
    std::vector<size_t> first_rows = {};  // [items]: of those drawn, where an item's begin
  };

  static Active& active(const DecodeItem& item);
  void loop();
  void take(std::vector<std::shared_ptr<Active>> arrived);
  void advance();
  void launch(const Step& step);
  void sample(Step& step);
  void complete(const Step& step);
  void commit(const Step& step, const SampledRows& sampled);
  void answer(Active& request, size_t choice, const SampledRows& sampled, size_t row);
  void fail(const Step& step, const std::exception_ptr& error);
  void redo(const Step& step);
  void note_failure(const Step& step, const std::exception_ptr& error);
  bool is_lost() const;
  void end_all(Active& request, FinishReason reason, const std::exception_ptr& error);
  void send(Active& request, GenerationChunk chunk);
  void publish(const DecodeStep& step);
  void fail_rest();

  std::unique_ptr<DecodeRunner> runner_;
  GenerationConfig config_;
  std::function<void()> on_lost_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Active>> arrivals_;  // guarded by mutex_
  bool stopping_ = false;                          // guarded by mutex_
  bool lost_ = false;                              // guarded by mutex_
  GenerationStats stats_;                          // guarded by mutex_
  Clock::time_point idle_since_;                   // guarded by mutex_: last sign of progress

  BlockManager blocks_;  // of the engine thread, as all below
  DecodeScheduler scheduler_;
  std::vector<std::shared_ptr<Active>> in_work_;
  uint64_t num_generated_ = 0;     // tokens that were answered since stats_ were told
  std::vector<KvCopy> copies_;     // to be made before the next forward pass
  std::optional<Step> in_flight_;  // launched and sampled, and not committed
  std::thread thread_;
  std::once_flag joined_;
};

}  // namespace millrace
