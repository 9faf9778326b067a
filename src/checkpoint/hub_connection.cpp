// Tries, waits, and what to say when they are used up.
#include "checkpoint/hub_connection.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

namespace millrace {

namespace {

constexpr std::string_view kKept = "run the command again: what was fetched is kept";

// Failures of the moment. A host that is not there is soon reported: offline work waits for it.
bool is_passing(const WebReply& reply) {
  if (reply.failure == WebFailure::kStopped || reply.failure == WebFailure::kTls ||
      reply.failure == WebFailure::kNoRange) {
    return false;
  }
  if (reply.failure != WebFailure::kNone) return true;
  return reply.status == 408 || reply.status == 429 || reply.status >= 500;
}

bool is_unreachable(const WebReply& reply) {
  return reply.failure == WebFailure::kName || reply.failure == WebFailure::kConnect;
}

// The delay form of Retry-After (RFC 9110 §10.2.3); dates are as good as absent.
std::optional<std::chrono::seconds> retry_after(const WebReply& reply) {
  const auto text = reply.headers.find("Retry-After");
  if (!text) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0 || value > 1'000'000)
    return std::nullopt;
  return std::chrono::seconds(value);
}

std::string header(const WebReply& reply, std::string_view name) {
  return std::string(reply.headers.find(name).value_or("").substr(0, 300));
}

// ": " and the server's own explanation, when it gave one.
std::string explanation(const WebReply& reply) {
  const std::string message = header(reply, "X-Error-Message");
  return message.empty() ? "" : ": " + message;
}

}  // namespace

std::string host_of(const std::string& url) {
  const auto address = parse_address(url);
  return address ? address->host : "the server";
}

bool same_origin(const std::string& a, const std::string& b) {
  const auto one = parse_address(a);
  const auto other = parse_address(b);
  return one && other && one->origin() == other->origin();
}

std::string redirect_target(const WebReply& reply, const std::string& url) {
  const auto location = reply.headers.find("Location");
  std::string target = location ? resolve_url(url, std::string(*location)) : "";
  const auto to = parse_address(target);
  if (!to) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} answered with a redirect that leads nowhere", host_of(url)));
  }
  if (to->scheme == "http" && parse_address(url)->scheme == "https") {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} redirects from https to http ({})", host_of(url), to->host),
                "check HF_ENDPOINT and the proxy; an unprotected download is refused");
  }
  return target;
}

HubConnection::HubConnection(const HubSettings& settings, const std::atomic<bool>* stopped)
    : settings_(settings), stopped_(stopped), client_(settings.web) {}

WebRequest HubConnection::request_for(const std::string& url) const {
  const bool trusted = same_origin(url, settings_.endpoint);
  return {.url = url, .bearer_token = trusted ? settings_.token : "", .stopped = stopped_};
}

bool HubConnection::wait(std::chrono::milliseconds duration) const {
  const auto end = Clock::now() + duration;
  while (Clock::now() < end) {
    if (stopped_ && stopped_->load()) return false;
    std::this_thread::sleep_for(
        std::min<Clock::duration>(std::chrono::milliseconds(100), end - Clock::now()));
  }
  return true;
}

WebReply HubConnection::repeat(const std::function<Try()>& attempt) {
  std::minstd_rand random(std::random_device{}());
  for (int tries = 0;;) {
    Try made = attempt();
    if (!is_passing(made.reply)) return std::move(made.reply);
    tries = made.progressed ? 1 : tries + 1;
    const int limit =
        is_unreachable(made.reply) ? std::min(settings_.max_tries, 2) : settings_.max_tries;
    if (tries >= limit) return std::move(made.reply);
    // Jitter keeps the replicas of one deployment from coming back together.
    std::chrono::milliseconds pause = settings_.backoff * (1 << std::min(tries - 1, 6));
    pause += pause * static_cast<int>(random() % 32) / 64;
    if (const auto asked = retry_after(made.reply)) {
      if (*asked > settings_.max_wait) return std::move(made.reply);
      pause = std::max<std::chrono::milliseconds>(pause, *asked);
      if (*asked >= std::chrono::seconds(5))
        log::info("the hub asks for a pause of {} s (status {})", asked->count(),
                  made.reply.status);
    }
    if (!wait(pause)) {
      made.reply.failure = WebFailure::kStopped;
      return std::move(made.reply);
    }
  }
}

WebReply HubConnection::head(const std::string& url) {
  return repeat([&] { return Try{.reply = client_.head(request_for(url))}; });
}

WebReply HubConnection::read(const std::string& url, ByteRange range, uint64_t size,
                             const WebClient::BodySink& sink) {
  WebRequest request = request_for(url);
  return repeat([&] {
    const uint64_t begin = range.begin;
    const bool whole = begin == 0 && range.end == size;
    request.range = whole ? std::nullopt : std::optional(range);
    WebReply reply = client_.get(request, [&](std::string_view bytes) {
      if (bytes.size() > range.end - range.begin) {
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("{} sends more bytes than it promised", host_of(url)));
      }
      sink(bytes);
      range.begin += bytes.size();
    });
    const bool success = reply.failure == WebFailure::kNone && reply.status / 100 == 2;
    if (success && range.begin < range.end) reply.failure = WebFailure::kCut;
    return Try{.reply = std::move(reply), .progressed = range.begin > begin};
  });
}

