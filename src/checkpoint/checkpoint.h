// Checkpoint: a set of named tensors over one or more mapped safetensors files.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"
#include "tensor/buffer.h"

namespace millrace {

// How the tensors of a checkpoint are named.
enum class WeightNaming {
  kCheckpoint,  // one by one, as the model's authors saved them
  kCanonical,   // merged, by the paths of our own modules, as an engine stores them
};

// Immutable; tensors are views that live as long as the checkpoint. Their values are aligned to
// their element size, which the format does not promise.
class Checkpoint {
 public:
  // The weights of a Hugging Face directory: model.safetensors, or the shards that
  // model.safetensors.index.json names. Refuses pickle files with the reason.
  static Checkpoint from_directory(const std::string& directory);

  // One safetensors file.
  static Checkpoint from_file(const std::string& path) { return from_file(MappedFile(path)); }
  static Checkpoint from_file(MappedFile file);

  // nullptr when there is no such tensor.
  const Tensor* find(std::string_view name) const;
  std::vector<std::string> names() const;  // sorted

  int64_t bytes() const;  // of all tensors
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  void add_file(MappedFile file);
  Tensor aligned(Tensor tensor);

  std::vector<SafetensorsFile> files_;
  std::vector<Buffer> realigned_;  // copies of tensors that a file holds at an odd offset
  std::vector<std::string> paths_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

// The shards that a model.safetensors.index.json names, sorted. Throws Error{kCorrupt} for a name
// that is not a .safetensors file of the index's folder.
std::vector<std::string> read_shard_names(const std::string& index);

}  // namespace millrace
