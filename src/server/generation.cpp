// From chunks to news, from news to events of a stream or to one answer.
#include "server/generation.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "http/sse.h"
#include "server/content_coding.h"
#include "server/deadline.h"
#include "server/generator_endpoints.h"
#include "server/service.h"

namespace millrace {

namespace {

constexpr size_t kReserveBytes = 64 * 1024;  // at once, of a whole answer
constexpr auto kKeepaliveInterval = std::chrono::seconds(15);

std::string milliseconds_text(Clock::duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

Generation::Generation(GeneratorEndpoints& endpoints, std::shared_ptr<http::Exchange> exchange,
                       GenerationOptions options)
    : endpoints_(endpoints),
      service_(endpoints.service()),
      exchange_(std::move(exchange)),
      options_(std::move(options)),
      deadline_(deadline_of(exchange_->request(), service_.config().limits.request_timeout_s)) {}

Generation::~Generation() {
  for (const Prompt& prompt : prompts_) {
    for (const Choice& choice : prompt.choices) {
      if (!choice.finished()) endpoints_.metrics().observe_choice("abort", choice.num_tokens());
    }
  }
  service_.give_result_bytes(reserved_bytes_);
  for (size_t i = 0; i < num_slots_; ++i) service_.give_slot();
}

void Generation::add(std::vector<int32_t> prompt, std::string echo, int64_t max_tokens,
                     bool inside_text) {
  service_.take_slot();
  ++num_slots_;
  const SamplingParams& sampling = options_.sampling;
  const ChoicePlan plan{.text = {.skip_special_tokens = options_.skip_special_tokens,
                                 .stop = sampling.stop,
                                 .include_stop = sampling.include_stop_str_in_output,
                                 .min_tokens = sampling.min_tokens,
                                 .inside_text = inside_text},
                        .keeps_tokens = options_.logprobs.has_value(),
                        .keeps_ids = options_.return_token_ids,
                        .discards = max_tokens == 0};
  const auto num_choices = static_cast<size_t>(options_.num_choices());
  Prompt added{.tokens = std::move(prompt), .echo = std::move(echo), .max_tokens = max_tokens};
  for (size_t i = 0; i < num_choices; ++i) added.choices.emplace_back(endpoints_.pieces(), plan);
  added.last_token_at.resize(num_choices);
  added.opened.resize(num_choices);
  added.num_open = num_choices;
  prompts_.push_back(std::move(added));
  ++num_open_;
}

GenerationRequest Generation::request_of(size_t index) {
  Prompt& prompt = prompts_[index];
  GenerationRequest request{
      .prompt = prompt.tokens,
      .sampling = options_.sampling,
      .end_token_ids = endpoints_.end_token_ids(),
      .priority = options_.priority,
      .deadline = deadline_,
      .scope = {.tenant = service_.access().tenant(exchange_->request()) + options_.cache_salt}};
  SamplingParams& sampling = request.sampling;
  sampling.max_tokens = std::max<int64_t>(1, prompt.max_tokens);
  sampling.min_tokens = std::min(sampling.min_tokens, prompt.max_tokens);
  request.on_chunk = [self = shared_from_this(), index](GenerationChunk chunk) {
    self->arrive(index, std::move(chunk));
  };
  prompt.times = {.received_at = exchange_->request().received_at, .submitted_at = Clock::now()};
  return request;
}

void Generation::run(std::unique_ptr<AnswerWriter> writer) {
  writer_ = std::move(writer);
  std::vector<std::shared_ptr<RequestHandle>> handles;
  try {
    for (size_t i = 0; i < prompts_.size(); ++i) {
      prompts_[i].handle = endpoints_.engine().submit(request_of(i));
      handles.push_back(prompts_[i].handle);
    }
  } catch (...) {
    give_up();
    throw;
  }
  exchange_->on_close([handles] {
    for (const auto& handle : handles) handle->cancel();
  });
  if (options_.stream) start_stream();
  // Chunks that came meanwhile are worked on here.
  work();
}

void Generation::start_stream() {
  http::Response head = with_ignored({.status = 200}, options_.ignored_fields);
  head.headers.set("content-type", "text/event-stream; charset=utf-8");
  head.headers.set("cache-control", "no-cache");
  head.headers.set("x-accel-buffering", "no");
  stream_ = exchange_->start_stream(
      std::move(head), {.keepalive_interval = kKeepaliveInterval, .keepalive = ": ping\n\n"});
  if (!stream_) give_up();
}

void Generation::arrive(size_t prompt, GenerationChunk chunk) {
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back({.prompt = prompt, .chunk = std::move(chunk), .at = Clock::now()});
    if (std::exchange(working_, true)) return;
  }
  service_.server().post([self = shared_from_this()] { self->work(); });
}

void Generation::work() {
  while (true) {
    std::vector<Arrived> arrived;
    {
      const std::lock_guard lock(mutex_);
      if (arrived_.empty()) {
        working_ = false;
        return;
      }
      arrived.swap(arrived_);
    }
    if (ended_) continue;
    try {
      for (Arrived& news : arrived) take(news);
      if (stream_) tell_news();
      if (num_open_ == 0) finish();
    } catch (...) {
      fail(std::current_exception());
    }
  }
}

void Generation::take(Arrived& arrived) {
  GenerationChunk& chunk = arrived.chunk;
  Prompt& prompt = prompts_[arrived.prompt];
  Choice& choice = prompt.choices[chunk.choice];
  if (choice.finished()) return;  // its stop string came first
  if (chunk.error) std::rethrow_exception(chunk.error);
  if (!prompt.times.first_token_at) begin(prompt, chunk);
  if (!chunk.tokens.empty()) observe(prompt, chunk.choice, arrived.at);
  const size_t before = choice.untold_bytes();
  const bool stopped_early = choice.take(chunk, options_.sampling.stop_token_ids);
  if (stopped_early) prompt.handle->cancel(chunk.choice);
  if (!stream_) {
    held_bytes_ += choice.untold_bytes() - before;
    if (!reserve(held_bytes_)) {
      throw RequestError(Refusal::kOverloaded,
                         fmt::format("the answers in work need more than {} bytes, which is the "
                                     "limit; try again, or ask for less at once",
                                     service_.config().limits.max_total_body_bytes),
                         "", "overloaded");
    }
  }
  if (choice.finished()) end_choice(prompt, chunk.choice);
}

// What the first chunk of a prompt tells, and what stands before its output.
void Generation::begin(Prompt& prompt, GenerationChunk& chunk) {
  prompt.num_cached_tokens = chunk.num_cached_tokens;
  prompt.times.scheduled_at = chunk.scheduled_at;
  if (!chunk.prompt_tokens.empty()) {
    Detokenizer detokenizer(endpoints_.pieces(), options_.skip_special_tokens);
    int64_t offset = 0;
    for (GeneratedToken& token : chunk.prompt_tokens) {
      const int64_t length = count_characters(detokenizer.add(token.id));
      prompt.logprobs.push_back({.token = std::move(token),
                                 .text_offset = offset,
                                 .has_logprob = !prompt.logprobs.empty()});
      offset += length;
    }
  }
  if (!options_.echo) return;
  for (Choice& choice : prompt.choices) {
    choice.begin_with(prompt.echo,
                      options_.logprobs ? prompt.logprobs : std::vector<AnswerToken>());
  }
}

void Generation::observe(Prompt& prompt, size_t choice, Clock::time_point at) {
  GenerationMetrics& metrics = endpoints_.metrics();
  Clock::time_point& last = prompt.last_token_at[choice];
  if (!prompt.times.first_token_at) {
    prompt.times.first_token_at = at;
    metrics.observe_first_token(at - prompt.times.received_at,
                                static_cast<int64_t>(prompt.tokens.size()));
  } else if (last != Clock::time_point()) {
    metrics.observe_next_token(at - last);
  }
  last = prompt.times.last_token_at = at;
}

void Generation::end_choice(Prompt& prompt, size_t choice) {
  const Choice& ended = prompt.choices[choice];
  endpoints_.metrics().observe_choice(to_string(ended.finish_reason()), ended.num_tokens());
  if (--prompt.num_open > 0) return;
  --num_open_;
  endpoints_.observe_prompt(prompt.times, static_cast<int64_t>(prompt.tokens.size()),
                            options_.num_choices(), prompt.max_tokens);
}

// Events for all that is new. Where this worker is late, several tokens share one.
void Generation::tell_news() {
  for (Prompt& prompt : prompts_) {
    for (size_t choice = 0; choice < prompt.choices.size(); ++choice) {
      if (prompt.choices[choice].has_news()) tell(prompt, choice);
    }
  }
}

void Generation::tell(Prompt& prompt, size_t choice) {
  AnswerChoice answer = prompt.choices[choice].tell(index_of(prompt, choice));
  std::string events;
  if (!prompt.opened[choice]) {
    prompt.opened[choice] = true;
    if (options_.return_token_ids) answer.prompt_token_ids = &prompt.tokens;
    if (const std::string opening = writer_->opening(answer); !opening.empty())
      events += http::sse_event(opening);
  }
  const AnswerUsage so_far = usage();
  events += http::sse_event(writer_->chunk(answer, options_.continuous_usage ? &so_far : nullptr));
  if (!stream_->write(std::move(events))) give_up();
}

void Generation::finish() {
  if (ended_) return;
  ended_ = true;
  if (!stream_) return answer_whole();
  std::string events;
  if (options_.include_usage) events += http::sse_event(writer_->usage_chunk(usage()));
  stream_->write(events + http::sse_event("[DONE]"));
  stream_->end();
}

void Generation::answer_whole() {
  std::vector<AnswerChoice> answers;
  for (Prompt& prompt : prompts_) {
    std::vector<size_t> order(prompt.choices.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto num_returned = static_cast<size_t>(options_.sampling.n);
    if (num_returned < order.size()) {  // best_of
      std::ranges::stable_sort(order, [&](size_t a, size_t b) {
        return prompt.choices[a].mean_logprob() > prompt.choices[b].mean_logprob();
      });
      order.resize(num_returned);
    }
    for (const size_t choice : order) {
      answers.push_back(prompt.choices[choice].tell(answers.size()));
      if (options_.return_token_ids) answers.back().prompt_token_ids = &prompt.tokens;
      if (options_.prompt_logprobs) answers.back().prompt_logprobs = &prompt.logprobs;
    }
  }
  const AnswerUsage used = usage();
  http::Response response = with_ignored(http::json_response(200, writer_->whole(answers, used)),
                                         options_.ignored_fields);
  const auto now = Clock::now();
  const GenerationTimes& times = prompts_.front().times;
  const std::string total = milliseconds_text(now - times.received_at);
  response.headers.add("openai-processing-ms", total);
  response.headers.add("x-total-time", total);
  if (times.scheduled_at)
    response.headers.add("x-queue-time",
                         milliseconds_text(*times.scheduled_at - times.submitted_at));
  if (times.first_token_at) {
    response.headers.add("x-time-to-first-token",
                         milliseconds_text(*times.first_token_at - times.received_at));
  }
  response.headers.add("x-compute-tokens",
                       std::to_string(used.prompt_tokens + used.completion_tokens));
  apply_content_coding(exchange_->request(), response);
  exchange_->respond(std::move(response));
}

void Generation::fail(const std::exception_ptr& error) {
  if (ended_) return;
  give_up();
  if (!stream_) return service_.fail(exchange_, error);
  stream_->write(http::sse_event(service_.failure(exchange_->request(), error).body));
  stream_->end();
}

void Generation::give_up() {
  ended_ = true;
  for (const Prompt& prompt : prompts_) {
    if (prompt.handle) prompt.handle->cancel();
  }
}

bool Generation::reserve(size_t bytes) {
  if (bytes <= reserved_bytes_) return true;
  const size_t more = std::max(bytes - reserved_bytes_, kReserveBytes);
  if (!service_.take_result_bytes(more)) return false;
  reserved_bytes_ += more;
  return true;
}

AnswerUsage Generation::usage() const {
  AnswerUsage usage;
  for (const Prompt& prompt : prompts_) {
    usage.prompt_tokens += static_cast<int64_t>(prompt.tokens.size());
    usage.cached_tokens += std::max<int64_t>(0, prompt.num_cached_tokens);
    for (const Choice& choice : prompt.choices) usage.completion_tokens += choice.num_tokens();
  }
  return usage;
}

size_t Generation::index_of(const Prompt& prompt, size_t choice) const {
  return static_cast<size_t>(&prompt - prompts_.data()) * prompt.choices.size() + choice;
}

}  // namespace millrace
