// The loop of text generation. Nothing that a client sends ends it: a step that throws fails its
// own requests.
#include "runtime/generation_core.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "ops/cuda_backend.h"
#include "runtime/engine_errors.h"

namespace millrace {

struct GenerationCore::Active : DecodeRequest {
  Active(GenerationRequest request, int64_t vocab_size)
      : asked(std::move(request)), setup(asked, vocab_size) {
    prompt = std::move(asked.prompt);
    max_new_tokens = asked.sampling.max_tokens;
    num_choices = asked.sampling.best_of.value_or(asked.sampling.n);
    priority = asked.priority;
    deadline = asked.deadline;
    scope = asked.scope;
    handle = std::make_shared<RequestHandle>();
    for (size_t choice = 0; choice < static_cast<size_t>(num_choices); ++choice)
      samplers.emplace_back(setup, choice);
  }

  GenerationRequest asked;
  SamplerSetup setup;
  std::vector<Sampler> samplers;  // [num_choices]
};

GenerationCore::GenerationCore(std::unique_ptr<DecodeRunner> runner, const GenerationConfig& config,
                               std::function<void()> on_lost)
    : runner_(std::move(runner)),
      config_(config),
      on_lost_(std::move(on_lost)),
      idle_since_(Clock::now()),
      blocks_(config.blocks),
      scheduler_(config.limits, blocks_) {
  CHECK(config.limits.max_steps_in_flight == 1, "a step is committed before the next one");
  publish({}, false);
  thread_ = std::thread([this] {
    name_thread("engine");
    loop();
  });
}

GenerationCore::~GenerationCore() {
  stop();
}

std::shared_ptr<RequestHandle> GenerationCore::submit(GenerationRequest request) {
  for (const int32_t token : request.prompt)
    CHECK(token >= 0 && token < config_.vocab_size, "token {} of a prompt", token);
  auto added = std::make_shared<Active>(std::move(request), config_.vocab_size);
  scheduler_.check(*added);
  std::shared_ptr<RequestHandle> handle = added->handle;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || lost_) std::rethrow_exception(unavailable_error(lost_));
    if (stats_.num_requests++ == 0) idle_since_ = Clock::now();
    arrivals_.push_back(std::move(added));
  }
  wake_.notify_one();
  return handle;
}

void GenerationCore::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  std::call_once(joined_, [this] { thread_.join(); });
}

GenerationStats GenerationCore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

bool GenerationCore::healthy(Clock::duration patience) const {
  const std::lock_guard lock(mutex_);
  return !stopping_ && !lost_ &&
         (stats_.num_requests == 0 || Clock::now() - idle_since_ <= patience);
}

void GenerationCore::loop() {
  while (true) {
    std::vector<std::shared_ptr<Active>> arrived;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !arrivals_.empty() || !scheduler_.empty(); });
      if (stopping_ || lost_) break;
      arrived.swap(arrivals_);
    }
    for (std::shared_ptr<Active>& request : arrived) {
      scheduler_.add(request);
      in_work_.push_back(std::move(request));
    }
    for (const auto& dropped : scheduler_.drop(Clock::now())) {
      auto& request = static_cast<Active&>(*dropped);
      for (size_t choice = 0; choice < request.choices.size(); ++choice) {
        if (request.choices[choice].finish_reason == FinishReason::kTimeout)
          send(request, {.choice = choice,
                         .finish_reason = FinishReason::kTimeout,
                         .error = deadline_error()});
      }
    }
    run(scheduler_.next_step());
  }
  fail_rest();
}

void GenerationCore::run(const DecodeStep& step) {
  copies_.insert(copies_.end(), step.copies.begin(), step.copies.end());
  if (step.empty()) return publish(step, false);
  try {
    const Batch batch = make_batch(step, blocks_);
    const SamplingBatch sampling = make_sampling(step);
    commit(step, runner_->run(std::exchange(copies_, {}), batch, sampling));
    publish(step, false);
  } catch (...) {
    fail(step);
  }
}

GenerationCore::Active& GenerationCore::active(const DecodeItem& item) {
  return static_cast<Active&>(*item.request);
}

// A row for each token to draw, in the order of the items; choices that begin together draw from
// the same logits.
SamplingBatch GenerationCore::make_sampling(const DecodeStep& step) const {
  SamplingBatch sampling;
  int64_t logits_row = 0;
  for (const DecodeItem& item : step.items) {
    if (item.num_samples == 0) continue;
    for (size_t i = 0; i < static_cast<size_t>(item.num_samples); ++i) {
      Sampler& sampler = active(item).samplers[item.choice + i];
      sampling.append(sampler.next_row(logits_row, item.sequence().tokens));
    }
    ++logits_row;
  }
  return sampling;
}

