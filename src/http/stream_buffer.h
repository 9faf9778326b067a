// What lies between the thread that writes a streamed body and the connection that sends it.
// Internal to src/http.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace millrace::http {

struct StreamLimits {
  size_t max_bytes = 0;  // of this stream
  size_t max_total = 0;  // of all bodies together
  std::shared_ptr<std::atomic<size_t>> total;
};

// Any thread, except where a member says otherwise.
class StreamBuffer {
 public:
  enum class State {
    kOpen,
    kComplete,   // the writer ended it
    kAbandoned,  // the writer dropped it
    kCutOff,     // the client did not read
    kClosed,     // the client has gone
  };

  // `wake` tells the connection that there is something to take; called once until it took.
  StreamBuffer(StreamLimits limits, std::function<void()> wake);
  ~StreamBuffer() { close(); }
  StreamBuffer(const StreamBuffer&) = delete;
  StreamBuffer& operator=(const StreamBuffer&) = delete;

  // For the writer. False when the stream is not open (any more).
  bool append(std::string bytes);
  void finish(State state);  // counts only while the stream is open

  // For the connection: all that was written since the last call, and how things stand behind it.
  struct Taken {
    std::string bytes;
    State state = State::kOpen;
  };
  Taken take();
  void sent(size_t count);  // of what was taken, or more: framing may be counted as well
  void close();             // nobody will take anything again

  State state() const;
  size_t pending_bytes() const;

 private:
  void release(size_t count);

  const StreamLimits limits_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  State state_ = State::kOpen;
  std::string queue_;
  size_t in_flight_ = 0;  // bytes that were taken and not yet sent
  bool signalled_ = false;
};

}  // namespace millrace::http
