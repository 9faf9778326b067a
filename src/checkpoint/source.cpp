// The kinds of sources: today a local directory.
#include "checkpoint/source.h"

#include "base/error.h"

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

 private:
  std::filesystem::path directory_;
};

}  // namespace

std::unique_ptr<Source> open_source(const ModelSource& source) {
  if (source.kind == SourceKind::kLocal) return std::make_unique<LocalSource>(source.repo);
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("checkpoints cannot be fetched from {} yet ({})", to_string(source.kind),
                  source.repo),
      "download it to a directory first, and give that directory (source: LOCAL in config.yaml)");
}

}  // namespace millrace
