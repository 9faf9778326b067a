// Beast's parser for the head, behind a strict check of the raw bytes and of what the headers mean
// together. The body is read here: Beast's chunk parser asserts on what a client may send.
#include "http/parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "http/chunks.h"
#include "http/target.h"

namespace millrace::http {

namespace {

namespace beast_http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

constexpr size_t kMaxMethodBytes = 32;
constexpr size_t kMaxLeadingEmptyLines = 2;      // RFC 9112 §2.2 asks for at least one
constexpr size_t kMaxBodyReserve = 1024 * 1024;  // never trust Content-Length with memory

std::string_view view(string_view text) {
  return {text.data(), text.size()};
}

std::string too_large(const ParserLimits& limits) {
  return fmt::format("the body is longer than {} bytes", limits.max_body_bytes);
}

// Finds the end of the head while it checks each byte. Resumes where it stopped.
struct HeadScanner {
  size_t position = 0;    // bytes seen
  size_t line_start = 0;  // of the line that `position` is in
  size_t num_lines = 0;   // complete ones

  enum class Result { kNeedMore, kComplete, kFailed };

  // `bytes` starts at the request line. On kComplete `position` is the length of the head.
  Result scan(std::string_view bytes, const ParserLimits& limits, ParseFailure& failure) {
    const auto fail = [&](int status, std::string message) {
      failure = {.status = status, .message = std::move(message)};
      return Result::kFailed;
    };
    for (; position < bytes.size(); ++position) {
      if (position >= limits.max_header_bytes) {
        if (num_lines == 0) {
          return fail(414, fmt::format("the request line is longer than {} bytes",
                                       limits.max_header_bytes));
        }
        return fail(431,
                    fmt::format("the headers are longer than {} bytes", limits.max_header_bytes));
      }
      const auto c = static_cast<unsigned char>(bytes[position]);
      if (c == '\n') {
        if (position == line_start || bytes[position - 1] != '\r') {
          return fail(400, "a line of the head ends with LF instead of CR LF");
        }
        if (position == line_start + 1) {
          ++position;
          return Result::kComplete;
        }
        line_start = position + 1;
        ++num_lines;
        if (num_lines > limits.max_headers + 1) {
          return fail(431, fmt::format("more than {} header fields", limits.max_headers));
        }
        continue;
      }
      if (position > line_start && bytes[position - 1] == '\r') {
        return fail(400, "a CR in the head is not followed by LF");
      }
      if (c == '\r') continue;
      if ((c < 0x20 && c != '\t') || c == 0x7f) {
        return fail(400, "a control character in the head");
      }
      if (num_lines == 0 && (c >= 0x80 || c == '\t')) {
        return fail(400, "a character in the request line that is not printable ASCII");
      }
      if (num_lines > 0 && position == line_start && (c == ' ' || c == '\t')) {
        return fail(400, "a header is folded over several lines");
      }
    }
    return Result::kNeedMore;
  }
};

// Collects what Beast finds, and checks the head as a whole once it is complete.
class Collector : public beast_http::basic_parser<true> {
 public:
  explicit Collector(const ParserLimits& limits) : limits_(limits) {
    this->header_limit(
        static_cast<uint32_t>(std::min<size_t>(limits.max_header_bytes + 1, UINT32_MAX)));
    this->body_limit(boost::none);  // checked below, with the other rules
  }

  Request request;
  bool header_complete = false;
  bool wants_keep_alive = false;
  bool wants_continue = false;
  uint64_t body_bytes = 0;  // that Content-Length announces
  std::optional<ParseFailure> failure;

 private:
  void fail(int status, std::string message, error_code& ec) {
    failure = {.status = status, .message = std::move(message)};
    ec = beast_http::error::bad_field;
  }

  void on_request_impl(beast_http::verb, string_view method, string_view target, int version,
                       error_code& ec) override {
    if (method.size() > kMaxMethodBytes) return fail(501, "the method is not known", ec);
    auto parsed = http::parse_target(view(target));
    if (!parsed) return fail(400, "the request target is malformed", ec);
    request.method = view(method);
    request.target = view(target);
    request.path = std::move(parsed->path);
    request.query = std::move(parsed->query);
    request.version = version;
  }

  void on_field_impl(beast_http::field, string_view name, string_view value, error_code&) override {
    request.headers.add(std::string(view(name)), std::string(view(value)));
  }

  void on_header_impl(error_code& ec) override {
    const Headers& headers = request.headers;
    const size_t num_hosts = headers.count("host");
    if (num_hosts > 1) return fail(400, "more than one Host header", ec);
    if (num_hosts == 0 && request.version >= 11) return fail(400, "the Host header is missing", ec);
    if (num_hosts == 1 &&
        headers.find("host")->find_first_of(" \t,/\\@?#") != std::string_view::npos) {
      return fail(400, "the Host header is malformed", ec);
    }
    const size_t num_lengths = headers.count("content-length");
    if (num_lengths > 1 ||
        (num_lengths == 1 && headers.find("content-length")->find(',') != std::string_view::npos)) {
      return fail(400, "more than one Content-Length", ec);
    }
    if (const auto coding = headers.find("transfer-encoding")) {
      if (request.version < 11) return fail(400, "Transfer-Encoding in HTTP/1.0", ec);
      if (num_lengths > 0) return fail(400, "both Transfer-Encoding and Content-Length", ec);
      if (headers.count("transfer-encoding") > 1 || !equals_ignoring_case(*coding, "chunked")) {
        return fail(501, "the only Transfer-Encoding that is understood is chunked", ec);
      }
    }
    if (const auto expect = headers.find("expect"); expect && request.version >= 11) {
      if (!equals_ignoring_case(*expect, "100-continue")) {
        return fail(417, "the only expectation that is understood is 100-continue", ec);
      }
      wants_continue = true;
    }
    body_bytes = this->content_length().value_or(0);
    if (body_bytes > limits_.max_body_bytes) {
      return fail(413, too_large(limits_), ec);
    }
    wants_keep_alive = this->keep_alive();
    header_complete = true;
  }

