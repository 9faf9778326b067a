// Binding, accepting, the sweep over deadlines, and the two ways to stop.
#include "http/server.h"

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "http/session.h"

namespace millrace::http {

namespace {

using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Strand>;

// Beyond max_connections this many more are told 503; what comes beyond those is closed unheard.
constexpr size_t kMaxRefusedConnections = 64;
constexpr auto kSweepInterval = std::chrono::milliseconds(100);
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);  // when out of file descriptors

[[noreturn]] void throw_bind_error(const ServerOptions& options,
                                   const boost::system::error_code& ec) {
  std::string hint = "check --host and --port";
  if (ec == asio::error::address_in_use) {
    hint = "another program listens there: stop it or choose another --port";
  } else if (ec == asio::error::access_denied) {
    hint = "ports below 1024 need privileges: choose a --port of 1024 or above";
  } else if (ec == boost::system::errc::address_not_available) {
    hint = "this machine has no such address: use 127.0.0.1 or 0.0.0.0";
  }
  throw Error(ErrorCode::kIo,
              fmt::format("cannot listen on {}:{}: {}", options.host, options.port, ec.message()),
              hint);
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, Handler handler);
  ~Impl() { stop_now(); }

  void start();
  void stop_accepting();
  bool drain(std::chrono::milliseconds deadline);
  void stop_now();

  std::shared_ptr<Core> core_;
  asio::ip::tcp::endpoint endpoint_;

 private:
  void bind();
  void open_session(Socket socket);
  void wake_all();
  Task<void> accept_all();
  Task<void> sweep();

  Strand strand_;  // of the acceptor and the sweep
  Acceptor acceptor_;
  Timer sweep_timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::vector<std::thread> workers_;
  std::mutex stop_mutex_;
  bool started_ = false;
};

Server::Impl::Impl(ServerOptions options, Handler handler)
    : core_(std::make_shared<Core>()),
      strand_(asio::make_strand(core_->io)),
      acceptor_(strand_),
      sweep_timer_(strand_),
      work_(asio::make_work_guard(core_->io)) {
  core_->options = std::move(options);
  core_->handler = std::move(handler);
  CHECK(core_->handler != nullptr);
  CHECK(core_->options.num_threads > 0);
  bind();
}

void Server::Impl::bind() {
  const ServerOptions& options = core_->options;
  boost::system::error_code ec;
  asio::ip::tcp::resolver resolver(core_->io);
  const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                      asio::ip::resolver_base::passive, ec);
  if (ec || found.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("cannot listen on \"{}\": {}", options.host,
                            ec ? ec.message() : "the name has no address"),
                "--host takes an address of this machine such as 127.0.0.1, or 0.0.0.0 for all");
  }
  const asio::ip::tcp::endpoint wanted = found.begin()->endpoint();
  acceptor_.open(wanted.protocol(), ec);
  if (!ec) acceptor_.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) acceptor_.bind(wanted, ec);
  if (!ec) endpoint_ = acceptor_.local_endpoint(ec);
  if (ec) throw_bind_error(options, ec);
}

void Server::Impl::start() {
  CHECK(!started_);
  boost::system::error_code ec;
  acceptor_.listen(core_->options.backlog, ec);
  if (ec) throw_bind_error(core_->options, ec);
  started_ = true;
  asio::co_spawn(strand_, accept_all(), asio::detached);
  asio::co_spawn(strand_, sweep(), asio::detached);
  for (int i = 0; i < core_->options.num_threads; ++i) {
    workers_.emplace_back([core = core_] {
      name_thread("http");
      core->io.run();
    });
  }
}

Task<void> Server::Impl::accept_all() {
  while (acceptor_.is_open()) {
    Socket socket(asio::make_strand(core_->io));
    const auto [ec] = co_await acceptor_.async_accept(socket, kAwait);
    if (!ec) {
      open_session(std::move(socket));
    } else if (acceptor_.is_open() && ec != asio::error::connection_aborted) {
      log::warn("http: cannot accept a connection: {}", ec.message());
      Timer pause(strand_, kAcceptRetry);
      co_await pause.async_wait(kAwait);
    }
  }
}

void Server::Impl::open_session(Socket socket) {
  size_t num_open = 0;
  {
    std::lock_guard lock(core_->mutex);
    num_open = core_->sessions.size();
  }
  const size_t limit = core_->options.max_connections;
  if (num_open >= limit + kMaxRefusedConnections) return;
  std::make_shared<Session>(core_, std::move(socket))->start(num_open >= limit);
}

// One walk over all connections a few times a second, instead of a timer for each.
Task<void> Server::Impl::sweep() {
  while (!core_->stopping) {
    sweep_timer_.expires_after(kSweepInterval);
    co_await sweep_timer_.async_wait(kAwait);
    const auto now = Clock::now();
    std::lock_guard lock(core_->mutex);
    for (const auto& session : core_->sessions) session->expire_if_due(now);
  }
}

void Server::Impl::wake_all() {
  std::lock_guard lock(core_->mutex);
  for (const auto& session : core_->sessions) session->wake();
}

void Server::Impl::stop_accepting() {
  std::packaged_task<void()> close([this] {
    boost::system::error_code ec;
    acceptor_.close(ec);
  });
  auto closed = close.get_future();
  if (workers_.empty()) {
    close();
  } else {
    asio::post(strand_, std::move(close));
  }
  closed.wait();
}

bool Server::Impl::drain(std::chrono::milliseconds deadline) {
  stop_accepting();
  core_->draining = true;
  wake_all();
  bool all_answered = false;
  {
    std::unique_lock lock(core_->mutex);
    all_answered = core_->empty.wait_for(lock, deadline, [&] { return core_->sessions.empty(); });
  }
  stop_now();
  return all_answered;
}

void Server::Impl::stop_now() {
  std::lock_guard only_once(stop_mutex_);
  if (core_->stopping) return;
  stop_accepting();
  core_->stopping = true;
  wake_all();
  {
    std::unique_lock lock(core_->mutex);
    core_->empty.wait(lock, [&] { return core_->sessions.empty(); });
  }
  asio::post(strand_, [this] { sweep_timer_.cancel(); });
  work_.reset();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

Server::Server(ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {}

Server::~Server() = default;

void Server::start() {
  impl_->start();
}

uint16_t Server::port() const {
  return impl_->endpoint_.port();
}

std::string Server::address() const {
  const auto address = impl_->endpoint_.address();
  const std::string host = address.to_string();
  return fmt::format("http://{}:{}", address.is_v6() ? "[" + host + "]" : host, port());
}

size_t Server::num_connections() const {
  std::lock_guard lock(impl_->core_->mutex);
  return impl_->core_->sessions.size();
}

void Server::post(std::function<void()> work) {
  asio::post(impl_->core_->io, [moved = std::move(work)] {
    try {
      moved();
    } catch (const std::exception& e) {
      log::error("http: posted work failed: {}", e.what());
    }
  });
}

void Server::stop_accepting() {
  impl_->stop_accepting();
}

bool Server::drain(std::chrono::milliseconds deadline) {
  return impl_->drain(deadline);
}

void Server::stop_now() {
  impl_->stop_now();
}

}  // namespace millrace::http
