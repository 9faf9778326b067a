// POST /v1/embeddings: body to sequences, rows to body.
#include <algorithm>
#include <cmath>

#include "server/openai_types.h"
#include "server/request_error.h"
#include "server/service.h"

namespace millrace {

namespace {

// What is known of a request before it computes, and needed to answer it.
struct PendingEmbeddings {
  std::shared_ptr<http::Exchange> exchange;
  EmbeddingsRequest request;
  std::vector<bool> truncated;  // per input
  int64_t num_tokens = 0;
  std::shared_ptr<void> slot;  // its place among the requests in flight
};

void normalize(std::vector<float>& vector) {
  double sum = 0;
  for (float value : vector) sum += static_cast<double>(value) * value;
  const auto scale = static_cast<float>(1.0 / std::max(std::sqrt(sum), 1e-12));
  for (float& value : vector) value *= scale;
}

http::Response embeddings_response(const PendingEmbeddings& pending, const RequestResult& result,
                                   const std::string& model_name) {
  const EmbeddingsRequest& request = pending.request;
  const auto dimensions = static_cast<size_t>(request.dimensions.value_or(result.width));
  // What is left of a vector that was cut has another length; Matryoshka models compare directions.
  const bool normalized = request.normalize.value_or(false) || request.dimensions.has_value();
  EmbeddingsResponseWriter writer(request.encoding_format, pending.truncated.size(), dimensions);
  std::vector<float> vector;
  for (size_t i = 0; i < pending.truncated.size(); ++i) {
    const auto row = result.row(i).first(dimensions);
    if (!normalized) {
      writer.add(row, pending.truncated[i]);
      continue;
    }
    vector.assign(row.begin(), row.end());
    normalize(vector);
    writer.add(vector, pending.truncated[i]);
  }
  http::Response response = http::json_response(200, writer.finish(model_name, pending.num_tokens));
  if (!request.ignored_fields.empty()) {
    response.headers.set("x-ignored-fields",
                         fmt::format("{}", fmt::join(request.ignored_fields, ", ")));
  }
  return response;
}

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

void Service::embeddings(const std::shared_ptr<http::Exchange>& exchange) {
  if (draining_.load()) throw RequestError(503, "the server is shutting down", "", "draining");
  if (model_->config.is_classifier()) {
    throw RequestError(400, fmt::format("{} is a classifier and gives no embeddings", model_name_),
                       "model");
  }
  auto pending = std::make_shared<PendingEmbeddings>();
  pending->exchange = exchange;
  pending->slot = take_slot();
  pending->request = parse_embeddings_request(
      exchange->request().body, {.max_inputs = static_cast<size_t>(config_.max_client_batch_size),
                                 .vocab_size = model_->config.vocab_size});
  const EmbeddingsRequest& request = pending->request;
  const int64_t width = model_->config.hidden_size;
  if (request.dimensions.value_or(1) > width) {
    throw RequestError(
        400,
        fmt::format("dimensions is {}, this model's vectors have {}", *request.dimensions, width),
        "dimensions");
  }

  if (model_->config.normalize && !request.normalize.value_or(true)) {
    throw RequestError(400,
                       "this model normalizes its vectors itself; normalize: false is not possible",
                       "normalize");
  }

  const auto begin = Clock::now();
  const int64_t limit = model_->plan.limits.max_seq_len;
  const bool truncate = request.truncate.value_or(config_.truncate);
  Request work;
  int64_t num_truncated = 0;
  for (const EmbeddingInput& input : request.inputs) {
    Encoding encoding =
        std::holds_alternative<std::string>(input)
            ? model_->tokenizer->encode(std::get<std::string>(input),
                                        {.max_tokens = static_cast<int>(limit),
                                         .truncation_direction = request.truncation_direction})
            : encode_ids(std::get<std::vector<int32_t>>(input), limit,
                         request.truncation_direction);
    if (encoding.truncated() && !truncate) {
      throw RequestError(
          400,
          fmt::format(
              "input {} has {} tokens, this model takes at most {}; shorten it or allow truncation",
              work.sequences.size(), encoding.num_tokens_untruncated, limit),
          "input", "context_length_exceeded");
    }
    if (encoding.token_ids.empty()) {
      throw RequestError(400, fmt::format("input {} has no tokens", work.sequences.size()),
                         "input");
    }
    num_truncated += encoding.truncated() ? 1 : 0;
    pending->truncated.push_back(encoding.truncated());
    pending->num_tokens += encoding.num_tokens();
    work.sequences.push_back({.token_ids = std::move(encoding.token_ids),
                              .token_type_ids = std::move(encoding.token_type_ids)});
  }
  metrics_.observe_tokenization(seconds(Clock::now() - begin),
                                static_cast<int64_t>(request.inputs.size()), num_truncated);

  work.on_done = [this, pending](RequestResult result) {
    // Printing numbers is work for the HTTP threads.
    server_->post([this, pending, result = std::move(result)] {
      metrics_.observe_request(result.timings, pending->num_tokens);
      pending->exchange->respond(result.error ? error_response(result.error)
                                              : embeddings_response(*pending, result, model_name_));
    });
  };
  const auto handle = engine_.submit(std::move(work));
  exchange->on_close([handle] { handle->cancel(); });
}

std::shared_ptr<void> Service::take_slot() {
  if (num_in_flight_.fetch_add(1) >= config_.max_concurrent_requests) {
    num_in_flight_.fetch_sub(1);
    throw RequestError(429,
                       fmt::format("{} requests are in work, which is the limit; try again",
                                   config_.max_concurrent_requests),
                       "", "overloaded");
  }
  return {&num_in_flight_, [](std::atomic<int>* count) { count->fetch_sub(1); }};
}

}  // namespace millrace
