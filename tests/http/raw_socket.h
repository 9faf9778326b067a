// A socket that says exactly what a test wants said, right or wrong.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace millrace::http {

class RawSocket {
 public:
  explicit RawSocket(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    CHECK(fd_ >= 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawSocket() { close(); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  bool connected() const { return connected_; }

  // False when the peer has gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }

  void half_close() { ::shutdown(fd_, SHUT_WR); }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  // Closes with a reset instead of a FIN.
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
  }

  // All bytes until the peer closes; "" after a reset. `closed()` tells whether it did in time.
  std::string read_to_end() {
    std::string out;
    closed_ = false;
    while (wait_readable()) {
      char buffer[4096];
      const ssize_t count = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (count <= 0) {
        closed_ = true;
        break;
      }
      out.append(buffer, static_cast<size_t>(count));
    }
    return out;
  }

  // Reads until `text` has come. What came behind it in the same read is returned as well.
  std::string read_until(std::string_view text) {
    std::string out;
    while (out.find(text) == std::string::npos && wait_readable()) {
      char buffer[4096];
      const ssize_t count = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      out.append(buffer, static_cast<size_t>(count));
    }
    return out;
  }

  bool closed() const { return closed_; }

 private:
  bool wait_readable() {
    pollfd waited{.fd = fd_, .events = POLLIN, .revents = 0};
    return ::poll(&waited, 1, 20'000) > 0;  // far beyond any timeout that the tests set
  }

  int fd_;
  bool connected_ = false;
  bool closed_ = false;
};

}  // namespace millrace::http
