// Continuous batching: decodes, rests of prompts, new prompts, within the limits of a step.
#include "runtime/decode_scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace millrace {

using State = DecodeSequence::State;

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone: return "none";
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kTimeout: return "timeout";
    case FinishReason::kError: return "error";
  }
  CHECK(false, "finish reason {}", static_cast<int>(reason));
}

bool DecodeRequest::is_finished() const {
  return std::ranges::all_of(choices,
                             [](const DecodeSequence& c) { return c.state == State::kFinished; });
}

namespace {

int64_t num_known(const DecodeSequence& sequence) {
  return static_cast<int64_t>(sequence.tokens.size());
}

// Known and being sampled: what a further step may compute.
int64_t num_to_compute(const DecodeSequence& sequence) {
  return num_known(sequence) + sequence.num_in_flight;
}

int64_t max_num_tokens(const DecodeRequest& request, int64_t max_seq_len) {
  const int64_t room = max_seq_len - request.num_prompt_tokens();
  return request.num_prompt_tokens() + std::min(request.max_new_tokens, room);
}

// Whether logits of the prompt are wanted that a step from position `begin` on would compute.
bool tells_of_prompt(const DecodeRequest& request, size_t choice, int64_t begin) {
  const int64_t last = request.num_prompt_tokens() - 1;
  return request.prompt_logits && choice == 0 && begin < last && request.num_prompt_logits < last;
}

// The KV of the last token is never wanted.
int64_t max_num_stored(int64_t num_tokens) {
  return num_tokens - 1;
}

}  // namespace

DecodeScheduler::DecodeScheduler(const DecodeLimits& limits, BlockManager& blocks)
    : limits_(limits), blocks_(blocks) {
  CHECK(limits.max_num_tokens >= limits.max_batch_size && limits.max_batch_size > 0,
        "a step of {} tokens has no room for {} sequences", limits.max_num_tokens,
        limits.max_batch_size);
  CHECK(limits.max_steps_in_flight > 0);
}

// --- what comes in -------------------------------------------------------------------------------

void DecodeScheduler::check(const DecodeRequest& request) const {
  const int64_t length = request.num_prompt_tokens();
  const auto refuse = [](const std::string& message, const std::string& hint) {
    throw Error(ErrorCode::kInvalidArgument, message, hint);
  };
  if (length == 0) refuse("the prompt has no tokens", "send at least one token");
  if (request.max_new_tokens < 1) refuse("max_tokens is less than 1", "ask for at least one token");
  if (request.num_choices < 1 || request.num_choices > limits_.max_batch_size)
    refuse(fmt::format("{} choices, the limit is max_batch_size = {}", request.num_choices,
                       limits_.max_batch_size),
           "ask for fewer choices");
  if (length >= limits_.max_seq_len)
    refuse(fmt::format("the prompt has {} tokens, with at least one of output more than "
                       "max_seq_len = {}",
                       length, limits_.max_seq_len),
           "shorten the prompt, or build with a larger max_seq_len");
  if (!limits_.chunked_prefill && length > limits_.max_num_tokens)
    refuse(fmt::format("the prompt has {} tokens, a step has max_num_tokens = {}", length,
                       limits_.max_num_tokens),
           "shorten the prompt, or set enable_chunked_context: true");
  const bool promised = limits_.policy == BatchSchedulerPolicy::kGuaranteedNoEvict;
  const int64_t most_stored = max_num_stored(max_num_tokens(request, limits_.max_seq_len));
  // What is computed at once: the prompt, or after a preemption all that there was.
  const int64_t longest = promised ? length : std::max(length, most_stored);
  const Admission worst{
      .prompt = request.prompt,
      .max_num_tokens = most_stored,
      .max_step_tokens = limits_.max_steps_in_flight * std::min(limits_.max_num_tokens, longest),
      .num_sequences = promised ? request.num_choices : 1};
  if (!blocks_.can_ever_fit(worst))
    refuse(fmt::format("{} tokens of prompt and output, {} times, are more than the KV cache holds",
                       worst.max_num_tokens, worst.num_sequences),
           "ask for fewer tokens or choices, or give the KV cache more memory");
}

void DecodeScheduler::add(std::shared_ptr<DecodeRequest> request) {
  request->arrival = num_arrived_++;
  request->max_num_tokens = max_num_tokens(*request, limits_.max_seq_len);
  request->choices.resize(static_cast<size_t>(request->num_choices));
  for (DecodeSequence& sequence : request->choices) sequence.state = State::kForking;
  DecodeSequence& first = request->choices.front();
  first.state = State::kWaiting;
  first.tokens.reserve(static_cast<size_t>(request->max_num_tokens));
  first.tokens = request->prompt;
  const Key key = key_of(*request, 0);
  const auto entry = waiting_.emplace(key, std::move(request)).first;
  if (entry == waiting_.begin()) blocked_ = false;
}

