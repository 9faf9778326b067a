// The request of chat completions: what the chat template is given, and how to go on.
#pragma once

#include <string>
#include <string_view>

#include "server/generation_options.h"

namespace millrace {

// What the template is given; all texts but the last are JSON.
struct ChatPrompt {
  std::string messages;
  std::string tools;                 // empty: none
  std::string documents;             // empty: none
  std::string chat_template_kwargs;  // empty: none
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  bool allow_control_tokens = false;  // texts of the request may become control tokens
  std::string final_content;          // of the last message, when it is the assistant's
};

struct ChatCompletionRequest {
  GenerationOptions options;
  ChatPrompt prompt;
};

// What a model's template makes of some roles.
struct ChatRoles {
  bool developer = false;  // the template knows the role; else its messages are the system's
};

// Throw RequestError naming the field. The second reads what the template is given alone;
// `may_call`: the answer would have to tell calls of tools from text.
ChatCompletionRequest parse_chat_completion_request(std::string_view body,
                                                    const GenerationLimits& limits,
                                                    const SamplingParams& defaults,
                                                    const ChatRoles& roles);
ChatPrompt read_chat_prompt(BodyReader& body, const ChatRoles& roles, bool may_call);

}  // namespace millrace
