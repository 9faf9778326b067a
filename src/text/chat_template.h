// Messages to the text, and the token ids, that a model was trained to read: the checkpoint's chat
// template, rendered as `apply_chat_template` of transformers renders it. docs/chat_templates.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace millrace {

// A template comes with the model and runs for every request: what one rendering may cost.
struct ChatTemplateLimits {
  size_t max_template_bytes = 1024 * 1024;
  size_t max_output_bytes = Tokenizer::kMaxTextBytes;
  uint64_t max_steps = 1'000'000;            // instructions
  size_t max_work_bytes = 64 * 1024 * 1024;  // of text that all steps read and make
  size_t max_recursion = 500;  // blocks within blocks; a call of a macro counts as several
};

// What a client asks; the texts are JSON. Numbers reach the template as exactly as they are
// written.
struct ChatRequest {
  std::string_view messages;              // a list of objects, at least one
  std::string_view tools;                 // a list of objects; empty or "null": none
  std::string_view documents;             // likewise
  std::string_view chat_template_kwargs;  // an object of further variables; may be empty
  bool add_generation_prompt = true;
  std::string_view continue_final_message;  // no JSON: the member of the last message, "content"
  bool allow_control_tokens = false;        // in the texts above: see encode
  int64_t local_seconds = 0;  // since 1970, of the local calendar: what strftime_now shows
};

struct RenderedChat {
  std::string text;
  std::vector<int32_t> token_ids;
};

// The templates of one checkpoint, compiled. Immutable: any number of threads may render at once.
class ChatTemplate {
 public:
  // From the files of a model by their names: chat_template.jinja, chat_template.json,
  // additional_chat_templates/*.jinja, tokenizer_config.json, special_tokens_map.json. Nothing
  // where they hold no template. `where` names the directory in errors, `tokenizer` (optional) is
  // the one that encode will be called with.
  // Throws Error{kCorrupt}, with the line, where a template does not parse.
  static std::optional<ChatTemplate> from_files(const std::map<std::string, std::string>& files,
                                                std::string_view where, const Tokenizer* tokenizer,
                                                const ChatTemplateLimits& limits = {});

  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // Throw Error{kInvalidArgument}: a request that is not of the stated form, or that the template
  // refuses; with the template's own message where it gives one (raise_exception).
  std::string render(const ChatRequest& request) const;

  // The rendered text as ids, without the special tokens that Tokenizer::encode adds: templates
  // write their own. Bit-equal to transformers' where no text of the request touches a control
  // token; where one does, it is encoded as plain text unless `allow_control_tokens`.
  // Requires the tokenizer of from_files.
  RenderedChat encode(const Tokenizer& tokenizer, const ChatRequest& request) const;

 private:
  struct Handle;
  explicit ChatTemplate(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

}  // namespace millrace
