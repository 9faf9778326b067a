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

namespace {

// A row of those drawn, with as many of the most likely tokens as were asked for.
GeneratedToken generated(const SampledRows& sampled, size_t row,
                         const std::optional<int64_t>& num_logprobs) {
  GeneratedToken token{.id = sampled.tokens[row]};
  if (!num_logprobs) return token;
  token.logprob = sampled.logprobs[row];
  token.rank = sampled.ranks[row];
  const size_t first = row * sampled.num_top;
  for (size_t i = first; i < first + static_cast<size_t>(*num_logprobs); ++i)
    token.top.emplace_back(sampled.top_tokens[i], sampled.top_logprobs[i]);
  return token;
}

// What `work` threw; null where it did not.
std::exception_ptr attempt(const auto& work) {
  try {
    work();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

struct GenerationCore::Active : DecodeRequest {
  Active(GenerationRequest request, int64_t vocab_size)
      : asked(std::move(request)), setup(asked, vocab_size) {
    prompt = std::move(asked.prompt);
    max_new_tokens = asked.sampling.max_tokens;
    num_choices = asked.sampling.best_of.value_or(asked.sampling.n);
    priority = asked.priority;
    deadline = asked.deadline;
    scope = asked.scope;
    prompt_logits = asked.sampling.prompt_logprobs.has_value();
    if (prompt_logits && !prompt.empty()) prompt_tokens.push_back({.id = prompt.front()});
    handle = std::make_shared<RequestHandle>();
    for (size_t choice = 0; choice < static_cast<size_t>(num_choices); ++choice)
      samplers.emplace_back(setup, choice);
  }

  void tell_prompt(const SampledRows& sampled, size_t row) {
    prompt_tokens.push_back(generated(sampled, row, asked.sampling.prompt_logprobs));
  }

  GenerationRequest asked;
  SamplerSetup setup;
  std::vector<Sampler> samplers;              // [num_choices]
  std::vector<GeneratedToken> prompt_tokens;  // until the first chunk takes them along
  Clock::time_point scheduled_at{};           // entered its first step
};

GenerationCore::GenerationCore(std::unique_ptr<DecodeRunner> runner, const GenerationConfig& config,
                               std::function<void()> on_lost)
    : runner_(std::move(runner)),
      config_(config),
      on_lost_(std::move(on_lost)),
      idle_since_(Clock::now()),
      blocks_(config.blocks),
      scheduler_(config.limits, blocks_) {
  CHECK(config.limits.max_steps_in_flight == 1 || config.limits.max_steps_in_flight == 2,
        "{} steps in flight", config.limits.max_steps_in_flight);
  publish({});
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
      wake_.wait(lock, [&] {
        return stopping_ || lost_ || !arrivals_.empty() || !scheduler_.empty() || in_flight_;
      });
      if (stopping_ || lost_) break;
      arrived.swap(arrivals_);
    }
    take(std::move(arrived));
    advance();
  }
  fail_rest();
}

// What arrived joins what is in work; what was cancelled or is late leaves it.
void GenerationCore::take(std::vector<std::shared_ptr<Active>> arrived) {
  for (std::shared_ptr<Active>& request : arrived) {
    scheduler_.add(request);
    in_work_.push_back(std::move(request));
  }
  for (const auto& dropped : scheduler_.drop(Clock::now())) {
    auto& request = static_cast<Active&>(*dropped);
    for (size_t choice = 0; choice < request.choices.size(); ++choice) {
      if (request.choices[choice].finish_reason == FinishReason::kTimeout)
        send(
            request,
            {.choice = choice, .finish_reason = FinishReason::kTimeout, .error = deadline_error()});
    }
  }
}

// The recital: the next step is launched, the one before it is read and committed while the device
// works, then the next one's tokens are drawn, by what all tokens before them ask for.
void GenerationCore::advance() {
  Step next{.schedule = scheduler_.next_step()};
  const std::vector<KvCopy>& copies = next.schedule.copies;
  copies_.insert(copies_.end(), copies.begin(), copies.end());
  const bool is_empty = next.schedule.empty();
  std::exception_ptr error;  // of the next step
  if (!is_empty) error = attempt([&] { launch(next); });
  if (in_flight_) {
    const Step last = *std::exchange(in_flight_, std::nullopt);
    if (const auto lost = attempt([&] { complete(last); })) {
      fail(last, lost);
      if (!is_empty) redo(next);  // it may go on from tokens that nobody has read
      return;
    }
  }
  if (is_empty) return publish({});
  if (!error) error = attempt([&] { sample(next); });
  if (error) return fail(next, error);
  in_flight_ = std::move(next);
  if (config_.limits.max_steps_in_flight > 1) return;
  const Step last = *std::exchange(in_flight_, std::nullopt);
  if (const auto lost = attempt([&] { complete(last); })) fail(last, lost);
}

void GenerationCore::launch(const Step& step) {
  for (const DecodeItem& item : step.schedule.items) {
    Active& request = active(item);
    if (request.scheduled_at == Clock::time_point()) request.scheduled_at = Clock::now();
  }
  const Batch batch = make_batch(step.schedule, blocks_);
  runner_->launch(copies_, batch);
}

// Rows for the tokens to draw, in the order of the items: first those that tell of a prompt;
// choices that begin together draw from the same logits. Nothing is drawn for what has ended since
// the step was launched.
void GenerationCore::sample(Step& step) {
  SamplingBatch sampling;
  int64_t logits_row = 0;
  step.first_rows.clear();
  for (const DecodeItem& item : step.schedule.items) {
    Active& request = active(item);
    DecodeSequence& sequence = item.sequence();
    const bool has_ended = sequence.state == DecodeSequence::State::kFinished;
    step.first_rows.push_back(static_cast<size_t>(sampling.num_rows()));
    for (int64_t position = item.logits_begin; position < item.logits_end; ++position) {
      if (!has_ended)
        sampling.append(
            {.logits_row = logits_row,
             .num_logprobs = static_cast<int32_t>(*request.asked.sampling.prompt_logprobs),
             .given_token = request.prompt[static_cast<size_t>(position) + 1]});
      ++logits_row;
    }
    if (item.num_samples == 0) continue;
    sequence.sampled_row = static_cast<int32_t>(sampling.num_rows());
    for (size_t i = 0; !has_ended && i < static_cast<size_t>(item.num_samples); ++i) {
      Sampler& sampler = request.samplers[item.choice + i];
      sampling.append(sampler.next_row(logits_row, sequence.tokens));
    }
    ++logits_row;
  }
  runner_->sample(sampling);
}

// Throws when the results cannot be read; nothing is committed then.
void GenerationCore::complete(const Step& step) {
  const SampledRows sampled = runner_->collect();
  try {
    commit(step, sampled);
  } catch (...) {  // how far it came is not known
    const std::exception_ptr error = std::current_exception();
    note_failure(step, error);
    for (const DecodeItem& item : step.schedule.items)
      end_all(active(item), FinishReason::kError, error);
  }
  publish(step.schedule);
}

GenerationCore::Active& GenerationCore::active(const DecodeItem& item) {
  return static_cast<Active&>(*item.request);
}

void GenerationCore::commit(const Step& step, const SampledRows& sampled) {
  const std::vector<DecodeItem>& items = step.schedule.items;
  for (size_t i = 0; i < items.size(); ++i) {
    const DecodeItem& item = items[i];
    if (item.sequence().state == DecodeSequence::State::kFinished) continue;
    Active& request = active(item);
    size_t row = step.first_rows[i];
    for (int64_t position = item.logits_begin; position < item.logits_end; ++position, ++row) {
      if (position >= request.num_prompt_logits) request.tell_prompt(sampled, row);
    }
    const auto count = static_cast<size_t>(item.num_samples);
    const auto tokens = sampled.tokens.subspan(row, count);
    if (std::ranges::find(tokens, -1) != tokens.end()) {
      end_all(request, FinishReason::kError,
              std::make_exception_ptr(
                  Error(ErrorCode::kUnsupported, "no token is left that could be drawn",
                        "allowed tokens and bans may exclude all; or the checkpoint is damaged")));
    } else {
      scheduler_.commit(item, tokens);
      for (size_t j = 0; j < count; ++j) answer(request, item.choice + j, sampled, row + j);
    }
  }
}

// Sends what was drawn for a choice, and ends it where that was its last token.
void GenerationCore::answer(Active& request, size_t choice, const SampledRows& sampled,
                            size_t row) {
  const DecodeSequence& sequence = request.choices[choice];
  if (sequence.state == DecodeSequence::State::kFinished) return;
  ++num_generated_;
  GenerationChunk chunk{.choice = choice,
                        .num_cached_tokens = request.num_cached_tokens,
                        .scheduled_at = request.scheduled_at};
  if (choice == 0) chunk.prompt_tokens = std::exchange(request.prompt_tokens, {});
  chunk.tokens.push_back(generated(sampled, row, request.asked.sampling.logprobs));
  if (request.samplers[choice].is_end(sequence.tokens)) {
    chunk.finish_reason = FinishReason::kStop;
  } else if (request.is_full(choice)) {
    chunk.finish_reason = FinishReason::kLength;
  }
  if (chunk.finish_reason != FinishReason::kNone)
    scheduler_.finish(request, choice, chunk.finish_reason);
  send(request, std::move(chunk));
}

// Nothing of the step was committed. What made it fail is found by running its items one by one,
// and fails alone.
void GenerationCore::fail(const Step& step, const std::exception_ptr& error) {
  runner_->abandon();
  note_failure(step, error);
  if (!is_lost()) return redo(step);
  for (const DecodeItem& item : step.schedule.items)
    end_all(active(item), FinishReason::kError, error);
  publish({});
}

// Runs the items of a step that was not committed one by one, twice where it has to be: a failure
// that passes hurts nobody.
void GenerationCore::redo(const Step& step) {
  constexpr int kAttempts = 2;
  for (const DecodeItem& item : step.schedule.items) {
    if (item.sequence().state == DecodeSequence::State::kFinished) continue;
    if (!scheduler_.holds_blocks(item)) {  // preempted since: it is computed again anyway
      scheduler_.abandon(item);
      continue;
    }
    Step alone{.schedule = {.items = {item}, .num_tokens = item.end - item.begin}};
    std::exception_ptr error;
    for (int i = 0; i < kAttempts && (i == 0 || error) && !is_lost(); ++i) {
      error = attempt([&] {
        launch(alone);
        sample(alone);
        complete(alone);
      });
      if (!error) continue;
      runner_->abandon();
      note_failure(alone, error);
    }
    if (error) end_all(active(item), FinishReason::kError, error);
    if (is_lost()) return;  // all that is left ends with the loop
  }
  publish({});
}

void GenerationCore::note_failure(const Step& step, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const DeviceLost&) {
    log::error("the device failed: {}", current_exception_text());
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(lost_, true)) return;
    }
    if (on_lost_) on_lost_();
  } catch (...) {
    log::error("a step of {} sequences and {} tokens failed: {}", step.schedule.items.size(),
               step.schedule.num_tokens, current_exception_text());
  }
  const std::lock_guard lock(mutex_);
  ++stats_.num_failed_steps;
}