  // The parser is left at the end of the head.
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}
  void on_response_impl(int, string_view, int, error_code&) override {}

  const ParserLimits& limits_;
};

ParseFailure describe(const error_code& ec) {
  if (ec == beast_http::error::bad_version) {
    return {.status = 505, .message = "the protocol version is not HTTP/1.0 or HTTP/1.1"};
  }
  return {.status = 400, .message = fmt::format("the request is malformed: {}", ec.message())};
}

ParseFailure describe(ChunkDecoder::Failure failure, const ParserLimits& limits) {
  switch (failure) {
    case ChunkDecoder::Failure::kTooLarge: return {.status = 413, .message = too_large(limits)};
    case ChunkDecoder::Failure::kTooMuchFraming:
      return {.status = 400, .message = "the chunks carry far more framing than body"};
    case ChunkDecoder::Failure::kMalformed: break;
  }
  return {.status = 400, .message = "a chunk of the body is malformed"};
}

}  // namespace

struct RequestParser::Impl {
  ParserLimits limits;
  HeadScanner scanner;
  std::optional<Collector> collector;
  std::optional<ChunkDecoder> chunks;  // of a chunked body
  std::optional<ParseFailure> failure;
  size_t num_empty_lines = 0;
  bool started = false;
  bool done = false;

  size_t fail(ParseFailure f, size_t used) {
    failure = std::move(f);
    return used;
  }

  size_t feed_head(std::string_view bytes);
  size_t feed_body(std::string_view bytes);
};

size_t RequestParser::Impl::feed_head(std::string_view bytes) {
  size_t used = 0;
  if (!started) {
    while (bytes.starts_with("\r\n") && num_empty_lines < kMaxLeadingEmptyLines) {
      bytes.remove_prefix(2);
      used += 2;
      ++num_empty_lines;
    }
    if (bytes.empty() || bytes == "\r") return used;
    started = true;
  }
  ParseFailure refused;
  switch (scanner.scan(bytes, limits, refused)) {
    case HeadScanner::Result::kNeedMore: return used;
    case HeadScanner::Result::kFailed: return fail(std::move(refused), used);
    case HeadScanner::Result::kComplete: break;
  }
  error_code ec;
  const size_t head = collector->put(boost::asio::buffer(bytes.data(), scanner.position), ec);
  if (ec) return fail(collector->failure.value_or(describe(ec)), used);
  // The scanner has seen the empty line that ends the head: Beast must agree that this is it.
  if (head != scanner.position || !collector->header_complete) {
    return fail({.status = 400, .message = "the head is malformed"}, used);
  }
  if (collector->chunked()) chunks.emplace(limits.max_body_bytes, limits.max_header_bytes);
  collector->request.body.reserve(std::min<size_t>(collector->body_bytes, kMaxBodyReserve));
  return used + head;
}

size_t RequestParser::Impl::feed_body(std::string_view bytes) {
  std::string& body = collector->request.body;
  if (!chunks) {
    const size_t count = std::min<uint64_t>(collector->body_bytes - body.size(), bytes.size());
    body.append(bytes.substr(0, count));
    done = body.size() == collector->body_bytes;
    return count;
  }
  const size_t count = chunks->feed(bytes, body);
  if (const auto refused = chunks->failure()) return fail(describe(*refused, limits), count);
  done = chunks->done();
  return count;
}

RequestParser::RequestParser(ParserLimits limits) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  impl_->collector.emplace(impl_->limits);
}

RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

void RequestParser::reset() {
  Impl& impl = *impl_;
  impl.scanner = {};
  impl.collector.emplace(impl.limits);
  impl.chunks.reset();
  impl.failure.reset();
  impl.num_empty_lines = 0;
  impl.started = false;
  impl.done = false;
}

size_t RequestParser::feed(std::string_view bytes) {
  Impl& impl = *impl_;
  CHECK(!impl.done && !impl.failure);
  size_t used = 0;
  if (!impl.collector->header_complete) {
    used = impl.feed_head(bytes);
    if (impl.failure || !impl.collector->header_complete) return used;
  }
  return used + impl.feed_body(bytes.substr(used));
}

bool RequestParser::started() const {
  return impl_->started;
}

bool RequestParser::header_done() const {
  return impl_->collector->header_complete;
}

bool RequestParser::done() const {
  return impl_->done;
}

bool RequestParser::failed() const {
  return impl_->failure.has_value();
}

const ParseFailure& RequestParser::failure() const {
  CHECK(impl_->failure.has_value());
  return *impl_->failure;
}

bool RequestParser::keep_alive() const {
  return impl_->collector->wants_keep_alive;
}

bool RequestParser::expects_continue() const {
  return impl_->collector->wants_continue;
}

Request RequestParser::take() {
  CHECK(impl_->done);
  return std::move(impl_->collector->request);
}

const Request& RequestParser::request() const {
  return impl_->collector->request;
}

Request RequestParser::take_head() {
  Request request = std::move(impl_->collector->request);
  request.body = {};
  return request;
}

size_t RequestParser::body_bytes() const {
  return impl_->collector->request.body.size();
}

}  // namespace millrace::http
