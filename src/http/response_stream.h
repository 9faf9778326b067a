// The body of an answer that is written piece by piece while it is being sent.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace millrace::http {

class Exchange;
class StreamBuffer;

struct StreamOptions {
  // Sent when nothing was written for so long, so that nobody on the way takes the connection for
  // dead. Zero: never.
  std::chrono::milliseconds keepalive_interval{0};
  std::string keepalive;
};

// From Exchange::start_stream(). All members may be called from any thread. What is written while
// earlier bytes are on their way goes out together, so many small writes cost few system calls.
// Destroyed without end(), it closes the connection without the body's last chunk, which is how a
// client can tell that something is missing.
class ResponseStream {
 public:
  ResponseStream(std::shared_ptr<Exchange> exchange, std::shared_ptr<StreamBuffer> buffer);
  ~ResponseStream();
  ResponseStream(const ResponseStream&) = delete;
  ResponseStream& operator=(const ResponseStream&) = delete;

  // Takes `bytes` and returns at once. False once the client has gone, or was cut off because it
  // did not read (ServerOptions::max_stream_bytes), and after end(): then they are dropped.
  bool write(std::string bytes);

  void end();  // the body is complete; idempotent

  size_t pending_bytes() const;  // written and not yet taken by the system
  bool closed() const;           // write() would return false

 private:
  std::shared_ptr<Exchange> exchange_;
  std::shared_ptr<StreamBuffer> buffer_;
};

}  // namespace millrace::http
