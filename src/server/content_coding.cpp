// Negotiation, and the two libraries behind it.
#include "server/content_coding.h"

#include <zstd.h>

#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "text/message_pack.h"

namespace millrace {

namespace {

constexpr size_t kMinCompressedBytes = 1024;  // below, a frame saves less than it costs
constexpr int kZstdLevel = 1;

// All are in use; the first is the registered one.
constexpr std::string_view kMessagePackTypes[] = {"application/msgpack", "application/x-msgpack",
                                                  "application/messagepack",
                                                  "application/vnd.msgpack"};

double weight(std::string_view parameters) {
  const size_t at = parameters.find("q=");
  if (at == std::string_view::npos) return 1;
  double q = 1;
  const std::string_view number = parameters.substr(at + 2);
  std::from_chars(number.data(), number.data() + number.size(), q);
  return q;
}

std::string compress(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kZstdLevel);
  CHECK(!ZSTD_isError(size), "zstd: {}", ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

}  // namespace

bool accepts(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const size_t semicolon = item.find(';');
    if (!http::equals_ignoring_case(trim(item.substr(0, semicolon)), token)) continue;
    return semicolon == std::string_view::npos || weight(item.substr(semicolon)) > 0;
  }
  return false;
}

void apply_content_coding(const http::Request& request, http::Response& response) {
  const std::string_view accept = request.headers.find("accept").value_or("");
  for (const std::string_view type : kMessagePackTypes) {
    if (!accepts(accept, type)) continue;
    response.body = to_message_pack(response.body);
    response.headers.set("content-type", std::string(type));
    break;
  }
  const std::string_view coding = request.headers.find("accept-encoding").value_or("");
  if (response.body.size() >= kMinCompressedBytes && accepts(coding, "zstd")) {
    response.body = compress(response.body);
    response.headers.set("content-encoding", "zstd");
  }
  response.headers.set("vary", "accept, accept-encoding");
}

}  // namespace millrace
