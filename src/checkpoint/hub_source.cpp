// Resolve, choose, fetch, link: what is small comes first, because it says what else is needed.
#include "checkpoint/hub_source.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/hub_files.h"

namespace millrace {

namespace fs = std::filesystem;

HubSource::HubSource(std::string repo, std::string revision, HubSettings settings)
    : settings_(std::move(settings)),
      revision_(revision.empty() ? "main" : std::move(revision)),
      cache_(settings_.cache, repo),
      api_(settings_, std::move(repo)),
      downloader_(settings_, api_, cache_) {
  if (!is_hub_repository(api_.repo())) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\" is no name of a hub repository", api_.repo().substr(0, 200)),
                "write it as owner/name, as in the address of its page");
  }
  check_hub_revision(revision_);
}

std::string HubSource::name() const {
  return fmt::format("{} at {}", api_.repo(), revision_);
}

fs::path HubSource::fetch(const FetchProgress& progress) {
  return fetch_files(true, progress);
}

fs::path HubSource::fetch_configs(const FetchProgress& progress) {
  return fetch_files(false, progress);
}

fs::path HubSource::fetch_files(bool with_weights, const FetchProgress& progress) {
  if (!resolved_) resolve();
  const std::vector<std::string>& files = resolved_->files;
  fs::path directory = cache_.snapshot(resolved_->commit);
  for (std::string_view needed : {"config.json", "tokenizer.json"}) {
    if (std::find(files.begin(), files.end(), needed) != files.end()) continue;
    throw Error(
        ErrorCode::kNotFound,
        fmt::format("{} has no {}{}", name(), needed, only_cache_.empty() ? "" : " in the cache"),
        needed == "config.json"
            ? "choose a repository in the layout of transformers"
            : "choose a revision with the tokenizer in its fast form (tokenizer.json), or "
              "save it so: AutoTokenizer.from_pretrained(...).save_pretrained(DIR)");
  }
  require(select_config_files(files), progress);
  require(select_module_files(files, directory), progress);
  if (with_weights) require(select_weight_files(files, directory, name()), progress);
  // A ref names a commit that can be used: while the weights are missing, the one before stays.
  const bool is_branch = revision_ != resolved_->commit;
  if (only_cache_.empty() && is_branch && with_weights)
    cache_.write_ref(revision_, resolved_->commit);
  return directory;
}

// What the revision stands for, and the files of that commit.
void HubSource::resolve() {
  if (settings_.offline) {
    if (resolve_from_cache("HF_HUB_OFFLINE is set")) return;
    throw Error(ErrorCode::kNotFound,
                fmt::format("HF_HUB_OFFLINE is set, and the cache {} does not have {}",
                            cache_.root().string(), name()),
                "run once without HF_HUB_OFFLINE, or name the cache that has it in HF_HUB_CACHE");
  }
  if (is_commit(revision_)) {
    if (auto files = cache_.read_listing(revision_)) {
      resolved_ = {.commit = revision_, .files = std::move(*files)};
      return;
    }
  }
  try {
    resolved_ = api_.resolve(downloader_.connection(), revision_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnavailable || !resolve_from_cache(error.message())) throw;
    log::warn("{}; using commit {} of {} from the cache, which may be older than the hub's",
              error.message(), resolved_->commit, api_.repo());
    return;
  }
  cache_.write_listing(resolved_->commit, resolved_->files);
  if (resolved_->commit != revision_) log::info("{} is commit {}", name(), resolved_->commit);
}

bool HubSource::resolve_from_cache(const std::string& reason) {
  const auto commit = is_commit(revision_) ? revision_ : cache_.read_ref(revision_);
  if (!commit) return false;
  auto files = cache_.read_listing(*commit);
  if (!files) {
    files = cache_.find_files(*commit);
    if (files->empty()) return false;
    log::warn(
        "{} was put into the cache by another program, which noted no list of its files: what it "
        "did not fetch (modules.json, say) counts as not there",
        name());
  }
  resolved_ = {.commit = *commit, .files = std::move(*files)};
  only_cache_ = reason;
  return true;
}

// Makes these paths part of the snapshot.
void HubSource::require(const std::vector<std::string>& paths, const FetchProgress& progress) {
  const std::string& commit = resolved_->commit;
  std::vector<std::string> missing;
  for (const std::string& path : paths) {
    if (!cache_.has(commit, path)) missing.push_back(path);
  }
  if (missing.empty()) return;
  if (!only_cache_.empty()) {
    throw Error(
        ErrorCode::kNotFound,
        fmt::format(
            "{}, and commit {} of {} in the cache {} lacks {}{}", only_cache_, commit, api_.repo(),
            cache_.root().string(), missing.front(),
            missing.size() > 1 ? fmt::format(" and {} more files", missing.size() - 1) : ""),
        "run the command again when the hub can be reached (and HF_HUB_OFFLINE is unset)");
  }
  const std::vector<HubFile> files = downloader_.find_files(commit, missing);
  check_disk(files);
  uint64_t total = 0;
  for (const HubFile& file : files) total += file.size;
  uint64_t before = 0;  // bytes of the files that are done
  for (const HubFile& file : files) {
    downloader_.download(commit, file, [&](uint64_t done) {
      if (progress) progress(file.path, before + done, total);
    });
    cache_.link(commit, file.path, file.etag);
    before += file.size;
  }
}

void HubSource::check_disk(const std::vector<HubFile>& files) const {
  constexpr uint64_t kSpare = 16 * 1024 * 1024;  // for links, refs and the file system's own
  create_folders(cache_.root());
  std::set<std::string> seen;
  uint64_t needed = 0;
  for (const HubFile& file : files) {
    if (seen.insert(file.etag).second) needed += downloader_.missing_bytes(file);
  }
  std::error_code error;
  const auto space = fs::space(cache_.root(), error);
  if (error || needed == 0 || needed + kSpare <= space.available) return;
  throw Error(
      ErrorCode::kIo,
      fmt::format("{} needs {} more in {}, and {} are free there", name(), readable_bytes(needed),
                  cache_.root().string(), readable_bytes(space.available)),
      "free some space, or move the cache to a larger disk with HF_HUB_CACHE");
}

}  // namespace millrace
