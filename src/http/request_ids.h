// Names of requests: what a client chose for x-request-id, or one made here.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::http {

// Ids that no other process is likely to give. Any thread.
class RequestIds {
 public:
  RequestIds();

  // `sent` where it is 1 to 128 visible ASCII characters, else a new one of 16 hexadecimal digits.
  std::string choose(std::string_view sent);

 private:
  uint64_t seed_;
  std::atomic<uint64_t> count_{0};
};

}  // namespace millrace::http
