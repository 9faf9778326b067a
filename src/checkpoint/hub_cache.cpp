// Paths, links, refs and locks of the hub cache.
#include "checkpoint/hub_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/hub_files.h"

namespace millrace {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxListingBytes = 256 * 1024 * 1024;
constexpr std::string_view kMoveCache =
    "check its permissions, or move the cache with HF_HUB_CACHE";

// "org/name" as "models--org--name".
std::string folder_name(std::string_view repo) {
  std::string out = "models--";
  for (char c : repo) {
    if (c == '/') {
      out += "--";
    } else {
      out += c;
    }
  }
  return out;
}

// A name beside `file` that no other process or thread uses.
fs::path temporary_name(const fs::path& file) {
  std::string pattern = file.string() + ".XXXXXX";
  const int fd = ::mkstemp(pattern.data());
  if (fd < 0) {
    throw Error(ErrorCode::kIo, fmt::format("cannot create {}: {}", pattern, std::strerror(errno)),
                std::string(kMoveCache));
  }
  ::fchmod(fd, 0644);
  ::close(fd);
  return pattern;
}

void rename_into(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  const int error = errno;
  ::unlink(from.c_str());
  throw Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", to.string(), std::strerror(error)),
              std::string(kMoveCache));
}

// The names of `{"files": ...}`, a list (ours) or a mapping (Hugging Face's tree cache).
std::optional<std::vector<std::string>> read_names(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  std::vector<std::string> names;
  try {
    const json::value parsed = json::parse(read_file(file.string(), kMaxListingBytes),
                                           file.string(), {.max_bytes = kMaxListingBytes});
    const json::Reader reader(json::as_object(parsed, file.string()), file.string());
    const json::value* files = reader.find("files");
    if (files && files->is_object()) {
      for (const auto& member : files->get_object()) names.emplace_back(member.key());
    } else {
      names = reader.strings("files");
    }
    for (const std::string& name : names) check_hub_path(name, file.string());
  } catch (const Error&) {
    return std::nullopt;  // a note that cannot be read is as good as none
  }
  if (names.empty()) return std::nullopt;
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

HubCache::HubCache(fs::path root, std::string_view repo)
    : root_(std::move(root)), name_(folder_name(repo)) {}

fs::path HubCache::snapshot(std::string_view commit) const {
  return root_ / name_ / "snapshots" / commit;
}

fs::path HubCache::blob(std::string_view etag) const {
  return root_ / name_ / "blobs" / etag;
}

fs::path HubCache::incomplete(std::string_view etag) const {
  return root_ / name_ / "blobs" / fmt::format("{}.incomplete", etag);
}

fs::path HubCache::lock_file(std::string_view etag) const {
  return root_ / ".locks" / name_ / fmt::format("{}.lock", etag);
}

std::optional<std::string> HubCache::read_ref(std::string_view revision) const {
  constexpr size_t kMaxBytes = 256;
  const fs::path file = root_ / name_ / "refs" / revision;
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  std::string commit = read_file(file.string(), kMaxBytes);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  if (!is_commit(commit)) return std::nullopt;
  return commit;
}

void HubCache::write_ref(std::string_view revision, std::string_view commit) const {
  if (read_ref(revision) == commit) return;
  write_atomically(root_ / name_ / "refs" / revision, commit);
}

std::optional<std::vector<std::string>> HubCache::read_listing(std::string_view commit) const {
  const std::string file = fmt::format("{}.json", commit);
  auto names = read_names(root_ / name_ / "millrace" / file);
  return names ? names : read_names(root_ / name_ / "trees" / file);
}

void HubCache::write_listing(std::string_view commit, const std::vector<std::string>& files) const {
  const fs::path file = root_ / name_ / "millrace" / fmt::format("{}.json", commit);
  if (read_names(file)) return;  // a commit never changes
  const json::object listing{{"files", json::array(files.begin(), files.end())}};
  write_atomically(file, json::to_text(listing));
}

std::vector<std::string> HubCache::find_files(std::string_view commit) const {
  std::vector<std::string> out;
  const fs::path folder = snapshot(commit);
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_regular_file(error)) {
      out.push_back(entry->path().lexically_relative(folder).generic_string());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool HubCache::has(std::string_view commit, const std::string& path) const {
  std::error_code error;
  return fs::is_regular_file(snapshot(commit) / path, error);
}

void HubCache::link(std::string_view commit, const std::string& path, std::string_view etag) const {
  const fs::path file = snapshot(commit) / path;
  create_folders(file.parent_path());
  const fs::path target = blob(etag).lexically_relative(file.parent_path());
  std::error_code error;
  if (fs::read_symlink(file, error) == target) return;
  const fs::path temporary = temporary_name(file);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0) {
    throw Error(ErrorCode::kIo,
                fmt::format("cannot make the link {}: {}", file.string(), std::strerror(errno)),
                "the hub cache needs a file system with symbolic links: choose one with "
                "HF_HUB_CACHE");
  }
  rename_into(temporary, file);
}

void HubCache::write_atomically(const fs::path& file, std::string_view text) const {
  create_folders(file.parent_path());
  const fs::path temporary = temporary_name(file);
  write_file(temporary.string(), text);
  rename_into(temporary, file);
}

void create_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) return;
  throw Error(ErrorCode::kIo, fmt::format("cannot create {}: {}", folder.string(), error.message()),
              std::string(kMoveCache));
}

FileLock::FileLock(const fs::path& file, const std::function<void()>& waiting) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  create_folders(file.parent_path());
  for (int round = 0;;) {
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664);
    if (fd_ < 0) {
      throw Error(ErrorCode::kIo,
                  fmt::format("cannot open {}: {}", file.string(), std::strerror(errno)),
                  std::string(kMoveCache));
    }
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        const int error = errno;
        ::close(fd_);
        throw Error(ErrorCode::kIo,
                    fmt::format("cannot lock {}: {}", file.string(), std::strerror(error)),
                    "the hub cache needs a file system with file locks: choose one with "
                    "HF_HUB_CACHE");
      }
      if (round++ % 10 == 0) waiting();
      std::this_thread::sleep_for(kPause);
    }
    // Who held it may have removed the file, and then a third process locks a new one.
    struct stat mine {};
    struct stat current {};
    if (::fstat(fd_, &mine) == 0 && ::stat(file.c_str(), &current) == 0 &&
        mine.st_ino == current.st_ino && mine.st_dev == current.st_dev) {
      return;
    }
    ::close(fd_);
  }
}

FileLock::~FileLock() {
  ::close(fd_);
}

}  // namespace millrace
