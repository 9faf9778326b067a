// Tokens of texts, texts of token ids.
#include "server/token_routes.h"

#include "base/strings.h"
#include "server/content_coding.h"
#include "server/service.h"
#include "server/tei_types.h"

namespace millrace {

namespace {

// [{"id": 101, "text": "[CLS]", "special": true, "start": null, "stop": null}, ...]: special tokens
// by their names, others as they stand in the text; positions in bytes of it, as TEI counts.
void append_tokens(std::string& out, const Tokenizer& tokenizer, const std::string& text,
                   bool add_special_tokens) {
  const Encoding encoding = tokenizer.encode(
      text, {.add_special_tokens = add_special_tokens, .offsets = OffsetUnit::kBytes});
  out += '[';
  for (size_t i = 0; i < encoding.token_ids.size(); ++i) {
    if (i > 0) out += ',';
    const TokenSpan& span = encoding.spans[i];
    out += fmt::format(R"({{"id":{},"text":)", encoding.token_ids[i]);
    if (span.special) {
      append_json_string(out, tokenizer.id_to_token(encoding.token_ids[i]).value_or(""));
      out += R"(,"special":true,"start":null,"stop":null})";
      continue;
    }
    const auto begin = static_cast<size_t>(span.begin);
    append_json_string(out,
                       std::string_view(text).substr(begin, static_cast<size_t>(span.end) - begin));
    out += fmt::format(R"(,"special":false,"start":{},"stop":{}}})", span.begin, span.end);
  }
  out += ']';
}

}  // namespace

void require_answer_size(const std::string& answer, int64_t max_bytes) {
  if (static_cast<int64_t>(answer.size()) <= max_bytes) return;
  throw RequestError(Refusal::kInvalid,
                     fmt::format("the answer would have more than {} bytes, which is the limit for "
                                 "one body; send less at once",
                                 max_bytes));
}

void answer_tei_tokenize(const Service& service, const ExchangePtr& exchange) {
  const TeiTokenizeRequest request =
      parse_tokenize_request(exchange->request().body, service.body_limits());
  const std::string prompt = prompt_of(service.model().config, request.text.prompt_name);
  std::string out = "[";
  for (const std::string& input : request.inputs) {
    if (out.size() > 1) out += ',';
    append_tokens(out, *service.model().tokenizer, prompt + input, request.add_special_tokens);
    require_answer_size(out, service.config().limits.max_body_bytes);
  }
  http::Response response =
      with_ignored(http::json_response(200, out + "]"), request.ignored_fields);
  apply_content_coding(exchange->request(), response);
  exchange->respond(std::move(response));
}

void answer_decode(const Service& service, const ExchangePtr& exchange) {
  const TeiDecodeRequest request =
      parse_decode_request(exchange->request().body, service.body_limits());
  std::string out = "[";
  for (const std::vector<int32_t>& ids : request.ids) {
    if (out.size() > 1) out += ',';
    append_json_string(out, service.model().tokenizer->decode(ids, request.skip_special_tokens));
    require_answer_size(out, service.config().limits.max_body_bytes);
  }
  http::Response response =
      with_ignored(http::json_response(200, out + "]"), request.ignored_fields);
  apply_content_coding(exchange->request(), response);
  exchange->respond(std::move(response));
}

}  // namespace millrace
