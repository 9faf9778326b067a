// HubConnection: requests to a hub and its content network, with retries and the token's rule.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "checkpoint/hub_settings.h"
#include "checkpoint/web_client.h"

namespace millrace {

inline constexpr int kMaxRedirects = 5;  // of one request

// The token goes to the endpoint's own origin (scheme, host, port) and nowhere else, whatever a
// redirect says. One thread at a time.
class HubConnection {
 public:
  // `stopped` ends requests and waits early.
  HubConnection(const HubSettings& settings, const std::atomic<bool>* stopped);

  // Both try again after passing failures and return the last reply, whatever it is. No redirect
  // is followed.
  WebReply head(const std::string& url);
  // Hands the bytes `range` of a file of `size` bytes to `sink`, in order and each once, over as
  // many requests as it takes; one that made progress does not count as a failed try. All went well
  // when the reply has no failure and a status of 200 or 206.
  WebReply read(const std::string& url, ByteRange range, uint64_t size,
                const WebClient::BodySink& sink);

  // A small text of the hub itself, over redirects; `what` names it in errors.
  std::string read_text(const std::string& url, size_t max_bytes, const std::string& what);

  // Throws the sentence for a reply that is no success. `what`: "config.json of org/name".
  [[noreturn]] void fail(const WebReply& reply, const std::string& url,
                         const std::string& what) const;

 private:
  struct Try {
    WebReply reply;
    bool progressed = false;
  };

  WebRequest request_for(const std::string& url) const;
  WebReply repeat(const std::function<Try()>& attempt);
  bool wait(std::chrono::milliseconds duration) const;

  const HubSettings& settings_;
  const std::atomic<bool>* stopped_;
  WebClient client_;
};

inline bool is_redirect(const WebReply& reply) {
  const int status = reply.status;
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Where a redirect leads. Throws Error{kCorrupt} when it leads nowhere, or from https to http.
std::string redirect_target(const WebReply& reply, const std::string& url);

bool same_origin(const std::string& a, const std::string& b);

// The host of a URL, for messages: the rest of a signed address is a secret.
std::string host_of(const std::string& url);

}  // namespace millrace
