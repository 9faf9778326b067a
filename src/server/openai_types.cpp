// Parsing and writing of the embeddings route.
#include "server/openai_types.h"

#include <boost/json.hpp>

#include <array>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "server/request_error.h"

namespace millrace {

namespace {

constexpr int kMaxDepth = 32;

[[noreturn]] void refuse(std::string message, std::string param, std::string code = {}) {
  throw RequestError(400, std::move(message), std::move(param), std::move(code));
}

json::value parse_body(std::string_view body) {
  try {
    return json::parse(body, "body", {.max_depth = kMaxDepth, .max_bytes = body.size()});
  } catch (const Error& error) {
    refuse(error.message(), "");
  }
}

std::string text_input(const json::value& v) {
  if (v.get_string().empty()) refuse("input must not be an empty string", "input");
  return std::string(v.get_string());
}

std::vector<int32_t> ids_input(const json::array& list, int64_t vocab_size) {
  if (list.empty()) refuse("input must not be an empty list of token ids", "input");
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const json::value& element : list) {
    const auto* id = element.if_int64();
    if (!id || *id < 0 || *id >= vocab_size) {
      refuse(fmt::format("token ids are integers from 0 to {} for this model", vocab_size - 1),
             "input");
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

// string | [string] | [int] | [[int]].
std::vector<EmbeddingInput> parse_inputs(const json::value* input, const EmbeddingsLimits& limits) {
  constexpr std::string_view kForms =
      "input must be a string, a list of strings, a list of token ids or a list of such lists";
  if (!input) refuse("input is missing", "input");
  if (input->is_string()) return {text_input(*input)};
  const auto* list = input->if_array();
  if (!list) refuse(std::string(kForms), "input");
  if (list->empty()) refuse("input must not be empty", "input");
  if (list->front().is_number()) return {ids_input(*list, limits.vocab_size)};
  if (list->size() > limits.max_inputs) {
    refuse(fmt::format("input has {} entries, the limit is {} per request; send several requests",
                       list->size(), limits.max_inputs),
           "input");
  }
  std::vector<EmbeddingInput> inputs;
  inputs.reserve(list->size());
  const auto kind = list->front().kind();
  for (const json::value& element : *list) {
    if (element.kind() != kind) refuse(std::string(kForms), "input");
    if (element.is_string()) {
      inputs.emplace_back(text_input(element));
    } else if (const auto* ids = element.if_array()) {
      inputs.emplace_back(ids_input(*ids, limits.vocab_size));
    } else {
      refuse(std::string(kForms), "input");
    }
  }
  return inputs;
}

const std::string_view kDirections = "truncation_direction must be \"Right\" or \"Left\"";

std::string string_field(const json::value& v, std::string_view name) {
  if (!v.is_string()) refuse(fmt::format("{} must be a string", name), std::string(name));
  return std::string(v.get_string());
}

bool boolean_field(const json::value& v, std::string_view name) {
  if (!v.is_bool()) refuse(fmt::format("{} must be true or false", name), std::string(name));
  return v.get_bool();
}

// One member of the body. Returns false when the API has no such field.
bool read_field(std::string_view name, const json::value& v, EmbeddingsRequest& request) {
  if (name == "input") return true;  // read by itself
  if (name == "model") {
    request.model = string_field(v, name);
  } else if (name == "encoding_format") {
    const std::string format = string_field(v, name);
    if (format != "float" && format != "base64")
      refuse("encoding_format must be \"float\" or \"base64\"", "encoding_format");
    request.encoding_format = format == "float" ? EncodingFormat::kFloat : EncodingFormat::kBase64;
  } else if (name == "dimensions") {
    const auto* count = v.if_int64();
    if (!count || *count < 1) refuse("dimensions must be a positive integer", "dimensions");
    request.dimensions = *count;
  } else if (name == "user") {
    string_field(v, name);
  } else if (name == "truncate") {
    request.truncate = boolean_field(v, name);
  } else if (name == "normalize") {
    request.normalize = boolean_field(v, name);
  } else if (name == "truncation_direction") {
    const std::string direction = string_field(v, name);
    if (direction != "Right" && direction != "Left" && direction != "right" &&
        direction != "left") {
      refuse(std::string(kDirections), "truncation_direction");
    }
    request.truncation_direction = direction == "Right" || direction == "right"
                                       ? TruncationDirection::kRight
                                       : TruncationDirection::kLeft;
  } else {
    return false;
  }
  return true;
}

// A header's value must stay one: names of unknown fields come from outside.
std::string header_safe(std::string_view name) {
  std::string out;
  for (char c : name.substr(0, 64)) out += (c > ' ' && c < 0x7f && c != ',') ? c : '?';
  return out;
}

void append_float(std::string& out, float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

// RFC 4648 §4, with padding, of the little-endian bytes of the values.
void append_base64(std::string& out, std::span<const float> values) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bytes = std::as_bytes(values);
  const auto at = [&](size_t i) { return static_cast<uint32_t>(bytes[i]); };
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    const std::array four = {kAlphabet[group >> 18], kAlphabet[group >> 12 & 63],
                             kAlphabet[group >> 6 & 63], kAlphabet[group & 63]};
    out.append(four.data(), four.size());
  }
  const size_t left = bytes.size() - i;
  if (left == 0) return;
  const uint32_t group = at(i) << 16 | (left == 2 ? at(i + 1) << 8 : 0);
  out += kAlphabet[group >> 18];
  out += kAlphabet[group >> 12 & 63];
  out += left == 2 ? kAlphabet[group >> 6 & 63] : '=';
  out += '=';
}

}  // namespace

EmbeddingsRequest parse_embeddings_request(std::string_view body, const EmbeddingsLimits& limits) {
  const json::value parsed = parse_body(body);
  const auto* object = parsed.if_object();
  if (!object) refuse("the body must be a JSON object", "");
  EmbeddingsRequest request;
  constexpr size_t kMaxIgnored = 16;
  for (const auto& member : *object) {
    const bool known =
        member.value().is_null() || read_field(member.key(), member.value(), request);
    if (!known && request.ignored_fields.size() < kMaxIgnored)
      request.ignored_fields.push_back(header_safe(member.key()));
  }
  request.inputs = parse_inputs(object->if_contains("input"), limits);
  return request;
}

EmbeddingsResponseWriter::EmbeddingsResponseWriter(EncodingFormat format, size_t num_embeddings,
                                                   size_t dimensions)
    : format_(format) {
  constexpr size_t kFloatBytes = 14;  // longest common "-0.012345678,"
  constexpr size_t kItemBytes = 80;
  const size_t vector_bytes = dimensions * (format == EncodingFormat::kFloat ? kFloatBytes : 6);
  out_.reserve(num_embeddings * (vector_bytes + kItemBytes) + 256);
  out_ = R"({"object":"list","data":[)";
}

void EmbeddingsResponseWriter::add(std::span<const float> embedding, bool truncated) {
  if (index_ > 0) out_ += ',';
  out_ += R"({"object":"embedding","index":)";
  out_ += std::to_string(index_++);
  if (truncated) out_ += R"(,"truncated":true)";
  out_ += R"(,"embedding":)";
  if (format_ == EncodingFormat::kBase64) {
    out_ += '"';
    append_base64(out_, embedding);
    out_ += "\"}";
    return;
  }
  out_ += '[';
  for (size_t i = 0; i < embedding.size(); ++i) {
    if (i > 0) out_ += ',';
    append_float(out_, embedding[i]);
  }
  out_ += "]}";
}

std::string EmbeddingsResponseWriter::finish(std::string_view model, int64_t prompt_tokens) {
  out_ += R"(],"model":)";
  out_ += json::to_text(json::value(model));
  out_ += fmt::format(R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}}}})", prompt_tokens);
  return std::move(out_);
}

}  // namespace millrace
