// Messages and tools, brought into the form that chat templates read.
#include "server/chat_types.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"

namespace millrace {

namespace {

constexpr size_t kMaxTools = 128;
constexpr size_t kMaxToolName = 64;
constexpr std::string_view kNoCalls =
    "calls of tools are not read from the model's text yet; send tool_choice: \"none\" to show "
    "the tools to the model and get its text";

std::string string_of(const json::object& object, std::string_view name) {
  const json::value* found = object.if_contains(name);
  return found && found->is_string() ? std::string(found->get_string()) : std::string();
}

bool has(const json::object& object, std::string_view name) {
  const json::value* found = object.if_contains(name);
  return found && !found->is_null();
}

// Texts of a list of parts, a line each.
std::string text_of_parts(const json::array& parts, const std::string& field) {
  std::string text;
  for (bool first = true; const json::value& part : parts) {
    if (!std::exchange(first, false)) text += '\n';
    if (part.is_string()) {
      text += part.get_string();
      continue;
    }
    const auto* object = part.if_object();
    const std::string type = object ? string_of(*object, "type") : std::string();
    const char* member = type == "refusal" ? "refusal" : "text";
    if (type != "text" && type != "refusal" && type != "input_text" && type != "output_text") {
      refuse(fmt::format("{} has a part of type \"{}\"; this model reads text only", field, type),
             "messages");
    }
    const json::value* content = object->if_contains(member);
    if (!content || !content->is_string())
      refuse(fmt::format("{} has a part without a {}", field, member), "messages");
    text += content->get_string();
  }
  return text;
}

// Templates take arguments as objects; clients send them as JSON text.
json::value parsed_arguments(const json::value& given, const std::string& field) {
  if (given.is_object()) return given;
  if (!given.is_string())
    refuse(fmt::format("{} must be an object, or its JSON text", field), "messages");
  const std::string_view text = given.get_string();
  if (text.empty()) return json::object();
  try {
    json::value parsed = json::parse(text, field);
    if (parsed.is_object()) return parsed;
  } catch (const Error& error) {
    refuse(error.message(), "messages");
  }
  refuse(fmt::format("{} must be the JSON text of an object", field), "messages");
}

void read_tool_calls(json::object& message, const std::string& field) {
  if (has(message, "function_call")) {  // the older form of one call
    json::value call = message["function_call"];
    message.erase("function_call");
    if (!has(message, "tool_calls"))
      message["tool_calls"] = json::array{json::object{{"type", "function"}, {"function", call}}};
  }
  if (!has(message, "tool_calls")) return;
  auto* calls = message["tool_calls"].if_array();
  if (!calls) refuse(fmt::format("{}.tool_calls must be a list", field), "messages");
  if (calls->empty()) {
    message.erase("tool_calls");
    return;
  }
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string where = fmt::format("{}.tool_calls[{}]", field, i);
    auto* call = (*calls)[i].if_object();
    json::value* function = call ? call->if_contains("function") : nullptr;
    if (!function || !function->is_object() || string_of(function->get_object(), "name").empty())
      refuse(fmt::format("{} must have a function with a name", where), "messages");
    json::object& called = function->get_object();
    called["arguments"] = has(called, "arguments")
                              ? parsed_arguments(called["arguments"], where + ".function.arguments")
                              : json::value(json::object());
  }
}

void read_content(json::object& message, const std::string& role, const std::string& field) {
  if (!has(message, "content")) {
    if (role != "assistant")
      refuse(fmt::format("{}.content must be a string or a list of parts", field), "messages");
    if (!has(message, "tool_calls")) message["content"] = string_of(message, "refusal");
    return;
  }
  const json::value& content = message["content"];
  if (content.is_string()) return;
  const auto* parts = content.if_array();
  if (!parts)
    refuse(fmt::format("{}.content must be a string or a list of parts", field), "messages");
  message["content"] = text_of_parts(*parts, field + ".content");
}

std::string role_of(const json::object& message, const ChatRoles& roles, const std::string& field) {
  constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                      "assistant", "tool",      "function"};
  const std::string role = string_of(message, "role");
  if (std::ranges::find(kRoles, role) == kRoles.end()) {
    refuse(fmt::format("{}.role must be one of {}", field, fmt::join(kRoles, ", ")), "messages");
  }
  if (role == "function") return "tool";
  return role == "developer" && !roles.developer ? "system" : role;
}

