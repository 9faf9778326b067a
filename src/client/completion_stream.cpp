// Chunks and whole answers have the same shape: choices with a delta, a message or a text.
#include "client/completion_stream.h"

#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr size_t kMaxBodyBytes = 64 * 1024 * 1024;

const json::object* object_in(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value ? value->if_object() : nullptr;
}

std::string string_in(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<int64_t> count_in(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (!value || !value->is_int64() || value->get_int64() < 0) return std::nullopt;
  return value->get_int64();
}

// {"error": {"message": ...}}, {"error": "..."}, {"message": ...}
std::string error_text(const json::object& object) {
  if (const auto* error = object_in(object, "error")) return string_in(*error, "message");
  const std::string error = string_in(object, "error");
  return error.empty() ? string_in(object, "message") : error;
}

}  // namespace

http::BodyHooks CompletionStream::hooks() {
  return {.on_head = [this](const http::Response& head) { on_head(head); },
          .on_body = [this](std::string_view piece) { return on_body(piece); }};
}

void CompletionStream::fail(std::string kind, std::string message) {
  if (!failure_.empty()) return;
  failure_ = std::move(kind);
  error_message_ = std::move(message);
}

void CompletionStream::on_head(const http::Response& head) {
  status_ = head.status;
  const auto type = head.headers.find("content-type").value_or("");
  streamed_ = http::equals_ignoring_case(type.substr(0, 17), "text/event-stream");
}

bool CompletionStream::on_body(std::string_view piece) {
  if (!streamed_) {
    body_ += piece;
    if (body_.size() > kMaxBodyBytes) fail("an answer too long");
    return failure_.empty();
  }
  const bool good = parser_.feed(piece, [this](const http::SseEvent& event) {
    if (failure_.empty() && !done_) read_event(event.data);
  });
  if (!good) fail("an event too long");
  return failure_.empty();
}

void CompletionStream::read_event(const std::string& data) {
  if (data == "[DONE]") {
    done_ = true;
  } else {
    read_object(data, false);
  }
}

void CompletionStream::read_object(std::string_view text, bool whole) {
  json::value parsed;
  try {
    parsed = json::parse(text, "the answer");
  } catch (const Error& e) {
    return fail("no JSON", e.message());
  }
  const json::object* object = parsed.if_object();
  if (!object) return fail("no JSON object");
  if (!whole && object->contains("error")) {
    return fail("an error in the stream", error_text(*object));
  }
  if (const auto* usage = object_in(*object, "usage")) {
    prompt_tokens_ = count_in(*usage, "prompt_tokens");
    completion_tokens_ = count_in(*usage, "completion_tokens");
  }
  const json::value* choices = object->if_contains("choices");
  if (!choices || !choices->is_array()) return fail("no choices");
  CompletionPiece piece;
  for (const json::value& one : choices->get_array()) {
    const json::object* choice = one.if_object();
    if (!choice) return fail("no choices");
    const json::object* message = object_in(*choice, whole ? "message" : "delta");
    piece.text += message ? string_in(*message, "content") : string_in(*choice, "text");
    if (message) {
      const std::string reasoning = string_in(*message, "reasoning_content");
      piece.reasoning += reasoning.empty() ? string_in(*message, "reasoning") : reasoning;
    }
    if (std::string reason = string_in(*choice, "finish_reason"); !reason.empty()) {
      finish_reason_ = std::move(reason);
    }
  }
  if (!piece.text.empty() || !piece.reasoning.empty()) on_piece_(piece);
}

void CompletionStream::on_end() {
  if (status_ < 200 || status_ >= 300) {
    try {
      const json::value parsed = json::parse(body_, "the answer");
      if (const auto* object = parsed.if_object()) error_message_ = error_text(*object);
    } catch (const Error&) {
      // an error page of somebody between: the status says it all
    }
    return;
  }
  if (!streamed_) {
    if (failure_.empty()) read_object(body_, true);
  } else if (!done_) {
    fail("a stream without its end");
  }
}

}  // namespace millrace
