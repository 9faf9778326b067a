// Requests through libcurl's easy interface.
#include "checkpoint/web_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <exception>

#include "base/error.h"
#include "base/strings.h"
#include "base/version.h"

namespace millrace {

namespace {

constexpr size_t kMaxErrorBody = 64 * 1024;
constexpr size_t kMaxHeaders = 200;

// libcurl wants to be told of the first use, before threads meet in it.
void init_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(code == CURLE_OK, "libcurl does not start: {}", curl_easy_strerror(code));
}

struct Exchange {
  CURL* curl = nullptr;
  WebReply reply;
  const WebClient::BodySink* sink = nullptr;
  std::optional<ByteRange> range;
  bool wrong_range = false;
  const std::atomic<bool>* stopped = nullptr;
  std::exception_ptr thrown;
};

size_t on_header(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // of the last answer, where a proxy or a 100 came before it
    exchange.reply.headers.clear();
    return size;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  if (exchange.reply.headers.size() >= kMaxHeaders) return 0;
  exchange.reply.headers.add(std::string(trim(line.substr(0, colon))),
                             std::string(trim(line.substr(colon + 1))));
  return size;
}

// Whether the answer is the range that was asked for (RFC 9110 §14.4).
bool has_range(const Exchange& exchange, long status) {
  if (!exchange.range) return status != 206;
  const auto field = exchange.reply.headers.find("Content-Range");
  return status == 206 && field &&
         field->starts_with(
             fmt::format("bytes {}-{}/", exchange.range->begin, exchange.range->end - 1));
}

// Exceptions must not pass through libcurl's frames.
size_t on_body(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  long status = 0;
  curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
  try {
    if (status / 100 == 2) {
      exchange.wrong_range = !has_range(exchange, status);
      if (exchange.wrong_range) return 0;
      (*exchange.sink)(std::string_view(data, size));
    } else {
      std::string& body = exchange.reply.error_body;
      body.append(data, std::min(size, kMaxErrorBody - body.size()));
    }
    return size;
  } catch (...) {
    exchange.thrown = std::current_exception();
    return 0;
  }
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& exchange = *static_cast<Exchange*>(user);
  return exchange.stopped && exchange.stopped->load() ? 1 : 0;
}

WebFailure failure_of(CURLcode code) {
  switch (code) {
    case CURLE_OK: return WebFailure::kNone;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return WebFailure::kName;
    case CURLE_COULDNT_CONNECT: return WebFailure::kConnect;
    case CURLE_OPERATION_TIMEDOUT: return WebFailure::kStalled;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR: return WebFailure::kTls;
    case CURLE_ABORTED_BY_CALLBACK: return WebFailure::kStopped;
    default: return WebFailure::kCut;
  }
}

class HeaderList {
 public:
  ~HeaderList() { curl_slist_free_all(list_); }
  void add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

class ParsedUrl {
 public:
  ParsedUrl() : url_(curl_url()) {}
  ~ParsedUrl() { curl_url_cleanup(url_); }
  ParsedUrl(const ParsedUrl&) = delete;
  ParsedUrl& operator=(const ParsedUrl&) = delete;

  bool set(const std::string& text) {
    return text.find('\0') == std::string::npos &&
           curl_url_set(url_, CURLUPART_URL, text.c_str(), 0) == CURLUE_OK;
  }
  std::optional<std::string> get(CURLUPart part, unsigned flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(url_, part, &text, flags) != CURLUE_OK) return std::nullopt;
    std::string out(text);
    curl_free(text);
    return out;
  }

 private:
  CURLU* url_;
};

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

}  // namespace

struct WebClient::State {
  explicit State(WebOptions o) : options(std::move(o)) {
    init_curl();
    curl = curl_easy_init();
    CHECK(curl);
  }
  ~State() { curl_easy_cleanup(curl); }

  WebOptions options;
  CURL* curl = nullptr;
};

WebClient::WebClient(WebOptions options) : state_(std::make_unique<State>(std::move(options))) {}
WebClient::~WebClient() = default;
WebClient::WebClient(WebClient&&) noexcept = default;

WebReply WebClient::head(const WebRequest& request) {
  return perform(request, true, [](std::string_view) {});
}

WebReply WebClient::get(const WebRequest& request, const BodySink& sink) {
  return perform(request, false, sink);
}

WebReply WebClient::perform(const WebRequest& request, bool head, const BodySink& sink) {
  CURL* curl = state_->curl;
  const WebOptions& options = state_->options;
  curl_easy_reset(curl);  // keeps the connection
  Exchange exchange{
      .curl = curl, .sink = &sink, .range = request.range, .stopped = request.stopped};
  HeaderList headers;
  headers.add("Accept-Encoding: identity");  // sizes and hashes are of the bytes as stored
  if (!request.bearer_token.empty()) headers.add("Authorization: Bearer " + request.bearer_token);
  std::array<char, CURL_ERROR_SIZE> text{};
  const std::string agent = fmt::format("millrace/{}", kVersion);

  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_NOBODY, head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, agent.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, long{options.connect_timeout.count()});
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);  // bytes/s
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, long{options.stall_timeout.count()});
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text.data());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  if (!options.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options.ca_file.c_str());
  if (request.range) {
    const std::string range = fmt::format("{}-{}", request.range->begin, request.range->end - 1);
    curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());  // copied
  }

  const CURLcode code = curl_easy_perform(curl);
  if (exchange.thrown) std::rethrow_exception(exchange.thrown);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  exchange.reply.failure = exchange.wrong_range ? WebFailure::kNoRange : failure_of(code);
  curl_off_t connected = 0;  // µs; 0: never
  curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
  if (exchange.reply.failure == WebFailure::kStalled && connected == 0)
    exchange.reply.failure = WebFailure::kConnect;
  exchange.reply.status = static_cast<int>(status);
  if (code != CURLE_OK)
    exchange.reply.failure_text = text.front() ? text.data() : curl_easy_strerror(code);
  return std::move(exchange.reply);
}

std::optional<WebAddress> parse_address(const std::string& url) {
  ParsedUrl parsed;
  if (!parsed.set(url)) return std::nullopt;
  const auto scheme = parsed.get(CURLUPART_SCHEME);
  const auto host = parsed.get(CURLUPART_HOST);
  const auto port = parsed.get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (!scheme || !host || !port || host->empty()) return std::nullopt;
  if (parsed.get(CURLUPART_USER) || parsed.get(CURLUPART_PASSWORD)) return std::nullopt;
  WebAddress address{.scheme = lower(*scheme), .host = lower(*host), .port = *port};
  if (address.scheme != "http" && address.scheme != "https") return std::nullopt;
  return address;
}

std::string resolve_url(const std::string& base, const std::string& location) {
  ParsedUrl parsed;
  if (!parsed.set(base) || !parsed.set(location)) return {};
  return parsed.get(CURLUPART_URL).value_or("");
}

}  // namespace millrace