void read_messages(BodyReader& body, const ChatRoles& roles, ChatPrompt& prompt) {
  const auto* given = body.require("messages").if_array();
  if (!given) refuse("messages must be a list", "messages");
  if (given->empty()) throw RequestError(Refusal::kEmpty, "messages must not be empty", "messages");
  json::array messages;
  messages.reserve(given->size());
  for (size_t i = 0; i < given->size(); ++i) {
    const std::string field = fmt::format("messages[{}]", i);
    const auto* object = (*given)[i].if_object();
    if (!object) refuse(fmt::format("{} must be an object", field), "messages");
    json::object message = *object;
    const std::string role = role_of(message, roles, field);
    message["role"] = role;
    read_tool_calls(message, field);
    read_content(message, role, field);
    if (i + 1 == given->size() && role == "assistant")
      prompt.final_content = string_of(message, "content");
    messages.push_back(std::move(message));
  }
  prompt.messages = json::to_text(messages);
}

void check_tool(const json::value& given, const std::string& field, std::string_view param) {
  const auto* tool = given.if_object();
  if (!tool) refuse(fmt::format("{} must be an object", field), param);
  if (const std::string type = string_of(*tool, "type"); type != "function")
    refuse(fmt::format("{}.type is \"{}\"; only \"function\" is supported", field, type), param);
  const json::value* function = tool->if_contains("function");
  if (!function || !function->is_object())
    refuse(fmt::format("{}.function must be an object", field), param);
  const std::string name = string_of(function->get_object(), "name");
  const bool fits = std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-./:").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (name.empty() || name.size() > kMaxToolName || !fits) {
    refuse(fmt::format("{}.function.name must have 1 to {} letters, digits and _ - . / :", field,
                       kMaxToolName),
           param);
  }
}

// The tools as the template reads them; `functions` is the older form.
void read_tools(BodyReader& body, bool may_call, ChatPrompt& prompt) {
  json::array tools;
  std::string_view param = "tools";
  for (const std::string_view name : {"tools", "functions"}) {
    const json::value* given = body.find(name);
    if (!given) continue;
    const auto* list = given->if_array();
    if (!list) refuse(fmt::format("{} must be a list", name), name);
    if (list->empty()) continue;
    param = name;
    for (const json::value& element : *list) {
      tools.push_back(name == "tools" ? element
                                      : json::object{{"type", "function"}, {"function", element}});
    }
  }
  if (tools.size() > kMaxTools)
    refuse(fmt::format("{} has {} entries, the limit is {}", param, tools.size(), kMaxTools),
           param);
  for (size_t i = 0; i < tools.size(); ++i)
    check_tool(tools[i], fmt::format("{}[{}]", param, i), param);
  bool none = false;
  for (const std::string_view name : {"tool_choice", "function_call"}) {
    const json::value* choice = body.find(name);
    if (!choice) continue;
    const auto* word = choice->if_string();
    if (!word && !choice->is_object())
      refuse(fmt::format("{} must be a string or an object", name), name);
    none = none || (word && *word == "none");
    if (word && (*word == "none" || *word == "auto")) continue;
    if (may_call)
      refuse(tools.empty() ? fmt::format("{} needs tools", name) : std::string(kNoCalls), name);
  }
  if (tools.empty()) return;
  if (!none && may_call) refuse(fmt::format("{}: {}", param, kNoCalls), param);
  prompt.tools = json::to_text(tools);
}

