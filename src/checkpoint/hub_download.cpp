// Pieces that arrive in any order, appended in order and hashed on the way.
#include "checkpoint/hub_download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"

namespace millrace {

namespace fs = std::filesystem;

// The first bytes of a blob, on disk and in the digest.
class BlobFile {
 public:
  BlobFile(fs::path path, const HubFile& file, std::string name)
      : path_(std::move(path)),
        file_(file),
        name_(std::move(name)),
        digest_(file.etag.size() == 64 ? Digest::Algorithm::kSha256 : Digest::Algorithm::kSha1) {
    // git's object: a header before the content.
    if (file.etag.size() == 40) {
      digest_.update(fmt::format("blob {}", file.size));
      digest_.update(std::string_view("\0", 1));
    }
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) fail("cannot open");
    take_what_is_there();
  }
  ~BlobFile() { ::close(fd_); }
  BlobFile(const BlobFile&) = delete;
  BlobFile& operator=(const BlobFile&) = delete;

  uint64_t size() const { return size_; }

  void append(std::string_view bytes) {
    digest_.update(bytes);
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot write");
      bytes.remove_prefix(static_cast<size_t>(written));
      size_ += static_cast<uint64_t>(written);
    }
  }

  // Checks the whole against the hub's hash and gives it its name.
  void finish(const fs::path& blob) {
    const std::string found = digest_.hex_digest();
    if (found != file_.etag) {
      ::unlink(path_.c_str());
      throw Error(
          ErrorCode::kCorrupt,
          fmt::format("{} arrived damaged and was deleted: its {} is {}, the hub says {}", name_,
                      file_.etag.size() == 64 ? "SHA-256" : "git SHA-1", found, file_.etag),
          "run the command again; if it happens again, look at the proxy and the disk");
    }
    if (::fsync(fd_) != 0) fail("cannot flush");
    if (::rename(path_.c_str(), blob.c_str()) != 0) fail("cannot rename");
  }

 private:
  // Hashes the beginning that an earlier run left.
  void take_what_is_there() {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail("cannot look at");
    const auto there = static_cast<uint64_t>(status.st_size);
    if (there > file_.size) {
      ::unlink(path_.c_str());
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{} is longer than the {} bytes of {}, and was deleted",
                              path_.string(), file_.size, name_),
                  "run the command again");
    }
    std::vector<char> buffer(1 << 20);
    while (size_ < there) {
      const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail("cannot read");
      digest_.update(std::string_view(buffer.data(), static_cast<size_t>(got)));
      size_ += static_cast<uint64_t>(got);
    }
  }

  [[noreturn]] void fail(std::string_view doing) const {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT) {
      std::error_code ignored;
      const auto space = fs::space(path_.parent_path(), ignored);
      const uint64_t free = ignored ? 0 : space.available;
      throw Error(ErrorCode::kIo,
                  fmt::format("the disk is full: {} needs {} more in {}, and {} are free", name_,
                              readable_bytes(file_.size - size_), path_.parent_path().string(),
                              readable_bytes(free)),
                  "free some space, or move the cache to another disk with HF_HUB_CACHE, and run "
                  "the command again: what was fetched is kept");
    }
    throw Error(ErrorCode::kIo, fmt::format("{} {}: {}", doing, path_.string(), strerror(error)),
                "check the permissions of the hub cache, or move it with HF_HUB_CACHE");
  }

  fs::path path_;
  const HubFile& file_;
  std::string name_;
  Digest digest_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

namespace {

// Hands out pieces of [begin, end) and appends them in order. A piece far ahead of the first that
// is missing is not handed out, so at most `window` pieces are in memory.
class PieceQueue {
 public:
  PieceQueue(BlobFile& blob, uint64_t end, uint64_t piece_bytes, size_t window,
             const HubDownloader::Progress& progress)
      : blob_(blob),
        begin_(blob.size()),
        end_(end),
        piece_bytes_(piece_bytes),
        window_(window),
        progress_(progress) {}

  size_t count() const {
    return static_cast<size_t>((end_ - begin_ + piece_bytes_ - 1) / piece_bytes_);
  }

  // Waits while the window is full; nothing when there is no more, or close() was called.
  std::optional<ByteRange> take(size_t& index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || next_ == count() || next_ < appended_ + window_; });
    if (closed_ || next_ == count()) return std::nullopt;
    index = next_++;
    const uint64_t begin = begin_ + index * piece_bytes_;
    return ByteRange{.begin = begin, .end = std::min(end_, begin + piece_bytes_)};
  }

  // Bytes that have just arrived, for the progress.
  void arrived(size_t bytes) {
    std::lock_guard lock(mutex_);
    arrived_ += bytes;
    progress_(begin_ + arrived_);
  }

  void put(size_t index, std::string bytes) {
    std::lock_guard lock(mutex_);
    waiting_.emplace(index, std::move(bytes));
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == appended_;
         first = waiting_.erase(first)) {
      blob_.append(first->second);
      ++appended_;
    }
    changed_.notify_all();
  }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  BlobFile& blob_;
  const uint64_t begin_;
  const uint64_t end_;
  const uint64_t piece_bytes_;
  const size_t window_;
  const HubDownloader::Progress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<size_t, std::string> waiting_;
  size_t next_ = 0;      // to be handed out
  size_t appended_ = 0;  // pieces
  uint64_t arrived_ = 0;
  bool closed_ = false;
};

