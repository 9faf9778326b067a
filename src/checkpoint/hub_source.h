// HubSource: a repository of the Hugging Face Hub as a directory of the hub cache.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hub_download.h"
#include "checkpoint/source.h"

namespace millrace {

class HubSource : public Source {
 public:
  // `repo`: "org/name" or "name". An empty revision is "main".
  HubSource(std::string repo, std::string revision, HubSettings settings);

  // The snapshot's directory. Files that it has are not fetched again; where it has all, and the
  // revision is a commit, nothing is asked of the hub. Where the hub cannot be reached and the
  // cache has all, the cache is used, with a warning that names the commit.
  std::filesystem::path fetch(const FetchProgress& progress) override;
  std::filesystem::path fetch_configs(const FetchProgress& progress) override;

 private:
  std::filesystem::path fetch_files(bool with_weights, const FetchProgress& progress);
  void resolve();
  bool resolve_from_cache(const std::string& reason);
  void require(const std::vector<std::string>& paths, const FetchProgress& progress);
  void check_disk(const std::vector<HubFile>& files) const;
  std::string name() const;  // "org/name at main"

  const HubSettings settings_;
  const std::string revision_;
  HubCache cache_;
  HubApi api_;
  HubDownloader downloader_;
  std::optional<HubRevision> resolved_;
  std::string only_cache_;  // why the hub is not to be asked; empty: it may be
};

}  // namespace millrace
