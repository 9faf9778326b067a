// One connection: reads requests, waits for answers, watches for the client's leaving.
// Internal to src/http: includes Asio. session_stream.cpp holds the members of streamed answers.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "http/exchange.h"
#include "http/parser.h"
#include "http/request_ids.h"
#include "http/response_head.h"
#include "http/server.h"
#include "http/stream_buffer.h"

namespace millrace::http {

// Read ahead while a request is in work.
inline constexpr size_t kMaxPipelinedBytes = 64 * 1024;

namespace asio = boost::asio;

using Clock = std::chrono::steady_clock;
using Strand = asio::strand<asio::io_context::executor_type>;
using Socket = asio::basic_stream_socket<asio::ip::tcp, Strand>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Strand>;
template <typename T>
using Task = asio::awaitable<T, Strand>;
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Strand>> kAwait{
    asio::use_awaitable_t<Strand>{}};

class Session;

// What the server and its sessions share. Sessions may outlive the Server by a moment: an answer
// may come from another thread while the server goes.
struct Core {
  ServerOptions options;
  Handler handler;
  RequestIds ids;
  // Held by all sessions and streams; on its own, because streams may outlive the rest.
  std::shared_ptr<std::atomic<size_t>> body_bytes = std::make_shared<std::atomic<size_t>>(0);
  std::atomic<bool> draining{false};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable empty;  // signalled when `sessions` becomes empty
  std::unordered_set<std::shared_ptr<Session>> sessions;
  std::mutex ready_mutex;
  std::vector<std::weak_ptr<Session>> ready;  // whose streams were written to
  asio::io_context io;
};

Response error_response(const Core& core, int status, std::string_view message,
                        const Request& request);

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Core> core, Socket socket);
  ~Session() { hold_body_bytes(0); }

  // Registers the session and runs it until the connection ends. A `refused` one is told 503.
  void start(bool refused);

  void post_flush();                          // any thread: send what was written to the stream
  void wake();                                // any thread: look again at draining and stopping
  void expire_if_due(Clock::time_point now);  // any thread: cut what waits past its deadline

 private:
  enum class Next { kRequest, kRefuse, kClose };

  // A streamed answer on its way.
  struct Stream {
    std::shared_ptr<StreamBuffer> buffer;
    StreamOptions options;
    BodyFraming framing = BodyFraming::kChunked;
    std::string out;        // framed; the head first
    size_t sent = 0;        // of `out`
    size_t num_bytes = 0;   // sent in all
    bool waiting = false;   // until the socket takes more
    bool stalled = false;   // the deadline of that wait runs
    bool ended = false;     // nothing comes behind `out`
    bool complete = false;  // and the body is whole
    bool done = false;      // all of it was sent
    bool cut_off = false;
  };

  Task<void> run(bool refused);
  Task<Next> read_request();
  Task<bool> serve();      // hands the parsed request out; true when the connection goes on
  Task<void> read_some();  // sets peer_closed_ or broken_ where the peer has gone
  Task<void> wait_for_answer(std::weak_ptr<Exchange> exchange);
  Task<bool> write(std::string_view head, std::string_view body);
  Task<bool> send_answer(const Request& request, bool keep_alive, AccessRecord& record);
  Task<bool> send_stream(const Request& request, std::weak_ptr<Exchange> exchange, bool keep_alive,
                         AccessRecord& record);
  Task<void> refuse();  // sends refusal_ to a request that never reaches the handler, and closes
  Task<void> linger();
  void refuse_to_read(int status, std::string_view message);  // sets refusal_
  void refuse_to_read(Response response);
  bool hold_body_bytes(size_t count);  // false: there is no room for them

  void set_deadline(Clock::duration from_now);
  void clear_deadline();
  void make_room();
  void take_answer(std::optional<Response> response);                               // any thread
  std::shared_ptr<StreamBuffer> open_stream(Response head, StreamOptions options);  // any thread
  void start_stream(Response head, std::shared_ptr<StreamBuffer> buffer, StreamOptions options);
  void signal_stream();  // any thread: there is something to flush
  void flush_stream();
  void fill_stream();
  void append_to_stream(std::string_view bytes);
  bool send_stream_bytes();  // true when all of Stream::out has left
  void wait_until_writable();
  void stream_deadline();
  void break_stream();
  void interrupt();         // on the strand: ends the wait in progress
  bool must_close() const;  // stopping, or draining between two requests

  std::shared_ptr<Core> core_;  // declared first: the socket needs its io_context to the end
  Strand strand_;
  Socket socket_;
  Timer pause_;  // never expires; cancelled to wake a wait that has no read to cancel
  std::string remote_;
  RequestParser parser_;
  std::vector<char> buffer_;  // [begin_, end_) is read and not yet parsed
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t num_requests_ = 0;
  size_t held_body_bytes_ = 0;        // our part of Core::body_bytes
  Request refused_;                   // the head of the request that refusal_ answers
  std::optional<Response> refusal_;   // set when read_request() says kRefuse
  std::atomic<Clock::rep> deadline_;  // since the clock's epoch
  bool timed_out_ = false;
  bool peer_closed_ = false;  // it has sent its FIN
  bool broken_ = false;       // reset, or failed otherwise: nobody will read an answer
  bool over_ = false;         // the connection is closed
  bool answered_ = false;
  std::optional<Response> answer_;  // with answered_: nothing when it was dropped
  std::optional<Stream> stream_;    // with answer_ as its head
};

}  // namespace millrace::http
