// The kinds of sources: a local directory, a repository of the Hugging Face Hub.
#include "checkpoint/source.h"

#include "base/error.h"
#include "checkpoint/hub_source.h"

namespace millrace {

namespace {

class LocalSource : public Source {
 public:
  explicit LocalSource(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path fetch(const FetchProgress&) override {
    if (!std::filesystem::is_directory(directory_)) {
      throw Error(ErrorCode::kNotFound, fmt::format("{} is not a directory", directory_.string()),
                  "give the path of a Hugging Face checkpoint (config.json, tokenizer.json, "
                  "safetensors files)");
    }
    return directory_;
  }

  std::filesystem::path fetch_configs(const FetchProgress& progress) override {
    return fetch(progress);
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace

std::unique_ptr<Source> open_source(const ModelSource& source) {
  if (source.kind == SourceKind::kLocal) return std::make_unique<LocalSource>(source.repo);
  if (source.kind == SourceKind::kHuggingFace) {
    return std::make_unique<HubSource>(
        source.repo, source.revision,
        HubSettings::from_environment(process_environment, source.runtime_secret_name));
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("checkpoints cannot be fetched from {} yet ({})", to_string(source.kind),
                  source.repo),
      "download it to a directory first, and give that directory (source: LOCAL in config.yaml)");
}

}  // namespace millrace