// A signed address that has expired answers with one of these.
bool may_have_expired(const WebReply& reply) {
  return reply.failure == WebFailure::kNone &&
         (reply.status == 400 || reply.status == 401 || reply.status == 403 || reply.status == 410);
}

}  // namespace

std::string readable_bytes(uint64_t bytes) {
  constexpr std::array kUnits = {" B", " KiB", " MiB", " GiB", " TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.{}f}{}", value, unit == 0 ? 0 : 1, kUnits[unit]);
}

HubDownloader::HubDownloader(const HubSettings& settings, const HubApi& api, const HubCache& cache)
    : settings_(settings), api_(api), cache_(cache) {
  CHECK(settings.num_connections > 0 && settings.piece_bytes > 0);
  for (int i = 0; i < settings.num_connections; ++i)
    connections_.push_back(std::make_unique<HubConnection>(settings_, &stopped_));
}

void HubDownloader::on_connections(size_t count, const std::function<void(HubConnection&)>& work) {
  count = std::clamp<size_t>(count, 1, connections_.size());
  std::mutex mutex;
  std::exception_ptr first;
  const auto run = [&](HubConnection& connection) {
    try {
      work(connection);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
      stopped_ = true;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < count; ++i) threads.emplace_back(run, std::ref(*connections_[i]));
  run(*connections_.front());
  for (std::thread& thread : threads) thread.join();
  stopped_ = false;
  if (first) std::rethrow_exception(first);
}

std::vector<HubFile> HubDownloader::find_files(const std::string& commit,
                                               const std::vector<std::string>& paths) {
  std::vector<HubFile> out(paths.size());
  std::atomic<size_t> next{0};
  on_connections(paths.size(), [&](HubConnection& connection) {
    for (size_t i; (i = next++) < paths.size();)
      out[i] = api_.find_file(connection, commit, paths[i]);
  });
  return out;
}

uint64_t HubDownloader::missing_bytes(const HubFile& file) const {
  std::error_code error;
  if (fs::exists(cache_.blob(file.etag), error)) return 0;
  const uint64_t there = fs::file_size(cache_.incomplete(file.etag), error);
  return error || there > file.size ? file.size : file.size - there;
}

void HubDownloader::download(const std::string& commit, const HubFile& file,
                             const Progress& progress) {
  create_folders(cache_.blob(file.etag).parent_path());
  const FileLock lock(cache_.lock_file(file.etag), [&, told = false]() mutable {
    if (!std::exchange(told, true))
      log::info("another process is fetching {}; waiting for it", api_.name_of(file.path));
  });
  const fs::path blob = cache_.blob(file.etag);
  std::error_code error;
  if (fs::exists(blob, error)) {
    if (fs::file_size(blob, error) == file.size && !error) return progress(file.size);
    log::warn("{} has not the size of {}; it is fetched again", blob.string(),
              api_.name_of(file.path));
    ::unlink(blob.c_str());
  }
  BlobFile incomplete(cache_.incomplete(file.etag), file, api_.name_of(file.path));
  progress(incomplete.size());
  if (incomplete.size() < file.size) fetch_pieces(commit, file, incomplete, progress);
  incomplete.finish(blob);
}

void HubDownloader::fetch_pieces(const std::string& commit, const HubFile& file, BlobFile& blob,
                                 const Progress& progress) {
  PieceQueue queue(blob, file.size, settings_.piece_bytes, 2 * connections_.size(), progress);
  on_connections(queue.count(), [&](HubConnection& connection) {
    std::string url = file.url;
    try {
      size_t index = 0;
      while (const auto range = queue.take(index)) {
        std::string bytes;
        bytes.reserve(static_cast<size_t>(range->end - range->begin));
        const auto read = [&] {
          const uint64_t begin = range->begin + bytes.size();
          return connection.read(url, {.begin = begin, .end = range->end}, file.size,
                                 [&](std::string_view part) {
                                   bytes += part;
                                   queue.arrived(part.size());
                                 });
        };
        WebReply reply = read();
        if (may_have_expired(reply) && !same_origin(url, settings_.endpoint)) {
          url = api_.find_file(connection, commit, file.path).url;
          reply = read();
        }
        if (reply.failure != WebFailure::kNone || reply.status / 100 != 2)
          connection.fail(reply, url, api_.name_of(file.path));
        queue.put(index, std::move(bytes));
      }
    } catch (...) {
      queue.close();
      throw;
    }
  });
}

}  // namespace millrace
