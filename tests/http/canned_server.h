// A peer that answers with fixed bytes, right or wrong.
#pragma once

#include <thread>
#include <utility>
#include <vector>

#include "http/raw_socket.h"

namespace millrace::http {

// Listens once and answers each connection in turn with fixed bytes, whatever is asked.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    CHECK(::bind(fd_, generic, length) == 0 && ::listen(fd_, 8) == 0);
    CHECK(::getsockname(fd_, generic, &length) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answers = std::move(answers)] {
      for (const std::string& answer : answers) {
        const int peer = ::accept(fd_, nullptr, nullptr);
        char buffer[4096];
        if (::recv(peer, buffer, sizeof(buffer), 0) > 0) {
          ::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
        }
        ::close(peer);
      }
    });
  }
  ~CannedServer() {
    thread_.join();
    ::close(fd_);
  }

  uint16_t port() const { return port_; }

 private:
  int fd_;
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace millrace::http