std::string HubConnection::read_text(const std::string& url, size_t max_bytes,
                                     const std::string& what) {
  std::string at = url;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    std::string text;
    const WebReply reply = repeat([&] {
      text.clear();
      return Try{.reply = client_.get(request_for(at), [&](std::string_view bytes) {
        if (text.size() + bytes.size() > max_bytes) {
          throw Error(ErrorCode::kCorrupt, fmt::format("the hub's answer about {} is larger than "
                                                       "{} bytes",
                                                       what, max_bytes));
        }
        text += bytes;
      })};
    });
    if (reply.failure != WebFailure::kNone) fail(reply, at, what);
    if (reply.status == 200) return text;
    if (!is_redirect(reply)) fail(reply, at, what);
    at = redirect_target(reply, at);
  }
  throw Error(ErrorCode::kCorrupt,
              fmt::format("the hub redirects more than {} times for {}", kMaxRedirects, what));
}

void HubConnection::fail(const WebReply& reply, const std::string& url,
                         const std::string& what) const {
  const std::string host = host_of(url);
  switch (reply.failure) {
    case WebFailure::kNone: break;
    case WebFailure::kName:
      throw Error(ErrorCode::kUnavailable,
                  fmt::format("{} cannot be fetched: the name {} has no address", what, host),
                  "check the network and the name server; where a proxy is needed set "
                  "https_proxy; HF_HUB_OFFLINE=1 works from the cache alone");
    case WebFailure::kConnect:
      throw Error(ErrorCode::kUnavailable,
                  fmt::format("{} cannot be fetched: {} cannot be reached ({})", what, host,
                              reply.failure_text),
                  "check the network; where a proxy is needed set https_proxy; "
                  "HF_HUB_OFFLINE=1 works from the cache alone");
    case WebFailure::kTls:
      throw Error(ErrorCode::kIo,
                  fmt::format("{} cannot be fetched: no secure connection to {} ({})", what, host,
                              reply.failure_text),
                  "check this machine's clock and its package ca-certificates; behind a proxy "
                  "that signs anew, name its certificate in SSL_CERT_FILE");
    case WebFailure::kStalled:
      throw Error(ErrorCode::kUnavailable,
                  fmt::format("{} cannot be fetched: {} sent nothing for {} s, {} times in a row",
                              what, host, settings_.web.stall_timeout.count(), settings_.max_tries),
                  std::string(kKept));
    case WebFailure::kCut:
      throw Error(ErrorCode::kUnavailable,
                  fmt::format("{} cannot be fetched: {} cut the connection {} times in a row ({})",
                              what, host, settings_.max_tries, reply.failure_text),
                  std::string(kKept));
    case WebFailure::kNoRange:
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{} cannot be fetched: {} does not send the range of bytes that was "
                              "asked for",
                              what, host),
                  "use a hub, mirror or proxy that serves byte ranges (HF_ENDPOINT, https_proxy)");
    case WebFailure::kStopped: throw Error(ErrorCode::kCancelled, what + ": stopped");
  }

  const std::string code = header(reply, "X-Error-Code");
  const std::string token = settings_.token_origin;
  const std::string set_token = fmt::format(
      "create a token with read access at {}/settings/tokens and set HF_TOKEN", settings_.endpoint);
  if (code == "GatedRepo") {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} is gated (status {}){}", what, reply.status, explanation(reply)),
                token.empty()
                    ? "accept its terms on its page of the hub, then " + set_token
                    : fmt::format("accept its terms on its page of the hub with the account of "
                                  "the token in {}, then run the command again",
                                  token));
  }
  if (reply.status == 401 && !token.empty() && code != "RepoNotFound") {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{} refuses the token in {} (status 401){}", host, token, explanation(reply)),
        set_token);
  }
  if (code == "RevisionNotFound") {
    throw Error(ErrorCode::kNotFound,
                fmt::format("there is no such revision: {} (status {})", what, reply.status),
                "a revision is a branch, a tag, a commit of 40 hex digits or refs/pr/N");
  }
  if (code == "EntryNotFound") {
    throw Error(ErrorCode::kNotFound,
                fmt::format("there is no {} (status {})", what, reply.status));
  }
  if (reply.status == 401 || code == "RepoNotFound") {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{} cannot be read (status {}): there is no such repository, or it is "
                            "private",
                            what, reply.status),
                token.empty() ? "check the name (for a directory of this machine: its path); for "
                                "a private repository " +
                                    set_token
                              : fmt::format("check the name, and that the account of the token "
                                            "in {} can see it",
                                            token));
  }
  if (reply.status == 403) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{} denies access to {} (status 403){}", host, what, explanation(reply)),
        token.empty() ? set_token : fmt::format("check the permissions of the token in {}", token));
  }
  if (reply.status == 404) {
    throw Error(ErrorCode::kNotFound, fmt::format("{} has no {} (status 404)", host, what),
                "check the name and the revision");
  }
  if (reply.status == 429) {
    const auto after = retry_after(reply);
    const std::string when =
        after ? fmt::format("in {} s", after->count()) : std::string("in some minutes");
    throw Error(
        ErrorCode::kUnavailable,
        fmt::format("{} limits the rate of requests (status 429) and did not give {}", host, what),
        fmt::format("run the command again {}; what was fetched is kept{}", when,
                    token.empty() ? "; a token in HF_TOKEN raises the limit" : ""));
  }
  if (reply.status == 416) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} is shorter at {} than the hub says (status 416)", what, host),
                "try again later; if it stays so, the repository is damaged");
  }
  if (reply.status >= 500) {
    throw Error(ErrorCode::kUnavailable,
                fmt::format("{} cannot be fetched: {} failed {} times (status {})", what, host,
                            settings_.max_tries, reply.status),
                std::string(kKept));
  }
  throw Error(ErrorCode::kIo, fmt::format("{} cannot be fetched: {} answered with status {}{}",
                                          what, host, reply.status, explanation(reply)));
}

}  // namespace millrace
