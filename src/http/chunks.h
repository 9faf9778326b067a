// The chunked transfer coding (RFC 9112 §7.1), read byte by byte without looking back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::http {

// Extensions and trailers are checked for form and dropped. Requires: one body per decoder.
class ChunkDecoder {
 public:
  enum class Failure { kMalformed, kTooLarge, kTooMuchFraming };

  // `max_framing_bytes`: chunk lines and trailers, beyond 16 bytes for each byte of the body.
  ChunkDecoder(size_t max_body_bytes, size_t max_framing_bytes)
      : max_body_bytes_(max_body_bytes), max_framing_bytes_(max_framing_bytes) {}

  // Appends what `bytes` carries to `body`; returns how many were used: all, unless the body ended
  // or failed.
  size_t feed(std::string_view bytes, std::string& body);

  bool done() const { return state_ == State::kDone; }
  std::optional<Failure> failure() const { return failure_; }

 private:
  enum class State {
    kSizeStart,
    kSize,
    kExtension,
    kSizeEnd,  // the LF behind a chunk's size
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailerName,
    kTrailerValue,
    kTrailerEnd,  // the LF behind a trailer
    kLastLf,
    kDone,
  };

  std::optional<Failure> step(unsigned char c, size_t body_size);
  std::optional<Failure> end_size_line(size_t body_size);

  size_t max_body_bytes_;
  size_t max_framing_bytes_;
  State state_ = State::kSizeStart;
  uint64_t size_ = 0;  // of the chunk, while its line is read; then what is left of it
  size_t framing_bytes_ = 0;
  std::optional<Failure> failure_;
};

// The characters of methods and header names: RFC 9110 §5.6.2.
bool is_token_char(unsigned char c);

}  // namespace millrace::http
