// A state per place in the grammar; what does not fit its place is malformed.
#include "http/chunks.h"

#include <algorithm>
#include <limits>

namespace millrace::http {

namespace {

constexpr size_t kFramingBytesPerBodyByte = 16;  // "1\r\nx\r\n" has 5

bool is_control(unsigned char c) {
  return (c < 0x20 && c != '\t') || c == 0x7f;
}

int hex_value(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_token_char(unsigned char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != 0 &&
         std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
}

std::optional<ChunkDecoder::Failure> ChunkDecoder::end_size_line(size_t body_size) {
  if (size_ == 0) {
    state_ = State::kTrailerStart;
    return std::nullopt;
  }
  if (size_ > max_body_bytes_ - std::min(body_size, max_body_bytes_)) return Failure::kTooLarge;
  state_ = State::kData;
  return std::nullopt;
}

std::optional<ChunkDecoder::Failure> ChunkDecoder::step(unsigned char c, size_t body_size) {
  const auto expect = [&](char wanted, State next) -> std::optional<Failure> {
    if (c != static_cast<unsigned char>(wanted)) return Failure::kMalformed;
    state_ = next;
    return std::nullopt;
  };
  switch (state_) {
    case State::kSizeStart:
      if (hex_value(c) < 0) return Failure::kMalformed;
      size_ = static_cast<uint64_t>(hex_value(c));
      state_ = State::kSize;
      return std::nullopt;
    case State::kSize:
      if (const int digit = hex_value(c); digit >= 0) {
        if (size_ > std::numeric_limits<uint64_t>::max() / 16) return Failure::kMalformed;
        size_ = size_ * 16 + static_cast<uint64_t>(digit);
        return std::nullopt;
      }
      if (c == ';') {
        state_ = State::kExtension;
        return std::nullopt;
      }
      return expect('\r', State::kSizeEnd);
    case State::kExtension:
      if (is_control(c)) return expect('\r', State::kSizeEnd);
      return std::nullopt;
    case State::kSizeEnd:
      if (c != '\n') return Failure::kMalformed;
      return end_size_line(body_size);
    case State::kDataCr: return expect('\r', State::kDataLf);
    case State::kDataLf: return expect('\n', State::kSizeStart);
    case State::kTrailerStart:
      if (c == '\r') return expect('\r', State::kLastLf);
      if (!is_token_char(c)) return Failure::kMalformed;
      state_ = State::kTrailerName;
      return std::nullopt;
    case State::kTrailerName:
      if (is_token_char(c)) return std::nullopt;
      return expect(':', State::kTrailerValue);
    case State::kTrailerValue:
      if (is_control(c)) return expect('\r', State::kTrailerEnd);
      return std::nullopt;
    case State::kTrailerEnd: return expect('\n', State::kTrailerStart);
    case State::kLastLf: return expect('\n', State::kDone);
    case State::kData:
    case State::kDone: break;
  }
  return Failure::kMalformed;
}

size_t ChunkDecoder::feed(std::string_view bytes, std::string& body) {
  size_t used = 0;
  while (used < bytes.size() && !done() && !failure_) {
    if (state_ == State::kData) {
      const size_t count = std::min<uint64_t>(size_, bytes.size() - used);
      body.append(bytes.substr(used, count));
      used += count;
      size_ -= count;
      if (size_ == 0) state_ = State::kDataCr;
      continue;
    }
    failure_ = step(static_cast<unsigned char>(bytes[used]), body.size());
    ++used;
    ++framing_bytes_;
    if (framing_bytes_ > max_framing_bytes_ + kFramingBytesPerBodyByte * body.size()) {
      failure_ = Failure::kTooMuchFraming;
    }
  }
  return used;
}

}  // namespace millrace::http
