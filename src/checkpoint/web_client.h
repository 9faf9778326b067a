// WebClient: one HTTP(S) request at a time to a server of the web; the only file that knows
// libcurl.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace {

// Proxies come from the environment (https_proxy, no_proxy and so on), as curl reads them.
struct WebOptions {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{30};  // without a byte of the answer
  std::string ca_file;                     // certificates to trust; empty: the system's
};

struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;  // exclusive
};

struct WebRequest {
  std::string url;                             // http or https
  std::string bearer_token;                    // empty: none
  std::optional<ByteRange> range;              // absent: the whole
  const std::atomic<bool>* stopped = nullptr;  // ends the request early when it becomes true
};

// Why there is no whole answer.
enum class WebFailure {
  kNone,
  kName,     // the host's name has no address
  kConnect,  // nobody answers there, or not in time
  kTls,      // no trust, or no TLS
  kStalled,  // connected, and then nothing for WebOptions::stall_timeout
  kCut,      // the connection ended before the answer did
  kNoRange,  // the server sends something else than the range that was asked for
  kStopped,  // WebRequest::stopped
};

struct WebReply {
  WebFailure failure = WebFailure::kNone;
  std::string failure_text;  // libcurl's words
  int status = 0;            // 0: no answer
  http::Headers headers;
  std::string error_body;  // of an answer other than 2xx, its first 64 KiB
};

// Not thread-safe; a connection stays open between requests to the same host.
class WebClient {
 public:
  // Takes the next bytes of a 2xx answer; what it throws ends the request and leaves get().
  using BodySink = std::function<void(std::string_view bytes)>;

  explicit WebClient(WebOptions options);
  ~WebClient();
  WebClient(WebClient&&) noexcept;

  // Neither follows redirects nor decodes content. Failures are values.
  WebReply head(const WebRequest& request);
  WebReply get(const WebRequest& request, const BodySink& sink);

 private:
  struct State;
  WebReply perform(const WebRequest& request, bool head, const BodySink& sink);
  std::unique_ptr<State> state_;
};

// A URL's parts, as libcurl reads them: what is compared here is what is connected to.
struct WebAddress {
  std::string scheme;  // lower case
  std::string host;    // lower case
  std::string port;    // the scheme's own when the URL names none
  std::string origin() const { return scheme + "://" + host + ":" + port; }
};

// Nothing for what is no http or https URL, or carries a user name.
std::optional<WebAddress> parse_address(const std::string& url);

// `location` relative to `base`, as a Location header means it; empty when it makes no sense.
std::string resolve_url(const std::string& base, const std::string& location);

}  // namespace millrace
