// Turns as JSON.
#include "client/conversation.h"

#include "base/json.h"

namespace millrace {

std::string Conversation::request_body(const std::string& model,
                                       const ChatSampling& sampling) const {
  json::array messages;
  const auto add = [&](const std::string& role, const std::string& content) {
    messages.push_back(json::object{{"role", role}, {"content", content}});
  };
  if (!system_.empty()) add("system", system_);
  for (const auto& [role, content] : turns_) add(role, content);

  json::object body;
  if (!model.empty()) body["model"] = model;
  body["messages"] = std::move(messages);
  body["stream"] = true;
  body["stream_options"] = json::object{{"include_usage", true}};
  const auto set = [&](const char* name, const auto& value) {
    if (value) body[name] = *value;
  };
  set("temperature", sampling.temperature);
  set("top_p", sampling.top_p);
  set("top_k", sampling.top_k);
  set("min_p", sampling.min_p);
  set("repetition_penalty", sampling.repetition_penalty);
  set("max_tokens", sampling.max_tokens);
  set("seed", sampling.seed);
  return json::to_text(body);
}

}  // namespace millrace
