// Downloads one file of a hub into the cache, in parallel ranges, resumable and checked.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/hub_api.h"
#include "checkpoint/hub_cache.h"

namespace millrace {

// The connections of one fetch, kept open from file to file.
class HubDownloader {
 public:
  // Bytes of the file that are here, those of an earlier run included. Calls do not overlap.
  using Progress = std::function<void(uint64_t done)>;

  HubDownloader(const HubSettings& settings, const HubApi& api, const HubCache& cache);

  HubConnection& connection() { return *connections_.front(); }

  // What the hub says about each of `paths`, asked over several connections; in their order.
  std::vector<HubFile> find_files(const std::string& commit, const std::vector<std::string>& paths);

  // Bytes that download() would still ask for.
  uint64_t missing_bytes(const HubFile& file) const;

  // Makes cache.blob(file.etag), unless it is there. Pieces arrive in any order and are appended
  // in order, so that what an interrupted run leaves is always the beginning of the file; a later
  // run goes on from there. Throws Error; one that is {kCorrupt} for a wrong hash has deleted what
  // arrived.
  void download(const std::string& commit, const HubFile& file, const Progress& progress);

 private:
  void fetch_pieces(const std::string& commit, const HubFile& file, class BlobFile& blob,
                    const Progress& progress);
  // work(connection) on `count` connections at once; rethrows the first error, stops the others.
  void on_connections(size_t count, const std::function<void(HubConnection&)>& work);

  const HubSettings& settings_;
  const HubApi& api_;
  const HubCache& cache_;
  std::atomic<bool> stopped_{false};
  std::vector<std::unique_ptr<HubConnection>> connections_;
};

std::string readable_bytes(uint64_t bytes);  // "86.7 MiB"

}  // namespace millrace
