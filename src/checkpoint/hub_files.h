// Which files of a repository a model is read from, and which names are refused.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// Limits on what a hub may say about a repository.
inline constexpr size_t kMaxRepositoryFiles = 100'000;
inline constexpr size_t kMaxFilePath = 1024;  // bytes; a part of it: 255

// Throws Error{kCorrupt} for a path that is not one inside a directory: absolute, with an empty
// part, "." or "..", a backslash or a control character, too long.
void check_hub_path(std::string_view path, std::string_view repo);

// Throws Error{kInvalidArgument} for what cannot be the name of a branch, a tag or a commit.
void check_hub_revision(std::string_view revision);

bool is_commit(std::string_view revision);  // 40 lower-case hex digits

// The small files: configs, tokenizer, the index of the weights and modules.json. Sorted.
std::vector<std::string> select_config_files(const std::vector<std::string>& files);

// What the config files, once they are in `directory`, then ask for: the config files of the
// folders that modules.json names; and the weights that Checkpoint::from_directory() reads, with
// those in module folders. Never pickles, never code. Throws Error{kUnsupported, kNotFound} when
// the repository has no weights that can be read.
std::vector<std::string> select_module_files(const std::vector<std::string>& files,
                                             const std::filesystem::path& directory);
std::vector<std::string> select_weight_files(const std::vector<std::string>& files,
                                             const std::filesystem::path& directory,
                                             const std::string& repo);

}  // namespace millrace
