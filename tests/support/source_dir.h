// Where the tests find what is in the repository.
#pragma once

#include <filesystem>

namespace millrace::test {

inline std::filesystem::path program_dir() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

// The folder that the program was built or unpacked below. Not known to the compiler, whose cache
// thus serves every clone.
inline std::filesystem::path source_dir() {
  std::filesystem::path folder = program_dir();
  while (folder.has_relative_path() && !std::filesystem::exists(folder / "CMakePresets.json"))
    folder = folder.parent_path();
  return folder;
}

}  // namespace millrace::test
