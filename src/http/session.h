// One connection: reads requests, waits for answers, watches for the client's leaving.
// Internal to src/http: includes Asio.
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
#include "http/server.h"

namespace millrace::http {

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
  std::atomic<size_t> body_bytes{0};  // held by all sessions
  std::atomic<bool> draining{false};
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::condition_variable empty;  // signalled when `sessions` becomes empty
  std::unordered_set<std::shared_ptr<Session>> sessions;
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

  void wake();                                // any thread: look again at draining and stopping
  void expire_if_due(Clock::time_point now);  // any thread: cut what waits past its deadline

 private:
  enum class Next { kRequest, kRefuse, kClose };

  Task<void> run(bool refused);
  Task<Next> read_request();
  Task<bool> serve();      // hands the parsed request out; true when the connection goes on
  Task<void> read_some();  // sets peer_closed_ or broken_ where the peer has gone
  Task<void> wait_for_answer(std::weak_ptr<Exchange> exchange);
  Task<bool> write(std::string_view head, std::string_view body);
  Task<void> refuse();  // sends refusal_ to a request that never reaches the handler, and closes
  Task<void> linger();
  void refuse_to_read(int status, std::string_view message);  // sets refusal_
  void refuse_to_read(Response response);
  bool hold_body_bytes(size_t count);  // false: there is no room for them

  void set_deadline(Clock::duration from_now);
  void clear_deadline();
  void make_room();
  void take_answer(std::optional<Response> response);  // any thread
  void interrupt();                                    // on the strand: ends the wait in progress
  bool must_close() const;                             // stopping, or draining between two requests

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
  bool answered_ = false;
  std::optional<Response> answer_;  // with answered_: nothing when it was dropped
};

}  // namespace millrace::http
