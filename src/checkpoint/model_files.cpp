// Collects what a model is made of from a Hugging Face directory.
#include "checkpoint/model_files.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

namespace millrace {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxConfigBytes = 16 * 1024 * 1024;

// Code of the repository is never run. An architecture of ours is read by our implementation, which
// the author may not have meant; one that is not ours is refused by its name.
void warn_of_remote_code(const ConfigTexts& texts, const fs::path& directory) {
  const auto config = texts.find("config.json");
  if (config == texts.end()) return;
  const std::string what = (directory / "config.json").string();
  const json::value parsed = json::parse(config->second, what);
  const json::Reader reader(json::as_object(parsed, what), what);
  if (!reader.has("auto_map")) return;
  log::warn(
      "{}: auto_map names Python code of the repository, which Millrace never runs; the model is "
      "read as the architecture that config.json names",
      what);
}

}  // namespace

// Names of a foreign file: only plain folders of this directory count.
std::vector<std::string> module_folders(const fs::path& directory) {
  const fs::path file = directory / "modules.json";
  if (!fs::is_regular_file(file)) return {};
  const std::string what = file.string();
  const json::value parsed = json::parse(read_file(what, kMaxConfigBytes), what);
  std::vector<std::string> folders;
  if (!parsed.is_array()) return folders;  // ModelConfig::from_hf says what is wrong with it
  for (const json::value& module : parsed.get_array()) {
    const std::string folder =
        json::Reader(json::as_object(module, what), what).string("path").value_or("");
    const bool plain = !folder.empty() && folder.find('/') == std::string::npos &&
                       folder.front() != '.' && folder.find('\0') == std::string::npos;
    if (plain) folders.push_back(folder);
  }
  return folders;
}

ConfigTexts read_config_texts(const fs::path& directory) {
  if (!fs::is_directory(directory)) {
    throw Error(ErrorCode::kNotFound, fmt::format("{} is not a directory", directory.string()),
                "give the path of a Hugging Face checkpoint or of an engine");
  }
  ConfigTexts texts;
  for (const std::string& name : hf_config_files()) {
    const fs::path file = directory / name;
    if (fs::is_regular_file(file)) texts.emplace(name, read_file(file.string(), kMaxConfigBytes));
  }
  for (const std::string& folder : module_folders(directory)) {
    const fs::path file = directory / folder / "config.json";
    if (fs::is_regular_file(file))
      texts.emplace(folder + "/config.json", read_file(file.string(), kMaxConfigBytes));
  }
  const fs::path templates = directory / "additional_chat_templates";
  if (!fs::is_directory(templates)) return texts;
  for (const auto& entry : fs::directory_iterator(templates)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".jinja") continue;
    texts.emplace("additional_chat_templates/" + entry.path().filename().string(),
                  read_file(entry.path().string(), kMaxConfigBytes));
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
  warn_of_remote_code(texts, directory);
  return {.path = directory,
          .config_texts = std::move(texts),
          .tokenizer_json = read_file(tokenizer.string(), kMaxTokenizerBytes),
          .weights = Checkpoint::from_directory(directory.string()),
          .naming = WeightNaming::kCheckpoint};
}

}  // namespace millrace