bool GenerationCore::is_lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
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

// Tells what has been done; `step`, where it is not empty, is one that was committed.
void GenerationCore::publish(const DecodeStep& step) {
  const size_t num_ended =
      std::erase_if(in_work_, [](const auto& request) { return request->is_finished(); });
  int64_t num_prompt = 0;
  for (const DecodeItem& item : step.items) {
    num_prompt +=
        std::max<int64_t>(0, std::min(item.end, item.request->num_prompt_tokens()) - item.begin);
  }
  const std::lock_guard lock(mutex_);
  stats_.num_requests -= num_ended;
  if (!step.empty()) {
    const auto bound = std::ranges::lower_bound(kStepTokenBounds, step.num_tokens);
    ++stats_.steps_by_tokens[static_cast<size_t>(bound - kStepTokenBounds.begin())];
    ++stats_.num_steps;
    stats_.num_step_tokens += static_cast<uint64_t>(step.num_tokens);
  }
  stats_.num_prompt_tokens += static_cast<uint64_t>(num_prompt);
  stats_.num_generated_tokens += std::exchange(num_generated_, 0);
  stats_.num_preemptions = scheduler_.num_preemptions();
  stats_.num_running = scheduler_.num_running();
  stats_.num_waiting = scheduler_.num_waiting();
  stats_.prefixes = blocks_.stats();
  stats_.groups.resize(blocks_.num_groups());
  for (size_t group = 0; group < blocks_.num_groups(); ++group)
    stats_.groups[group] = blocks_.group_stats(group);
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
  publish({});
}

}  // namespace millrace
