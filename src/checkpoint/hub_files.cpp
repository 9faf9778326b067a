// Names from a hub are untrusted; what is fetched is chosen by name from a closed list.
#include "checkpoint/hub_files.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"

namespace millrace {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kIndex = "model.safetensors.index.json";

// Beside hf_config_files(): what says how the model was quantized or adapted, and every form of a
// tokenizer that is data.
constexpr std::array kMoreConfigFiles = {
    std::string_view("hf_quant_config.json"),
    std::string_view("adapter_config.json"),
    std::string_view("tokenizer.json"),
    std::string_view("added_tokens.json"),
    std::string_view("vocab.json"),
    std::string_view("vocab.txt"),
    std::string_view("merges.txt"),
    std::string_view("tokenizer.model"),
    std::string_view("spiece.model"),
    std::string_view("tekken.json"),
    std::string_view("sentencepiece.bpe.model"),
    std::string_view("tiktoken.model"),
    kIndex,
};

bool is_config_file(std::string_view name) {
  const auto& read = hf_config_files();
  return std::find(read.begin(), read.end(), name) != read.end() ||
         std::find(kMoreConfigFiles.begin(), kMoreConfigFiles.end(), name) !=
             kMoreConfigFiles.end();
}

// "folder/name" as its two parts; nothing for another depth.
struct FolderFile {
  std::string_view folder;
  std::string_view name;
};

bool split(std::string_view path, FolderFile& out) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos || path.find('/', slash + 1) != std::string_view::npos)
    return false;
  out = {.folder = path.substr(0, slash), .name = path.substr(slash + 1)};
  return true;
}

// The files of module folders for which `wanted(name)` holds.
template <typename Wanted>
std::vector<std::string> in_module_folders(const std::vector<std::string>& files,
                                           const fs::path& directory, Wanted wanted) {
  const std::vector<std::string> folders = module_folders(directory);
  std::vector<std::string> out;
  for (const std::string& path : files) {
    FolderFile parts;
    if (!split(path, parts) || !wanted(parts.name)) continue;
    if (std::find(folders.begin(), folders.end(), parts.folder) != folders.end())
      out.push_back(path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

[[noreturn]] void refuse_without_weights(const std::vector<std::string>& files,
                                         const std::string& repo) {
  const auto ends_with = [&](std::initializer_list<std::string_view> endings) {
    std::string first;
    for (const std::string& path : files) {
      for (std::string_view ending : endings) {
        if (path.ends_with(ending) && (first.empty() || path < first)) first = path;
      }
    }
    return first;
  };
  if (const auto pickle = ends_with({".bin", ".pt", ".pth", ".ckpt"}); !pickle.empty()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} has its weights only as pickle files ({}), which can run code when "
                            "they are loaded; only safetensors weights are read",
                            repo, pickle),
                "look among the repository's pull requests for a conversion to safetensors and "
                "give it as the revision (refs/pr/N), or save the model again with "
                "save_pretrained(..., safe_serialization=True)");
  }
  const auto other = ends_with({".gguf", ".onnx", ".h5", ".msgpack", ".safetensors"});
  throw Error(ErrorCode::kNotFound,
              fmt::format("{} has neither model.safetensors nor {}{}", repo, kIndex,
                          other.empty() ? "" : fmt::format(" (it has {})", other)),
              "choose the repository that holds the model's safetensors weights");
}

}  // namespace

void check_hub_path(std::string_view path, std::string_view repo) {
  constexpr size_t kMaxPart = 255;
  std::string_view problem;
  if (path.empty() || path.size() > kMaxFilePath) problem = "its length";
  for (char c : path) {
    if (c == '\\' || static_cast<unsigned char>(c) < ' ' || c == '\x7f')
      problem = "a character that no path has";
  }
  for (size_t begin = 0; begin <= path.size() && problem.empty();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) problem = "an empty part, or a slash at an end";
    if (part == "." || part == "..") problem = "a part that is . or ..";
    if (part.size() > kMaxPart) problem = "a part of more than 255 bytes";
    begin = end + 1;
  }
  if (problem.empty()) return;
  throw Error(ErrorCode::kCorrupt,
              fmt::format("{} has a file named \"{}\", which is refused for {}", repo,
                          path.substr(0, 200), problem),
              "do not use this repository: such a name could reach files outside the cache");
}

void check_hub_revision(std::string_view revision) {
  bool fine = !revision.empty() && revision.size() <= 256 && revision.front() != '-';
  for (char c : revision) {
    const bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!word && std::string_view("-_./+@#=,").find(c) == std::string_view::npos) fine = false;
  }
  for (size_t begin = 0; begin <= revision.size() && fine;) {
    const size_t end = std::min(revision.find('/', begin), revision.size());
    const std::string_view part = revision.substr(begin, end - begin);
    if (part.empty() || part.front() == '.' || part.find("..") != std::string_view::npos)
      fine = false;
    begin = end + 1;
  }
  if (fine) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\" is no revision of a repository", revision.substr(0, 200)),
              "a revision is a branch, a tag, a commit of 40 hex digits or refs/pr/N");
}

bool is_commit(std::string_view revision) {
  return revision.size() == 40 &&
         revision.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<std::string> select_config_files(const std::vector<std::string>& files) {
  std::vector<std::string> out;
  for (const std::string& path : files) {
    FolderFile parts;
    const bool template_file = split(path, parts) && parts.folder == "additional_chat_templates" &&
                               parts.name.ends_with(".jinja");
    if (is_config_file(path) || template_file) out.push_back(path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> select_module_files(const std::vector<std::string>& files,
                                             const fs::path& directory) {
  return in_module_folders(files, directory, is_config_file);
}

std::vector<std::string> select_weight_files(const std::vector<std::string>& files,
                                             const fs::path& directory, const std::string& repo) {
  const auto has = [&](std::string_view name) {
    return std::find(files.begin(), files.end(), name) != files.end();
  };
  std::vector<std::string> out;
  if (has("model.safetensors")) {
    out.emplace_back("model.safetensors");
  } else if (has(kIndex)) {
    out = read_shard_names((directory / kIndex).string());
  } else {
    refuse_without_weights(files, repo);
  }
  for (const std::string& shard : out) {
    if (has(shard)) continue;
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: {} names {}, which the repository lacks", repo, kIndex, shard),
                "choose another revision; this one is not whole");
  }
  if (has("adapter_model.safetensors")) out.emplace_back("adapter_model.safetensors");
  for (std::string& path : in_module_folders(
           files, directory, [](std::string_view name) { return name == "model.safetensors"; })) {
    out.push_back(std::move(path));
  }
  return out;
}

}  // namespace millrace
