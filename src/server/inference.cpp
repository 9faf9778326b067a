// Tokenizing, limits, deadlines, and the headers of an answer.
#include "server/inference.h"

#include <cmath>

#include "server/content_coding.h"
#include "server/deadline.h"
#include "server/encoder_endpoints.h"
#include "server/service.h"

namespace millrace {

namespace {

using Milliseconds = std::chrono::milliseconds;

// Memory that a value of a result takes while it becomes an answer: itself, and its text.
constexpr size_t kBytesPerValue = sizeof(float) + 14;

// [CLS] and [SEP] are the caller's business when ids come ready-made.
Encoding encode_ids(const std::vector<int32_t>& ids, int64_t limit, TruncationDirection direction) {
  Encoding encoding;
  encoding.num_tokens_untruncated = static_cast<int>(ids.size());
  const size_t kept = std::min(ids.size(), static_cast<size_t>(limit));
  const auto begin = direction == TruncationDirection::kRight
                         ? ids.begin()
                         : ids.end() - static_cast<std::ptrdiff_t>(kept);
  encoding.token_ids.assign(begin, begin + static_cast<std::ptrdiff_t>(kept));
  encoding.token_type_ids.assign(kept, 0);
  return encoding;
}

}  // namespace

Inference::Inference(EncoderEndpoints& endpoints, std::shared_ptr<http::Exchange> exchange,
                     ModelTask task, TextOptions options)
    : endpoints_(endpoints),
      service_(endpoints.service()),
      exchange_(std::move(exchange)),
      task_(task),
      options_(std::move(options)),
      begun_(Clock::now()) {
  prompt_ = prompt_of(service_.model().config, options_.prompt_name);
  request_.deadline = deadline_of(exchange_->request(), service_.config().limits.request_timeout_s);
  service_.take_slot();
}

Inference::~Inference() {
  service_.give_result_bytes(reserved_bytes_);
  service_.give_slot();
}

void Inference::add(const Input& input, std::string_view field) {
  const Tokenizer& tokenizer = *service_.model().tokenizer;
  const int64_t limit = service_.model().plan.limits.max_seq_len;
  if (const auto* pair = std::get_if<TextPair>(&input))
    return add_pair(pair->first, pair->second, field);
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
    num_characters_ += static_cast<int64_t>(ids->size());
    return add(encode_ids(*ids, limit, options_.truncation_direction), field);
  }
  const std::string& text = std::get<std::string>(input);
  num_characters_ += count_characters(text);
  add(tokenizer.encode(prompt_.empty() ? text : prompt_ + text,
                       {.max_tokens = static_cast<int>(limit),
                        .truncation_direction = options_.truncation_direction}),
      field);
}

void Inference::add_pair(const std::string& first, const std::string& second,
                         std::string_view field) {
  num_characters_ += count_characters(first) + count_characters(second);
  add(service_.model().tokenizer->encode_pair(
          first, second,
          {.max_tokens = static_cast<int>(service_.model().plan.limits.max_seq_len),
           .truncation_direction = options_.truncation_direction}),
      field);
}

void Inference::add(Encoding encoding, std::string_view field) {
  if (encoding.truncated() && !options_.truncate.value_or(service_.config().truncate)) {
    throw RequestError(
        Refusal::kInvalid,
        fmt::format(
            "input {} has {} tokens, this model takes at most {}; shorten it or allow truncation",
            num_inputs(), encoding.num_tokens_untruncated,
            service_.model().plan.limits.max_seq_len),
        std::string(field), "context_length_exceeded");
  }
  if (encoding.token_ids.empty()) {
    throw RequestError(Refusal::kInvalid, fmt::format("input {} has no tokens", num_inputs()),
                       std::string(field));
  }
  endpoints_.metrics().observe_input(task_, encoding.num_tokens(), encoding.truncated());
  truncated_.push_back(encoding.truncated());
  num_tokens_ += encoding.num_tokens();
  request_.sequences.push_back({.token_ids = std::move(encoding.token_ids),
                                .token_type_ids = std::move(encoding.token_type_ids)});
}

// Many large answers at once must not exhaust the memory.
void Inference::reserve_result(OutputKind output) {
  const ModelConfig& config = service_.model().config;
  const int64_t width = output == OutputKind::kSequence && config.is_classifier()
                            ? static_cast<int64_t>(config.labels.size())
                            : config.hidden_size;
  const int64_t rows =
      output == OutputKind::kTokens ? num_tokens_ : static_cast<int64_t>(num_inputs());
  const size_t bytes = static_cast<size_t>(rows * width) * kBytesPerValue;
  if (!service_.take_result_bytes(bytes)) {
    throw RequestError(Refusal::kOverloaded,
                       fmt::format("the answers in work need more than {} bytes, which is the "
                                   "limit; try again, or send less at once",
                                   service_.config().limits.max_total_body_bytes),
                       "", "overloaded");
  }
  reserved_bytes_ = bytes;
}

void Inference::run(OutputKind output, Reply reply) {
  endpoints_.require_time(num_tokens_, *request_.deadline);
  reserve_result(output);
  endpoints_.metrics().observe_request(num_inputs() > 1);
  tokenization_ = Clock::now() - begun_;
  request_.output = output;
  request_.on_done = [self = shared_from_this(), reply = std::move(reply)](RequestResult result) {
    // Printing numbers is work for the HTTP threads.
    self->service_.server().post(
        [self, reply, result = std::move(result)] { self->answer(result, reply); });
  };
  const auto handle = endpoints_.engine().submit(std::move(request_));
  exchange_->on_close([handle] { handle->cancel(); });
}

void Inference::answer(const RequestResult& result, const Reply& reply) {
  if (result.error) return service_.fail(exchange_, result.error);
  try {
    http::Response response = reply(result);
    describe(response, result);
    apply_content_coding(exchange_->request(), response);
    endpoints_.metrics().observe_success({.task = task_,
                                          .num_inputs = static_cast<int64_t>(num_inputs()),
                                          .num_tokens = num_tokens_,
                                          .tokenization = tokenization_,
                                          .total = Clock::now() - begun_,
                                          .timings = result.timings});
    exchange_->respond(std::move(response));
  } catch (...) {
    service_.fail(exchange_, std::current_exception());
  }
}

// TEI's headers, in whole milliseconds as there.
void Inference::describe(http::Response& response, const RequestResult& result) const {
  const auto set_ms = [&](const char* name, Clock::duration duration) {
    response.headers.add(
        name, std::to_string(std::chrono::duration_cast<Milliseconds>(duration).count()));
  };
  const auto total = Clock::now() - exchange_->request().received_at;
  response.headers.add("x-compute-type", to_string(service_.model().device));
  set_ms("x-compute-time", total);
  response.headers.add("x-compute-characters", std::to_string(num_characters_));
  response.headers.add("x-compute-tokens", std::to_string(num_tokens_));
  set_ms("x-total-time", total);
  set_ms("x-tokenization-time", tokenization_);
  set_ms("x-queue-time", result.timings.queue);
  set_ms("x-inference-time", result.timings.compute);
  std::string indices;
  for (size_t i = 0; i < truncated_.size(); ++i) {
    if (truncated_[i]) indices += (indices.empty() ? "" : ",") + std::to_string(i);
  }
  if (!indices.empty()) response.headers.add("x-truncated", std::move(indices));
}

}  // namespace millrace
