// What was said so far, and the request that asks for what comes next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

// Left out of the request where not set: the server's defaults hold.
struct ChatSampling {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;  // an extension of OpenAI's API, as min_p and the one below
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> seed;
};

class Conversation {
 public:
  void set_system(std::string text) { system_ = std::move(text); }  // empty: none
  const std::string& system() const { return system_; }
  void reset() { turns_.clear(); }  // the system text stays

  void add_user(std::string text) { turns_.emplace_back("user", std::move(text)); }
  void add_assistant(std::string text) { turns_.emplace_back("assistant", std::move(text)); }
  void drop_last() { turns_.pop_back(); }

  size_t num_turns() const { return turns_.size(); }

  // The body of /v1/chat/completions for a streamed answer with its usage.
  std::string request_body(const std::string& model, const ChatSampling& sampling) const;

 private:
  std::string system_;
  std::vector<std::pair<std::string, std::string>> turns_;  // role, content
};

}  // namespace millrace
