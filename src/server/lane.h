// Lane: one thread for the requests that take long to read, so that the others never wait for them.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace millrace {

class Lane {
 public:
  Lane() : thread_([this] { loop(); }) {}
  ~Lane();  // ends after the work in hand; what waits is dropped
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void post(std::function<void()> work);  // any thread; must not throw

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_, as the next
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace
