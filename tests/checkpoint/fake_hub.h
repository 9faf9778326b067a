// A hub and its content network in this process, on two ports, that can misbehave on request.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/hub_settings.h"
#include "http/message.h"

namespace millrace::test {

struct Asked {
  std::string method;
  std::string target;
  http::Headers headers;

  std::string header(std::string_view name) const {
    return std::string(headers.find(name).value_or(""));
  }
};

struct WebAnswer {
  int status = 200;
  http::Headers headers = {};
  std::string body = {};
  std::optional<size_t> body_sent = {};  // the rest is not sent, and the connection
  bool stalls = false;                   // ends, or stays open without a byte
};

// A server of one thread per connection; http::Server never cuts or stalls, and this one must.
class WebServer {
 public:
  using Handler = std::function<WebAnswer(const Asked&)>;

  explicit WebServer(Handler handler)
      : handler_(std::move(handler)), fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    CHECK(fd_ >= 0 && ::bind(fd_, generic, size) == 0 && ::listen(fd_, 64) == 0);
    CHECK(::getsockname(fd_, generic, &size) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~WebServer() { stop(); }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  uint16_t port() const { return port_; }

  void stop() {
    if (stopped_.exchange(true)) return;
    ::shutdown(fd_, SHUT_RDWR);
    acceptor_.join();
    {
      std::lock_guard lock(mutex_);
      for (int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(fd_);
  }

 private:
  void accept_all() {
    for (int fd; (fd = ::accept(fd_, nullptr, nullptr)) >= 0;) {
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] {
        serve(fd);
        std::lock_guard held(mutex_);
        open_.erase(std::find(open_.begin(), open_.end(), fd));
        ::close(fd);
      });
    }
  }

  void serve(int fd) {
    std::string text;
    while (const auto asked = read_head(fd, text)) {
      const WebAnswer answer = handler_(*asked);
      std::string out =
          fmt::format("HTTP/1.1 {} {}\r\n", answer.status, http::status_text(answer.status));
      for (const auto& [name, value] : answer.headers) out += name + ": " + value + "\r\n";
      out += fmt::format("Content-Length: {}\r\n\r\n", answer.body.size());
      if (asked->method != "HEAD") out += answer.body.substr(0, answer.body_sent.value_or(-1));
      if (!send_all(fd, out)) return;
      if (answer.stalls) {
        while (read_head(fd, text)) continue;
        return;
      }
      if (answer.body_sent) return;
    }
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }

  static std::optional<Asked> read_head(int fd, std::string& text) {
    size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      char buffer[4096];
      const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
      if (count <= 0) return std::nullopt;
      text.append(buffer, static_cast<size_t>(count));
      if (text.front() == '\x16') {  // a TLS handshake
        send_all(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
        return std::nullopt;
      }
    }
    Asked asked;
    const std::string_view head(text.data(), end);
    asked.method = head.substr(0, head.find(' '));
    const size_t target = asked.method.size() + 1;
    asked.target = head.substr(target, head.find(' ', target) - target);
    for (size_t line = head.find("\r\n"); line != std::string_view::npos;) {
      const size_t next = head.find("\r\n", line + 2);
      const std::string_view field = head.substr(line + 2, next - line - 2);
      const size_t colon = field.find(": ");
      asked.headers.add(std::string(field.substr(0, colon)), std::string(field.substr(colon + 2)));
      line = next;
    }
    text.erase(0, end + 4);
    return asked;
  }

  Handler handler_;
  int fd_;
  uint16_t port_ = 0;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

inline std::string git_sha1(std::string_view content) {
  Digest digest(Digest::Algorithm::kSha1);
  digest.update(fmt::format("blob {}", content.size()));
  digest.update(std::string_view("\0", 1));
  digest.update(content);
  return digest.hex_digest();
}

// Serves one repository, "org/name": safetensors from the content network, the rest itself.
class FakeHub {
 public:
  using Override = std::function<std::optional<WebAnswer>(const Asked&)>;

  inline static const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

  std::map<std::string, std::string> files;  // path -> content
  Override hub_override;                     // asked first, under a lock
  Override cdn_override;

  FakeHub()
      : cdn_server([this](const Asked& asked) { return answer(asked, false); }),
        hub_server([this](const Asked& asked) { return answer(asked, true); }) {}

  std::string url() const { return fmt::format("http://127.0.0.1:{}", hub_server.port()); }

  std::vector<Asked> asked_of_hub() { return copy(hub_asked_); }
  std::vector<Asked> asked_of_cdn() { return copy(cdn_asked_); }
  void forget() {
    std::lock_guard lock(mutex_);
    hub_asked_.clear();
    cdn_asked_.clear();
  }

  // Small pieces, several connections and short waits.
  HubSettings settings(const std::filesystem::path& cache) const {
    return {.endpoint = url(),
            .cache = cache,
            .web = {.connect_timeout = std::chrono::seconds(5),
                    .stall_timeout = std::chrono::seconds(1)},
            .num_connections = 3,
            .piece_bytes = 1000,
            .max_tries = 3,
            .backoff = std::chrono::milliseconds(1),
            .max_wait = std::chrono::seconds(2)};
  }

  std::string etag(const std::string& path) const {
    const std::string& content = files.at(path);
    return path.ends_with(".safetensors") ? sha256_hex(content) : git_sha1(content);
  }

  // The bytes of `content` that a request asks for.
  static WebAnswer ranged(const Asked& asked, const std::string& content) {
    const std::string range = asked.header("Range");
    if (range.empty()) return {.body = content};
    const size_t first = std::stoul(range.substr(6));
    const size_t last = std::min(std::stoul(range.substr(range.find('-') + 1)), content.size() - 1);
    return {
        .status = 206,
        .headers = {{"Content-Range", fmt::format("bytes {}-{}/{}", first, last, content.size())}},
        .body = content.substr(first, last - first + 1)};
  }

 private:
  std::vector<Asked> copy(const std::vector<Asked>& from) {
    std::lock_guard lock(mutex_);
    return from;
  }

  WebAnswer answer(const Asked& asked, bool hub) {
    {
      std::lock_guard lock(mutex_);
      (hub ? hub_asked_ : cdn_asked_).push_back(asked);
      const Override& first = hub ? hub_override : cdn_override;
      if (first) {
        if (auto own = first(asked)) return *own;
      }
    }
    return hub ? answer_hub(asked) : answer_cdn(asked);
  }

  WebAnswer answer_hub(const Asked& asked) const {
    if (asked.target.starts_with("/api/models/org/name/revision/")) {
      std::string siblings;
      for (const auto& [path, content] : files)
        siblings += fmt::format("{}{{\"rfilename\":\"{}\"}}", siblings.empty() ? "" : ",", path);
      return {.body = fmt::format("{{\"sha\":\"{}\",\"siblings\":[{}]}}", kCommit, siblings)};
    }
    const std::string prefix = "/org/name/resolve/" + kCommit + "/";
    const std::string path =
        asked.target.starts_with(prefix) ? asked.target.substr(prefix.size()) : "";
    if (!files.contains(path))
      return {.status = 404, .headers = {{"X-Error-Code", "EntryNotFound"}}};
    if (path.ends_with(".safetensors")) {
      return {.status = 302,
              .headers = {{"X-Repo-Commit", kCommit},
                          {"X-Linked-Etag", '"' + etag(path) + '"'},
                          {"X-Linked-Size", std::to_string(files.at(path).size())},
                          {"Location", fmt::format("http://127.0.0.1:{}/{}?signature=s3cret",
                                                   cdn_server.port(), path)}}};
    }
    WebAnswer file = ranged(asked, files.at(path));
    file.headers.add("X-Repo-Commit", kCommit);
    file.headers.add("ETag", "W/\"" + etag(path) + "\"");
    return file;
  }

  WebAnswer answer_cdn(const Asked& asked) const {
    return ranged(asked, files.at(asked.target.substr(1, asked.target.find('?') - 1)));
  }

  std::mutex mutex_;
  std::vector<Asked> hub_asked_;
  std::vector<Asked> cdn_asked_;

 public:
  WebServer cdn_server;
  WebServer hub_server;
};

inline std::string random_bytes(std::minstd_rand& random, size_t count) {
  std::string out(count, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

}  // namespace millrace::test