// --- a step --------------------------------------------------------------------------------------

DecodeStep DecodeScheduler::next_step() {
  DecodeStep step;
  step.items.reserve(running_.size() + 1);
  schedule_running(step, false);
  schedule_running(step, true);
  if (step.num_preempted == 0) admit_waiting(step);
  step.copies = blocks_.take_copies();
  return step;
}

// Sequences that compute one token and sample the next, or those with more of a prompt to compute.
void DecodeScheduler::schedule_running(DecodeStep& step, bool prompts) {
  for (auto entry = running_.begin(); entry != running_.end();) {
    const Key key = entry->first;
    const std::shared_ptr<DecodeRequest>& request = entry->second;
    const int64_t num_preempted = step.num_preempted;
    const auto [begin, count] = next_tokens(*request, key.choice, prompts, step);
    if (count > 0 && make_room(key, request->choices[key.choice].blocks, count, step))
      append_item(request, key.choice, begin, count, step);
    // The end of the order may have gone, up to this sequence.
    entry = step.num_preempted == num_preempted ? std::next(entry) : running_.upper_bound(key);
  }
}

// Tokens that the step has room for from position `begin` of a sequence on.
int64_t DecodeScheduler::budget_of(const DecodeRequest& request, size_t choice, int64_t begin,
                                   const DecodeStep& step) const {
  const int64_t budget = limits_.max_num_tokens - step.num_tokens;
  return tells_of_prompt(request, choice, begin)
             ? std::min(budget, limits_.max_prompt_logits - step.num_prompt_logits)
             : budget;
}

// What a running sequence computes next, as its first token and their number; 0: nothing.
std::pair<int64_t, int64_t> DecodeScheduler::next_tokens(const DecodeRequest& request,
                                                         size_t choice, bool prompts,
                                                         const DecodeStep& step) const {
  const DecodeSequence& sequence = request.choices[choice];
  const int64_t begin = blocks_.num_tokens(sequence.blocks);
  const int64_t rest = num_to_compute(sequence) - begin;
  const int64_t budget = budget_of(request, choice, begin, step);
  const bool is_prompt = rest > 1 || begin < request.num_prompt_tokens();
  const bool all_sampled = num_to_compute(sequence) >= request.max_num_tokens;
  const bool will_be_forked = sequence.num_in_flight > 0 && !request.is_forked();
  const bool is_whole = limits_.chunked_prefill || tells_of_prompt(request, choice, begin) ||
                        rest <= budget || step.empty();
  if (is_prompt != prompts || all_sampled || will_be_forked || !is_whole) return {begin, 0};
  return {begin, std::min(rest, budget)};
}

// Preempts from the end of the order, down to the sequence itself: false then.
bool DecodeScheduler::make_room(const Key& key, SequenceId blocks, int64_t num_tokens,
                                DecodeStep& step) {
  while (!blocks_.extend(blocks, num_tokens)) {
    const auto last = std::prev(running_.end());
    const bool is_itself = last->first == key;
    preempt(last, step);
    if (is_itself) return false;
  }
  return true;
}

void DecodeScheduler::preempt(Queue::iterator victim, DecodeStep& step) {
  const auto [key, request] = *victim;
  const size_t choice = key.choice;
  DecodeSequence& sequence = request->choices[choice];
  CHECK(limits_.policy == BatchSchedulerPolicy::kMaxUtilization, "a promise was broken");
  for (auto item = step.items.begin(); item != step.items.end(); ++item) {
    if (item->request != request || item->choice != choice) continue;
    step.num_tokens -= item->end - item->begin;
    step.num_prompt_logits -= item->logits_end - item->logits_begin;
    sequence.num_in_flight -= item->num_samples > 0 ? 1 : 0;
    step.items.erase(item);
    break;
  }
  num_running_places_ -= num_places(*request, choice);
  num_running_tokens_ -= num_places(*request, choice) * request->max_num_tokens;
  blocks_.release(sequence.blocks);
  sequence.blocks = -1;
  sequence.state = State::kWaiting;
  ++sequence.num_preemptions;
  ++num_preemptions_;
  ++step.num_preempted;
  waiting_.emplace(key, request);
  running_.erase(victim);
  blocked_ = false;
}

