// HubCache: one repository in the cache of Hugging Face's own client, laid out as it does.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// <root>/models--org--name/
//   refs/<revision>                 the commit that a branch or tag stood for
//   snapshots/<commit>/<path>    -> ../../blobs/<etag>
//   blobs/<etag>                    content, named by its SHA-256 or its git SHA-1
//   blobs/<etag>.incomplete         its first bytes, in order, while it is fetched
//   millrace/<commit>.json          our own: the names of all files of that commit
// <root>/.locks/models--org--name/<etag>.lock
// Source: huggingface_hub's "Manage your cache" guide.
//
// Revisions, commits, etags and paths given here have been checked; see hub_files.h.
class HubCache {
 public:
  HubCache(std::filesystem::path root, std::string_view repo);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path snapshot(std::string_view commit) const;
  std::filesystem::path blob(std::string_view etag) const;
  std::filesystem::path incomplete(std::string_view etag) const;
  std::filesystem::path lock_file(std::string_view etag) const;

  std::optional<std::string> read_ref(std::string_view revision) const;
  void write_ref(std::string_view revision, std::string_view commit) const;

  // The names of a commit's files, as we or Hugging Face's client noted them; nothing when nobody
  // did, and then find_files() tells what is there.
  std::optional<std::vector<std::string>> read_listing(std::string_view commit) const;
  void write_listing(std::string_view commit, const std::vector<std::string>& files) const;
  std::vector<std::string> find_files(std::string_view commit) const;

  bool has(std::string_view commit, const std::string& path) const;
  void link(std::string_view commit, const std::string& path, std::string_view etag) const;

 private:
  void write_atomically(const std::filesystem::path& file, std::string_view text) const;

  std::filesystem::path root_;
  std::string name_;  // "models--org--name"
};

// Makes folders; throws Error{kIo} naming the folder and the variable that moves the cache.
void create_folders(const std::filesystem::path& folder);

// An flock() on a file, as filelock takes it: held by one process at a time, gone with it.
class FileLock {
 public:
  // Waits for it. `waiting` is called when another holds it, at first and every second.
  FileLock(const std::filesystem::path& file, const std::function<void()>& waiting);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace millrace
