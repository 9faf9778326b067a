// Collects what a model is made of from a Hugging Face directory.
#include "checkpoint/model_files.h"

#include "base/error.h"

namespace millrace {

namespace fs = std::filesystem;

ConfigTexts read_config_texts(const fs::path& directory) {
  constexpr size_t kMaxConfigBytes = 16 * 1024 * 1024;
  if (!fs::is_directory(directory)) {
    throw Error(ErrorCode::kNotFound, fmt::format("{} is not a directory", directory.string()),
                "give the path of a Hugging Face checkpoint or of an engine");
  }
  ConfigTexts texts;
  for (const std::string& name : hf_config_files()) {
    const fs::path file = directory / name;
    if (fs::is_regular_file(file)) texts.emplace(name, read_file(file.string(), kMaxConfigBytes));
  }
  return texts;
}

ModelFiles open_hf_directory(const fs::path& directory) {
  constexpr size_t kMaxTokenizerBytes = 64 * 1024 * 1024;
  ConfigTexts texts = read_config_texts(directory);
  const fs::path tokenizer = directory / "tokenizer.json";
  if (!fs::is_regular_file(tokenizer)) {
    throw Error(ErrorCode::kNotFound, fmt::format("{} has no tokenizer.json", directory.string()),
                "save the tokenizer in its fast form: "
                "AutoTokenizer.from_pretrained(...).save_pretrained(DIR)");
  }
  return {.path = directory,
          .config_texts = std::move(texts),
          .tokenizer_json = read_file(tokenizer.string(), kMaxTokenizerBytes),
          .weights = Checkpoint::from_directory(directory.string()),
          .naming = WeightNaming::kCheckpoint};
}

}  // namespace millrace
