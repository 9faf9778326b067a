// Files: whole reads with a limit, read-only maps, and directories that appear whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace millrace {

// The whole file. Throws Error{kNotFound, kIo}, or {kCorrupt} when it is larger than `max_bytes`.
std::string read_file(const std::string& path, size_t max_bytes = 64 * 1024 * 1024);

// Writes and fsyncs. Throws Error{kIo} with the remedy where there is one (disk full, permission).
void write_file(const std::string& path, std::string_view bytes);

// A file mapped read-only. Movable; unmapped on destruction.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes a large file front to back.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  void close();  // fsyncs; must be called for the file to count as written

 private:
  std::string path_;
  int fd_ = -1;
};

// A directory written beside its final place and renamed into it by commit(); removed when it is
// destroyed without a commit. An existing target is replaced: the old one goes away after the new
// one stands, so callers first make sure that it may go.
class StagedDirectory {
 public:
  explicit StagedDirectory(std::filesystem::path target);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const std::filesystem::path& path() const { return staging_; }
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path staging_;
  bool committed_ = false;
};

}  // namespace millrace
