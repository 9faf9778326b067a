// Renders chats for chat_template_test.py: a JSON object a line in, one out. A line with "files"
// opens templates and its other members are rendered with them; JSON texts come as strings, as they
// stand.
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"

using namespace millrace;

namespace {

std::string text(const json::object& object, std::string_view key) {
  const json::value* found = object.if_contains(key);
  return found && found->is_string() ? std::string(found->get_string()) : std::string();
}

json::object answer(const json::object& line, std::optional<Tokenizer>& tokenizer,
                    std::optional<ChatTemplate>& chat_template) {
  if (line.contains("tokenizer")) tokenizer.emplace(Tokenizer::from_json(text(line, "tokenizer")));
  if (line.contains("files")) {
    chat_template.reset();
    std::map<std::string, std::string> files;
    for (const auto& [name, content] : line.at("files").as_object())
      files.emplace(name, content.as_string());
    chat_template = ChatTemplate::from_files(files, "", tokenizer ? &*tokenizer : nullptr);
  }
  if (!line.contains("messages")) return {};
  CHECK(chat_template, "no template was opened");
  const std::string messages = text(line, "messages");
  const std::string tools = text(line, "tools");
  const std::string documents = text(line, "documents");
  const std::string kwargs = text(line, "chat_template_kwargs");
  const std::string continued = text(line, "continue_final_message");
  const auto truth = [&](std::string_view key) {
    return line.contains(key) && line.at(key).as_bool();
  };
  const ChatRequest request{
      .messages = messages,
      .tools = tools,
      .documents = documents,
      .chat_template_kwargs = kwargs,
      .add_generation_prompt = truth("add_generation_prompt"),
      .continue_final_message = continued,
      .allow_control_tokens = truth("allow_control_tokens"),
      .local_seconds = line.contains("local_seconds") ? line.at("local_seconds").as_int64() : 0,
  };
  if (!tokenizer) return {{"text", chat_template->render(request)}};
  const RenderedChat chat = chat_template->encode(*tokenizer, request);
  return {{"text", chat.text},
          {"token_ids", json::array(chat.token_ids.begin(), chat.token_ids.end())}};
}

}  // namespace

int main() {
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::string line;
  while (std::getline(std::cin, line)) {
    json::object out;
    try {
      const json::value parsed = json::parse(line, "the line");
      out = answer(parsed.as_object(), tokenizer, chat_template);
    } catch (const std::exception& error) {
      out["error"] = error.what();
    }
    std::cout << json::to_text(out) << std::endl;
  }
}
