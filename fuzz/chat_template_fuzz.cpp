// Fuzzes chat templates and requests: the input is a template, a zero byte, and the messages in
// JSON.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "text/chat_template.h"

using namespace millrace;

static const Tokenizer& tokenizer() {
  static const Tokenizer loaded =
      Tokenizer::from_file(MILLRACE_SOURCE_DIR "/tests/text/tokenizers/llama.json");
  return loaded;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string messages = zero == std::string_view::npos
                                   ? R"([{"role":"user","content":"<|im_start|> </think>"}])"
                                   : std::string(input.substr(zero + 1));
  ChatTemplateLimits limits;
  limits.max_steps = 20'000;
  limits.max_work_bytes = 1 << 20;
  try {
    const auto opened = ChatTemplate::from_files(
        {{"chat_template.jinja", std::string(input.substr(0, zero))}}, "", &tokenizer(), limits);
    const ChatRequest request{.messages = messages, .tools = R"([{"name":"f"}])"};
    const RenderedChat chat = opened->encode(tokenizer(), request);
    CHECK(chat.text == opened->render(request));
    for (int32_t id : chat.token_ids) CHECK(0 <= id && id <= tokenizer().max_token_id());
  } catch (const Error&) {
    return 0;  // not a template, or one that refuses
  }
  return 0;
}
