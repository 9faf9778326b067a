// Where templates stand in a checkpoint, and the calls into the bridge that renders them.
#include "text/chat_template.h"

#include <millrace_bridge.h>

#include <span>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/bridge_bytes.h"

namespace millrace {

namespace {

using Files = std::map<std::string, std::string>;
using Compiled = std::unique_ptr<MrChatTemplate, decltype(&mr_chat_template_free)>;

constexpr std::string_view kAdditional = "additional_chat_templates/";
constexpr size_t kMaxTemplates = 32;

struct Source {
  std::string file;
  std::string text;
};

// By name; a checkpoint with a single template calls it "default".
using Sources = std::map<std::string, Source>;

void add_from_config(const json::value& entry, const std::string& file, Sources& sources) {
  if (entry.is_string()) {
    sources["default"] = {.file = file, .text = std::string(entry.get_string())};
    return;
  }
  if (!entry.is_array()) return;
  for (const json::value& element : entry.get_array()) {
    const json::Reader reader(json::as_object(element, file), file + ": chat_template");
    sources[reader.require_string("name")] = {.file = file,
                                              .text = reader.require_string("template")};
  }
}

// Files of their own come before the entry of tokenizer_config.json, as in transformers.
Sources find_sources(const Files& files, const std::string& where) {
  Sources sources;
  for (const std::string_view name : {"tokenizer_config.json", "chat_template.json"}) {
    const auto file = files.find(std::string(name));
    if (file == files.end()) continue;
    const std::string path = where + std::string(name);
    const json::value config = json::parse(file->second, path);
    if (const json::value* entry = json::as_object(config, path).if_contains("chat_template"))
      add_from_config(*entry, path, sources);
  }
  bool first = true;
  for (const auto& [name, text] : files) {
    const bool additional = name.starts_with(kAdditional) && name.ends_with(".jinja");
    if (!additional && name != "chat_template.jinja") continue;
    if (std::exchange(first, false)) sources.clear();
    const std::string key =
        additional ? name.substr(kAdditional.size(), name.size() - kAdditional.size() - 6)
                   : "default";
    sources[key] = {.file = where + name, .text = text};
  }
  return sources;
}

// bos_token and its like, as a template writes them: texts, or objects with their "content".
std::string special_tokens(const Files& files, const std::string& where) {
  json::object out;
  for (const std::string_view name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto file = files.find(std::string(name));
    if (file == files.end()) continue;
    const json::value config = json::parse(file->second, where + std::string(name));
    for (const auto& [key, entry] : json::as_object(config, where + std::string(name))) {
      if (!std::string_view(key).ends_with("_token") || out.contains(key)) continue;
      const json::value* content = &entry;
      if (entry.is_object()) content = entry.get_object().if_contains("content");
      if (content && content->is_string()) out[key] = content->get_string();
    }
  }
  return json::to_text(out);
}

Compiled compile(const Source& source, std::string_view tokens, const Tokenizer* tokenizer,
                 const ChatTemplateLimits& limits) {
  const MrChatTemplateLimits bridge_limits{.max_template_bytes = limits.max_template_bytes,
                                           .max_output_bytes = limits.max_output_bytes,
                                           .max_steps = limits.max_steps,
                                           .max_work_bytes = limits.max_work_bytes,
                                           .max_recursion = limits.max_recursion};
  MrError error{};
  MrChatTemplate* made =
      mr_chat_template_compile(as_slice(source.text), as_slice(tokens),
                               tokenizer ? tokenizer->bridge() : nullptr, bridge_limits, &error);
  if (!made) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("the chat template of {}: {}", source.file, take(error.message)),
                "use a chat template that transformers renders");
  }
  return {made, mr_chat_template_free};
}

}  // namespace

struct ChatTemplate::Handle {
  // `tool_use` where tools are given, as transformers chooses.
  const MrChatTemplate* choose(const ChatRequest& request) const {
    const bool tools = !request.tools.empty() && request.tools != "null";
    auto found = templates.end();
    if (tools) found = templates.find("tool_use");
    if (found == templates.end()) found = templates.find("default");
    if (found != templates.end()) return found->second.get();
    throw Error(ErrorCode::kUnsupported,
                "the model has several chat templates and none of them is the default",
                "name one of them \"default\"");
  }

  RenderedChat render(const ChatRequest& request, const Tokenizer* tokenizer) const;

  std::map<std::string, Compiled> templates;
};

RenderedChat ChatTemplate::Handle::render(const ChatRequest& request,
                                          const Tokenizer* tokenizer) const {
  const MrChatRequest bridge_request{
      .messages = as_slice(request.messages),
      .tools = as_slice(request.tools),
      .documents = as_slice(request.documents),
      .chat_template_kwargs = as_slice(request.chat_template_kwargs),
      .add_generation_prompt = request.add_generation_prompt,
      .continue_final_message = as_slice(request.continue_final_message),
      .local_seconds = request.local_seconds,
      .allow_control_tokens = request.allow_control_tokens,
  };
  MrChat made{};
  MrError error{};
  if (!mr_chat_template_render(choose(request), tokenizer ? tokenizer->bridge() : nullptr,
                               bridge_request, &made, &error)) {
    const std::string message = "the chat template: " + take(error.message);
    if (error.code == MR_ERROR_CODE_PANIC) throw InternalError(message);
    throw Error(ErrorCode::kInvalidArgument, message);
  }
  const std::unique_ptr<MrChatOwner, decltype(&mr_chat_free)> owner(made.owner, mr_chat_free);
  const std::span ids(made.token_ids, made.num_tokens);
  return {.text = std::string(reinterpret_cast<const char*>(made.text.data), made.text.size),
          .token_ids = std::vector<int32_t>(ids.begin(), ids.end())};
}

ChatTemplate::ChatTemplate(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::optional<ChatTemplate> ChatTemplate::from_files(const Files& files, std::string_view where,
                                                     const Tokenizer* tokenizer,
                                                     const ChatTemplateLimits& limits) {
  const std::string folder = where.empty() ? std::string() : std::string(where) + "/";
  const Sources sources = find_sources(files, folder);
  if (sources.empty()) return std::nullopt;
  if (sources.size() > kMaxTemplates) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{} has {} chat templates, the limit is {}", where,
                                                 sources.size(), kMaxTemplates));
  }
  const std::string tokens = special_tokens(files, folder);
  auto handle = std::make_unique<Handle>();
  for (const auto& [name, source] : sources)
    handle->templates.emplace(name, compile(source, tokens, tokenizer, limits));
  return ChatTemplate(std::move(handle));
}

std::string ChatTemplate::render(const ChatRequest& request) const {
  return handle_->render(request, nullptr).text;
}

RenderedChat ChatTemplate::encode(const Tokenizer& tokenizer, const ChatRequest& request) const {
  return handle_->render(request, &tokenizer);
}

}  // namespace millrace