void DecodeScheduler::admit_waiting(DecodeStep& step) {
  while (!waiting_.empty() && (!blocked_ || running_.empty())) {
    const auto [key, request] = *waiting_.begin();
    const size_t choice = key.choice;
    const DecodeSequence& sequence = request->choices[choice];
    const int64_t budget = budget_of(*request, choice, 0, step);
    const int64_t places = num_places(*request, choice);
    const int64_t num_tokens = places * request->max_num_tokens;
    if (budget == 0 || sequence.num_in_flight > 0) return;
    const bool in_chunks = limits_.chunked_prefill || tells_of_prompt(*request, choice, 0);
    if (!in_chunks && num_known(sequence) > budget && !step.empty()) return;
    if (num_running_places_ + places > limits_.max_batch_size) return;
    if (num_running_tokens_ + num_tokens > limits_.total_token_limit && !running_.empty()) return;
    if (!admit(*request, choice)) {
      blocked_ = true;
      return;
    }
    num_running_places_ += places;
    num_running_tokens_ += num_tokens;
    running_.emplace(key, request);
    waiting_.erase(waiting_.begin());
    const int64_t stored = blocks_.num_tokens(sequence.blocks);
    const int64_t count = std::min(num_known(sequence) - stored, budget);
    CHECK(blocks_.extend(sequence.blocks, count), "what was admitted does not fit");
    append_item(request, choice, stored, count, step);
  }
}

// Gives the sequence blocks if it may have them.
bool DecodeScheduler::admit(DecodeRequest& request, size_t choice) {
  DecodeSequence& sequence = request.choices[choice];
  const bool promised = limits_.policy == BatchSchedulerPolicy::kGuaranteedNoEvict;
  const int64_t length = num_known(sequence);
  const int64_t limit = max_num_stored(request.max_num_tokens);
  const std::optional<SequenceId> blocks = blocks_.add(
      {.scope = request.scope,
       .prompt = sequence.tokens,
       .reuse_prefix = !tells_of_prompt(request, choice, 0),
       .max_num_tokens = promised ? limit : std::min(length + 1, std::max(limit, length)),
       .max_step_tokens = limits_.max_steps_in_flight * std::min(limits_.max_num_tokens, length),
       .num_sequences = promised ? num_places(request, choice) : 1,
       .promised = promised});
  if (!blocks) return false;
  sequence.blocks = *blocks;
  sequence.state = State::kRunning;
  if (request.num_cached_tokens < 0) request.num_cached_tokens = blocks_.num_committed(*blocks);
  return true;
}

void DecodeScheduler::append_item(const std::shared_ptr<DecodeRequest>& request, size_t choice,
                                  int64_t begin, int64_t count, DecodeStep& step) {
  DecodeSequence& sequence = request->choices[choice];
  const bool samples = begin + count == num_to_compute(sequence);
  const bool tells = tells_of_prompt(*request, choice, begin);
  const int64_t logits_begin = std::max(begin, request->num_prompt_logits);
  const int64_t logits_end = std::min(begin + count, request->num_prompt_tokens() - 1);
  const bool wants_logits = tells && logits_begin < logits_end;
  if (wants_logits) step.num_prompt_logits += logits_end - logits_begin;
  step.items.push_back({.request = request,
                        .choice = choice,
                        .blocks = sequence.blocks,
                        .begin = begin,
                        .end = begin + count,
                        .num_samples = samples ? num_places(*request, choice) : 0,
                        .logits_begin = wants_logits ? logits_begin : 0,
                        .logits_end = wants_logits ? logits_end : 0,
                        .num_preemptions = sequence.num_preemptions});
  sequence.num_in_flight += samples ? 1 : 0;
  step.num_tokens += count;
}

// A first choice keeps places for those that will begin with it.
int64_t DecodeScheduler::num_places(const DecodeRequest& request, size_t choice) const {
  return choice == 0 && !request.is_forked() ? request.num_choices : 1;
}

// --- after a step --------------------------------------------------------------------------------

void DecodeScheduler::commit(const DecodeItem& item, std::span<const int32_t> sampled) {
  CHECK(static_cast<int64_t>(sampled.size()) == item.num_samples);
  DecodeRequest& request = *item.request;
  DecodeSequence& sequence = item.sequence();
  if (sequence.state == State::kFinished) return;
  if (!sampled.empty()) --sequence.num_in_flight;
  request.num_prompt_logits = std::max(request.num_prompt_logits, item.logits_end);
  const bool has_blocks = holds_blocks(item);
  if (has_blocks) {
    blocks_.commit(item.blocks, std::span(sequence.tokens).first(static_cast<size_t>(item.end)));
    if (item.end - item.begin > 1) blocked_ = false;  // a prefix that others may share
  }
  if (sampled.empty()) return;
  const bool ends_prompt = num_known(sequence) == request.num_prompt_tokens();
  sequence.tokens.push_back(sampled.front());
  for (size_t choice = 1; choice < sampled.size(); ++choice)
    begin_choice(item.request, choice, sampled[choice]);
  if (!ends_prompt || !has_blocks) return;
  for (const DecodeSequence& begun : request.choices)
    blocks_.limit_step(begun.blocks, limits_.max_steps_in_flight);
}

