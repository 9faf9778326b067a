// Inference: one request's way through the model, from texts to sequences to rows to an answer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/exchange.h"
#include "runtime/request.h"
#include "server/encoder_metrics.h"
#include "server/input.h"

namespace millrace {

class EncoderEndpoints;
class Service;

// Used on an HTTP worker: make it, add() each input, run(). What they throw answers the request.
// Lives in a shared_ptr.
class Inference : public std::enable_shared_from_this<Inference> {
 public:
  // Takes a place among the requests in work until the answer is given. Throws RequestError:
  // kOverloaded, kTimeout, kInvalid.
  Inference(EncoderEndpoints& endpoints, std::shared_ptr<http::Exchange> exchange, ModelTask task,
            TextOptions options);
  ~Inference();
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;

  // Tokenizes the next input. `field` names it in errors.
  void add(const Input& input, std::string_view field);
  void add_pair(const std::string& first, const std::string& second, std::string_view field);

  // Hands the sequences to the engine. `reply` makes the answer of the rows, on an HTTP worker.
  using Reply = std::function<http::Response(const RequestResult& result)>;
  void run(OutputKind output, Reply reply);

  size_t num_inputs() const { return truncated_.size(); }
  const std::vector<bool>& truncated() const { return truncated_; }  // per input
  int64_t num_tokens() const { return num_tokens_; }                 // that are computed

 private:
  void add(Encoding encoding, std::string_view field);
  void reserve_result(OutputKind output);
  void answer(const RequestResult& result, const Reply& reply);
  void describe(http::Response& response, const RequestResult& result) const;  // headers

  EncoderEndpoints& endpoints_;
  Service& service_;
  std::shared_ptr<http::Exchange> exchange_;
  ModelTask task_;
  TextOptions options_;
  std::string prompt_;  // put before each text
  Request request_;
  std::vector<bool> truncated_;
  int64_t num_tokens_ = 0;
  int64_t num_characters_ = 0;
  Clock::time_point begun_;
  Clock::duration tokenization_{};
  size_t reserved_bytes_ = 0;  // of results, among those of all requests
};

}  // namespace millrace
