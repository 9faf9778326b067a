// POSIX files with errors that name the path and the remedy.
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace millrace {

namespace {

[[noreturn]] void throw_errno(std::string_view doing, const std::string& path) {
  const int error = errno;
  const auto code = error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  std::string hint;
  if (error == ENOSPC) hint = "free some space on that disk and run the command again";
  if (error == EACCES || error == EPERM) hint = "check the permissions of the file and its folder";
  throw Error(code, fmt::format("{} {}: {}", doing, path, std::strerror(error)), hint);
}

// An open read-only descriptor of a regular file, with its size.
struct OpenFile {
  // O_NONBLOCK: opening a pipe in place of a file must be refused, not waited for.
  explicit OpenFile(const std::string& path)
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd < 0) throw_errno("cannot open", path);
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
      ::close(fd);
      throw_errno("cannot stat", path);
    }
    if (!S_ISREG(status.st_mode)) {
      ::close(fd);
      throw Error(ErrorCode::kInvalidArgument, fmt::format("{} is not a regular file", path));
    }
    size = static_cast<size_t>(status.st_size);
  }
  ~OpenFile() { ::close(fd); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int fd;
  size_t size = 0;
};

void write_all(int fd, const char* data, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t written = ::write(fd, data, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_errno("cannot write", path);
    }
    data += written;
    size -= static_cast<size_t>(written);
  }
}

}  // namespace

std::string read_file(const std::string& path, size_t max_bytes) {
  const OpenFile file(path);
  if (file.size > max_bytes) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{} has {} bytes, the limit for such a file is {}",
                                                 path, file.size, max_bytes));
  }
  std::string out(file.size, '\0');
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::read(file.fd, out.data() + done, out.size() - done);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_errno("cannot read", path);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  out.resize(done);
  return out;
}

void write_file(const std::string& path, std::string_view bytes) {
  FileWriter writer(path);
  writer.write(bytes);
  writer.close();
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const OpenFile file(path);
  size_ = file.size;
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (mapped == MAP_FAILED) throw_errno("cannot map", path);
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FileWriter::FileWriter(const std::string& path)
    : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (fd_ < 0) throw_errno("cannot create", path);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  write_all(fd_, reinterpret_cast<const char*>(bytes.data()), bytes.size(), path_);
}

void FileWriter::close() {
  if (::fsync(fd_) != 0) throw_errno("cannot flush", path_);
  if (::close(std::exchange(fd_, -1)) != 0) throw_errno("cannot close", path_);
}

StagedDirectory::StagedDirectory(std::filesystem::path target) : target_(std::move(target)) {
  if (target_.filename().empty()) target_ = target_.parent_path();  // "engine/" means "engine"
  std::string pattern = target_.string() + ".partial-XXXXXX";
  if (target_.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(target_.parent_path(), error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("cannot create {}: {}",
                                              target_.parent_path().string(), error.message()));
    }
  }
  if (!::mkdtemp(pattern.data())) throw_errno("cannot create", pattern);
  ::chmod(pattern.c_str(), 0755);
  staging_ = pattern;
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove_all(staging_, ignored);
}

void StagedDirectory::commit() {
  const std::filesystem::path old = staging_.string() + "-old";
  const bool replaced = ::rename(target_.c_str(), old.c_str()) == 0;
  if (!replaced && errno != ENOENT) throw_errno("cannot move aside", target_.string());
  if (::rename(staging_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    if (replaced) ::rename(old.c_str(), target_.c_str());
    errno = error;
    throw_errno("cannot put in place", target_.string());
  }
  committed_ = true;
  std::error_code ignored;
  if (replaced) std::filesystem::remove_all(old, ignored);
}

}  // namespace millrace
