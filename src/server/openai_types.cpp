// Parsing and writing of the embeddings route.
#include "server/openai_types.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "server/json_writer.h"

namespace millrace {

namespace {

EncodingFormat read_format(BodyReader& body) {
  const std::string format = body.string("encoding_format").value_or("float");
  if (format == "float") return EncodingFormat::kFloat;
  if (format == "base64") return EncodingFormat::kBase64;
  refuse("encoding_format must be \"float\" or \"base64\"", "encoding_format");
}

}  // namespace

EmbeddingsRequest parse_embeddings_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  EmbeddingsRequest request;
  request.inputs = read_inputs(body, "input");
  for (const Input& input : request.inputs) {
    const auto* string = std::get_if<std::string>(&input);
    if (string && string->empty()) refuse("input must not hold an empty string", "input");
  }
  request.encoding_format = read_format(body);
  request.text = read_text_options(body);
  request.vector = read_vector_options(body);
  body.string("model");  // one model is served: any name means it
  body.string("user");
  request.ignored_fields = body.ignored();
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
    append_base64(out_, embedding);
  } else {
    append_floats(out_, embedding);
  }
  out_ += '}';
}

std::string EmbeddingsResponseWriter::finish(std::string_view model, int64_t prompt_tokens) {
  out_ += R"(],"model":)";
  append_json_string(out_, model);
  out_ += fmt::format(R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}}}})", prompt_tokens);
  return std::move(out_);
}

}  // namespace millrace
