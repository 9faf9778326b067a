// Prompts and bodies.
#include "load/generation_workload.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "load/workload.h"

namespace millrace {

namespace {

std::string role_of(std::string_view from) {
  if (from == "human" || from == "user") return "user";
  if (from == "gpt" || from == "assistant" || from == "chatgpt") return "assistant";
  return from == "system" ? "system" : "";
}

// ShareGPT's turns as messages; what comes behind the last of the human would be the answer.
json::array messages_of(const json::array& turns, const std::string& where) {
  json::array messages;
  size_t last_of_user = 0;
  for (const json::value& turn : turns) {
    const json::Reader reader(json::as_object(turn, where), where);
    const std::string role = role_of(reader.require_string("from"));
    if (role.empty()) reader.fail("from", "is neither human nor gpt");
    messages.push_back(json::object{{"role", role}, {"content", reader.require_string("value")}});
    if (role == "user") last_of_user = messages.size();
  }
  if (last_of_user == 0) {
    throw Error(ErrorCode::kCorrupt, where + ": a conversation in which no human speaks");
  }
  messages.resize(last_of_user);
  return messages;
}

Prompt prompt_of_line(std::string_view line, const std::string& where) {
  const json::value parsed = json::parse(line, where);
  if (parsed.is_string()) return {.text = std::string(parsed.get_string())};
  if (const auto* object = parsed.if_object()) {
    for (const char* key : {"prompt", "text", "input"}) {
      const json::value* text = object->if_contains(key);
      if (text && text->is_string()) return {.text = std::string(text->get_string())};
    }
    const json::value* messages = object->if_contains("messages");
    if (messages && messages->is_array()) return {.messages = json::to_text(*messages)};
    const json::value* turns = object->if_contains("conversations");
    if (turns && turns->is_array()) {
      return {.messages = json::to_text(messages_of(turns->get_array(), where))};
    }
  }
  throw Error(
      ErrorCode::kCorrupt,
      fmt::format("{}: neither a string nor an object with a \"prompt\" or \"messages\"", where),
      "each line of a .jsonl file is one prompt or one conversation");
}

}  // namespace

std::vector<Prompt> read_prompts(const std::string& path) {
  std::vector<Prompt> prompts;
  const bool jsonl = path.ends_with(".jsonl");
  for (const TextLine& line : read_lines(path)) {
    prompts.push_back(jsonl ? prompt_of_line(line.text, fmt::format("{}:{}", path, line.number))
                            : Prompt{.text = line.text});
  }
  return prompts;
}

GenerationWorkload::GenerationWorkload(GenerationWorkloadOptions options)
    : options_(std::move(options)), random_(options_.seed) {
  if (!options_.chat) {
    for (const Prompt& prompt : options_.prompts) {
      if (prompt.messages.empty()) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  "the file holds conversations, and /v1/completions takes texts",
                  "ask /v1/chat/completions, or give a file of prompts");
    }
  }
  if (options_.shared_prefix > 0) prefix_ = random_words(options_.shared_prefix, random_) + " ";
}

GenerationItem GenerationWorkload::next() {
  GenerationItem item{.output_tokens = options_.output.draw(random_)};
  Prompt prompt;
  if (options_.prompts.empty()) {
    prompt.text = prefix_ + random_words(options_.input.draw(random_), random_);
  } else {
    std::uniform_int_distribution<size_t> index(0, options_.prompts.size() - 1);
    prompt = options_.prompts[index(random_)];
    prompt.text = prefix_ + prompt.text;
  }
  json::object body;
  if (!options_.model.empty()) body["model"] = options_.model;
  if (!options_.chat) {
    body["prompt"] = prompt.text;
  } else if (prompt.messages.empty()) {
    body["messages"] = json::array{json::object{{"role", "user"}, {"content", prompt.text}}};
  } else {
    json::array messages = json::parse(prompt.messages, "the conversation").as_array();
    if (!prefix_.empty()) {
      messages.insert(messages.begin(), json::object{{"role", "system"}, {"content", prefix_}});
    }
    body["messages"] = std::move(messages);
  }
  body["max_tokens"] = item.output_tokens;
  if (options_.ignore_eos) body["ignore_eos"] = true;
  if (options_.temperature) body["temperature"] = *options_.temperature;
  if (options_.stream) {
    body["stream"] = true;
    body["stream_options"] = json::object{{"include_usage", true}};
  }
  item.body = json::to_text(body);
  return item;
}

}  // namespace millrace