// Variables of the template. reasoning_effort is one; "none" also switches thinking off, by the
// name that most templates have for it.
void read_variables(BodyReader& body, ChatPrompt& prompt) {
  json::object variables;
  for (const std::string_view name : {"chat_template_kwargs", "chat_template_args"}) {
    const json::value* given = body.find(name);
    if (!given) continue;
    if (!given->is_object()) refuse(fmt::format("{} must be an object", name), name);
    for (const auto& [key, value] : given->get_object()) variables[key] = value;
  }
  if (const auto effort = body.string("reasoning_effort")) {
    constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                          "high", "xhigh",   "max"};
    if (std::ranges::find(kEfforts, *effort) == kEfforts.end()) {
      refuse(fmt::format("reasoning_effort must be one of {}", fmt::join(kEfforts, ", ")),
             "reasoning_effort");
    }
    if (!variables.contains("reasoning_effort")) variables["reasoning_effort"] = *effort;
    if (*effort == "none" && !variables.contains("enable_thinking"))
      variables["enable_thinking"] = false;
  }
  if (!variables.empty()) prompt.chat_template_kwargs = json::to_text(variables);
}

void read_documents(BodyReader& body, ChatPrompt& prompt) {
  const json::value* given = body.find("documents");
  if (!given) return;
  const auto* list = given->if_array();
  if (!list || !std::ranges::all_of(*list, [](const auto& element) { return element.is_object(); }))
    refuse("documents must be a list of objects", "documents");
  if (!list->empty()) prompt.documents = json::to_text(*list);
}

void refuse_unsupported_of_chat(BodyReader& body) {
  if (body.find("chat_template")) {
    refuse("chat_template: templates of requests are not run; the model's own is used",
           "chat_template");
  }
  if (body.find("audio")) refuse("audio: this model writes text only", "audio");
  if (body.find("web_search_options"))
    refuse("web_search_options: this server searches nothing", "web_search_options");
  if (const json::value* modalities = body.find("modalities")) {
    const auto* list = modalities->if_array();
    if (!list || !std::ranges::all_of(*list, [](const auto& kind) { return kind == "text"; }))
      refuse("modalities: this model writes text only", "modalities");
  }
}

// logprobs: true, and how many beside the drawn token.
void read_logprobs(BodyReader& body, const GenerationLimits& limits, GenerationOptions& options) {
  const bool wanted = body.boolean("logprobs").value_or(false);
  const auto top = body.integer("top_logprobs", 0, limits.sampling.max_logprobs);
  if (top && *top > 0 && !wanted) refuse("top_logprobs needs logprobs: true", "top_logprobs");
  if (wanted) options.logprobs = top.value_or(0);
  options.sampling.logprobs = options.logprobs;
}

}  // namespace

ChatPrompt read_chat_prompt(BodyReader& body, const ChatRoles& roles, bool may_call) {
  ChatPrompt prompt;
  read_messages(body, roles, prompt);
  read_tools(body, may_call, prompt);
  read_documents(body, prompt);
  read_variables(body, prompt);
  const auto generation = body.boolean("add_generation_prompt");
  prompt.continue_final_message = body.boolean("continue_final_message").value_or(false);
  if (prompt.continue_final_message && generation.value_or(false)) {
    refuse("continue_final_message and add_generation_prompt exclude each other",
           "continue_final_message");
  }
  prompt.add_generation_prompt = generation.value_or(!prompt.continue_final_message);
  prompt.allow_control_tokens = body.boolean("allow_control_tokens").value_or(false);
  return prompt;
}

ChatCompletionRequest parse_chat_completion_request(std::string_view text,
                                                    const GenerationLimits& limits,
                                                    const SamplingParams& defaults,
                                                    const ChatRoles& roles) {
  BodyReader body(text, limits.body);
  refuse_unsupported_of_chat(body);
  ChatCompletionRequest request{.options = read_generation_options(body, limits, defaults),
                                .prompt = read_chat_prompt(body, roles, true)};
  GenerationOptions& options = request.options;
  const auto max_tokens = body.integer("max_tokens", 1, INT32_MAX);
  const auto max_completion_tokens = body.integer("max_completion_tokens", 1, INT32_MAX);
  options.max_tokens = max_completion_tokens ? max_completion_tokens : max_tokens;
  read_logprobs(body, limits, options);
  if (options.num_choices() > options.sampling.n && !options.sampling.logprobs)
    options.sampling.logprobs = 0;  // best_of compares them
  check_generation_options(options, limits);
  options.ignored_fields = body.ignored();
  return request;
}

}  // namespace millrace