bool DecodeScheduler::holds_blocks(const DecodeItem& item) const {
  const DecodeSequence& sequence = item.sequence();
  return sequence.state == State::kRunning && sequence.num_preemptions == item.num_preemptions;
}

void DecodeScheduler::abandon(const DecodeItem& item) {
  CHECK(!holds_blocks(item), "the sequence goes on from what the step computed");
  if (item.num_samples > 0) --item.sequence().num_in_flight;
}

// Where the prompt ends: with the blocks of the first choice, or without, when that was preempted.
void DecodeScheduler::begin_choice(const std::shared_ptr<DecodeRequest>& request, size_t choice,
                                   int32_t token) {
  const DecodeSequence& first = request->choices.front();
  DecodeSequence& sequence = request->choices[choice];
  sequence.tokens.reserve(static_cast<size_t>(request->max_num_tokens));
  sequence.tokens = request->prompt;
  sequence.tokens.push_back(token);
  sequence.state = first.state;
  if (first.state == State::kRunning) {
    sequence.blocks = blocks_.fork(first.blocks);
    running_.emplace(key_of(*request, choice), request);
  } else {
    waiting_.emplace(key_of(*request, choice), request);
  }
}

// --- what ends -----------------------------------------------------------------------------------

void DecodeScheduler::finish(DecodeRequest& request, size_t choice, FinishReason reason) {
  // Those that have not begun end with the first.
  const size_t end = request.is_forked() ? choice + 1 : request.choices.size();
  const size_t begin = request.is_forked() ? choice : 0;
  const int64_t places = num_places(request, begin);
  for (size_t i = begin; i < end; ++i) {
    DecodeSequence& sequence = request.choices[i];
    const State state = std::exchange(sequence.state, State::kFinished);
    if (state == State::kFinished) continue;
    sequence.finish_reason = reason;
    if (state == State::kWaiting) waiting_.erase(key_of(request, i));
    if (state != State::kRunning) continue;
    blocks_.release(std::exchange(sequence.blocks, -1));
    num_running_places_ -= places;
    num_running_tokens_ -= places * request.max_num_tokens;
    running_.erase(key_of(request, i));
  }
  blocked_ = false;
}

std::vector<std::shared_ptr<DecodeRequest>> DecodeScheduler::drop(Clock::time_point now) {
  std::vector<std::shared_ptr<DecodeRequest>> dropped;
  std::vector<std::pair<std::shared_ptr<DecodeRequest>, size_t>> given_up;
  for (const Queue* queue : {&running_, &waiting_}) {
    for (const auto& [key, request] : *queue) {
      const bool is_late = request->deadline && *request->deadline < now;
      if (!is_late && !(request->handle && request->handle->cancelled())) {
        if (request->handle && request->handle->cancelled(key.choice))
          given_up.emplace_back(request, key.choice);
        continue;
      }
      if (std::ranges::find(dropped, request) == dropped.end()) dropped.push_back(request);
    }
  }
  for (const auto& [request, choice] : given_up) finish(*request, choice, FinishReason::kCancelled);
  for (const std::shared_ptr<DecodeRequest>& request : dropped) {
    const bool is_cancelled = request->handle && request->handle->cancelled();
    for (size_t choice = 0; choice < request->choices.size(); ++choice)
      finish(*request, choice, is_cancelled ? FinishReason::kCancelled : FinishReason::kTimeout);
  }
  return dropped;
}

void DecodeScheduler::check_integrity() const {
  blocks_.check_integrity();
  int64_t num_places_held = 0;
  int64_t num_tokens_held = 0;
  for (const auto& [key, request] : running_) {
    const size_t choice = key.choice;
    const DecodeSequence& sequence = request->choices[choice];
    CHECK(key == key_of(*request, choice) && sequence.state == State::kRunning);
    const int64_t stored = blocks_.num_tokens(sequence.blocks);
    CHECK(stored <= num_to_compute(sequence) && stored <= request->max_num_tokens);
    CHECK(num_known(sequence) <= request->max_num_tokens);
    CHECK(sequence.num_in_flight >= 0 && sequence.num_in_flight <= limits_.max_steps_in_flight);
    num_places_held += num_places(*request, choice);
    num_tokens_held += num_places(*request, choice) * request->max_num_tokens;
  }
  for (const auto& [key, request] : waiting_) {
    const DecodeSequence& sequence = request->choices[key.choice];
    CHECK(sequence.state == State::kWaiting && sequence.blocks == -1);
  }
  CHECK(blocks_.num_sequences() == static_cast<int64_t>(running_.size()));
  CHECK(num_places_held == num_running_places_ && num_places_held <= limits_.max_batch_size);
  CHECK(num_tokens_held == num_running_tokens_);
}

}  // namespace millrace