void GenerationCore::commit(const DecodeStep& step, const SampledRows& sampled) {
  size_t row = 0;
  for (const DecodeItem& item : step.items) {
    const auto count = static_cast<size_t>(item.num_samples);
    const auto tokens = sampled.tokens.subspan(row, count);
    Active& request = active(item);
    if (std::ranges::find(tokens, -1) != tokens.end()) {
      end_all(request, FinishReason::kError,
              std::make_exception_ptr(
                  Error(ErrorCode::kUnsupported, "no token is left that could be drawn",
                        "allowed tokens and bans may exclude all; or the checkpoint is damaged")));
    } else {
      scheduler_.commit(item, tokens);
      for (size_t i = 0; i < count; ++i) answer(request, item.choice + i, sampled, row + i);
    }
    row += count;
  }
}

// Sends what was drawn for a choice, and ends it where that was its last token.
void GenerationCore::answer(Active& request, size_t choice, const SampledRows& sampled,
                            size_t row) {
  const DecodeSequence& sequence = request.choices[choice];
  if (sequence.state == DecodeSequence::State::kFinished) return;
  GeneratedToken token{.id = sampled.tokens[row]};
  if (const auto wanted = request.asked.sampling.logprobs) {
    token.logprob = sampled.logprobs[row];
    token.rank = sampled.ranks[row];
    for (size_t i = row * sampled.num_top; i < row * sampled.num_top + static_cast<size_t>(*wanted);
         ++i)
      token.top.emplace_back(sampled.top_tokens[i], sampled.top_logprobs[i]);
  }
  GenerationChunk chunk{.choice = choice, .num_cached_tokens = request.num_cached_tokens};
  chunk.tokens.push_back(std::move(token));
  if (request.samplers[choice].is_end(sequence.tokens)) {
    chunk.finish_reason = FinishReason::kStop;
  } else if (request.is_full(choice)) {
    chunk.finish_reason = FinishReason::kLength;
  }
  if (chunk.finish_reason != FinishReason::kNone)
    scheduler_.finish(request, choice, chunk.finish_reason);
  send(request, std::move(chunk));
}

// Ends the requests of a step with the exception that is being handled.
void GenerationCore::fail(const DecodeStep& step) {
  const std::exception_ptr error = std::current_exception();
  log::error("a step of {} sequences and {} tokens failed: {}", step.items.size(), step.num_tokens,
             current_exception_text());
  for (const DecodeItem& item : step.items) end_all(active(item), FinishReason::kError, error);
  publish(step, true);
  try {
    std::rethrow_exception(error);
  } catch (const DeviceLost&) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(lost_, true)) return;
    }
    if (on_lost_) on_lost_();
  } catch (...) {
    return;  // its own requests alone were hurt
  }
}

// Every choice that has not ended yet.
void GenerationCore::end_all(Active& request, FinishReason reason,
                             const std::exception_ptr& error) {
  std::vector<size_t> open;
  for (size_t choice = 0; choice < request.choices.size(); ++choice) {
    if (request.choices[choice].state != DecodeSequence::State::kFinished) open.push_back(choice);
  }
  for (const size_t choice : open) {
    scheduler_.finish(request, choice, reason);
    send(request, {.choice = choice, .finish_reason = reason, .error = error});
  }
}

void GenerationCore::send(Active& request, GenerationChunk chunk) {
  if (request.handle->cancelled()) return;
  try {
    request.asked.on_chunk(std::move(chunk));
  } catch (...) {
    log::error("generated text could not be handed over: {}", current_exception_text());
  }
}

void GenerationCore::publish(const DecodeStep& step, bool failed) {
  const size_t num_ended =
      std::erase_if(in_work_, [](const auto& request) { return request->is_finished(); });
  GenerationStats now;
  now.num_preemptions = scheduler_.num_preemptions();
  now.num_running = scheduler_.num_running();
  now.num_waiting = scheduler_.num_waiting();
  now.prefixes = blocks_.stats();
  for (size_t group = 0; group < blocks_.num_groups(); ++group)
    now.groups.push_back(blocks_.group_stats(group));
  int64_t num_sampled = 0;
  int64_t num_prompt = 0;
  for (const DecodeItem& item : step.items) {
    num_sampled += item.num_samples;
    num_prompt +=
        std::max<int64_t>(0, std::min(item.end, item.request->num_prompt_tokens()) - item.begin);
  }
  const std::lock_guard lock(mutex_);
  now.num_requests = stats_.num_requests - num_ended;
  now.num_steps = stats_.num_steps + (step.empty() ? 0 : 1);
  now.num_failed_steps = stats_.num_failed_steps + (failed ? 1 : 0);
  now.num_prompt_tokens = stats_.num_prompt_tokens + static_cast<uint64_t>(failed ? 0 : num_prompt);
  now.num_generated_tokens =
      stats_.num_generated_tokens + static_cast<uint64_t>(failed ? 0 : num_sampled);
  stats_ = std::move(now);
  idle_since_ = Clock::now();
}

void GenerationCore::fail_rest() {
  {
    const std::lock_guard lock(mutex_);
    for (std::shared_ptr<Active>& request : arrivals_) {
      scheduler_.add(request);
      in_work_.push_back(std::move(request));
    }
    arrivals_.clear();
  }
  const std::exception_ptr error = unavailable_error(lost_);  // no other thread writes it
  for (const std::shared_ptr<Active>& request : in_work_)
    end_all(*request, FinishReason::kError, error);
  publish({}, false);
}

}  // namespace millrace
