// The engine directory: docs/engine_format.md in code.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/kernel_archive_file.h"
#include "checkpoint/model_files.h"

namespace millrace {

inline constexpr int kEngineFormatVersion = 1;

// A file of an engine or of its source, identified by the SHA-256 of each of its pieces.
struct FileIdentity {
  std::string name;  // relative to the directory
  uint64_t bytes = 0;
  std::vector<std::string> sha256;  // hex, one per piece of kPieceBytes; the last may be shorter

  static constexpr uint64_t kPieceBytes = 64 * 1024 * 1024;

  bool operator==(const FileIdentity&) const = default;
};

struct EngineManifest {
  int format_version = kEngineFormatVersion;
  std::string millrace_version;
  std::string architecture;
  std::vector<std::string> targets;            // "cpu", "sm_90a", ...
  std::vector<FileIdentity> sources;           // files of the checkpoint
  std::vector<FileIdentity> files;             // files of this engine, the manifest excepted
  std::map<std::string, std::string> formats;  // name of each matrix -> its WeightFormat
};

// What goes into an engine beside the files that are copied from the checkpoint.
struct EngineContents {
  const ModelFiles* checkpoint = nullptr;
  ModelConfig model;
  BuildConfig build;
  std::vector<SafetensorsItem> weights;  // canonical names; sorted when written
  std::map<std::string, std::string> formats;
  std::vector<FileIdentity> sources;
  std::vector<cuda::KernelArchive> kernels;  // one per architecture
};

// Called with bytes done and bytes in all, from one thread.
using ByteProgress = std::function<void(uint64_t done, uint64_t total)>;

// Writes beside `target` and renames: the engine appears whole or not at all. The same contents
// give the same bytes. Replaces an existing engine; refuses to replace anything else.
void write_engine(const std::filesystem::path& target, const EngineContents& contents,
                  ThreadPool& pool, const ByteProgress& progress);

// The text of a manifest.json, its own digest included.
std::string manifest_text(const EngineManifest& manifest);

// Reads and checks such a text; `what` (a path) names it in errors.
EngineManifest parse_manifest(std::string_view text, const std::string& what);

// Whether the directory is an engine, sound or damaged: its manifest names our format, or both
// files are there that only engines have beside each other.
bool is_engine(const std::filesystem::path& directory);

// Opened and verified: every file of the manifest is there and unaltered.
struct Engine {
  EngineManifest manifest;
  ModelFiles files;

  // Throws Error naming the file that is missing, truncated, altered, newer or foreign, and what to
  // do.
  static Engine open(const std::filesystem::path& directory, ThreadPool& pool);
};

// Gives an opened engine the kernels of further architectures, in place of those that it has for
// the same ones: its directory is whole at every moment, `engine` itself stays as it was opened.
void add_kernels(const Engine& engine, const std::vector<cuda::KernelArchive>& kernels,
                 ThreadPool& pool);

FileIdentity identify_file(const std::filesystem::path& directory, const std::string& name,
                           ThreadPool& pool);

}  // namespace millrace
