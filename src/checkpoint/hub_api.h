// HubApi: what a hub says about a repository: its commits, its files, where their bytes are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/hub_connection.h"

namespace millrace {

struct HubRevision {
  std::string commit;              // 40 hex digits
  std::vector<std::string> files;  // paths, checked, sorted
};

struct HubFile {
  std::string path;
  std::string etag;  // SHA-256 (64 hex digits) of a large file, git's SHA-1 (40) of any other
  uint64_t size = 0;
  std::string url;  // where the bytes are: the hub, or a signed address that expires
};

// Source: the routes that huggingface_hub uses. Everything the hub says is checked: names, sizes,
// counts, hashes.
class HubApi {
 public:
  HubApi(const HubSettings& settings, std::string repo)
      : settings_(settings), repo_(std::move(repo)) {}

  // GET /api/models/{repo}/revision/{revision}
  HubRevision resolve(HubConnection& connection, std::string_view revision) const;

  // HEAD /{repo}/resolve/{commit}/{path}
  HubFile find_file(HubConnection& connection, const std::string& commit,
                    const std::string& path) const;

  const std::string& repo() const { return repo_; }
  std::string name_of(std::string_view path) const;  // "config.json of org/name"

 private:
  const HubSettings& settings_;
  std::string repo_;
};

// What the hub answers about a revision of `repo`, checked; `what` names the answer in errors.
// Throws Error{kCorrupt, kUnsupported}.
HubRevision parse_hub_revision(std::string_view text, const std::string& repo,
                               const std::string& what);

// RFC 3986 unreserved characters as they are, all others as %XX; slashes stay when `keep_slashes`.
std::string percent_encode(std::string_view text, bool keep_slashes);

}  // namespace millrace
