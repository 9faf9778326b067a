// Which files make up a checkpoint, and the index over them.
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

namespace fs = std::filesystem;

json::Reader weight_map_of(const json::value& parsed, const std::string& index) {
  const auto weight_map = json::Reader(json::as_object(parsed, index), index).child("weight_map");
  if (!weight_map)
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: weight_map is missing", index));
  return *weight_map;
}

// A shard's name comes from a foreign file: it must name a file of the same directory.
void check_shard_name(const std::string& name, const std::string& index) {
  if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
      name == ".." || !name.ends_with(".safetensors")) {
    throw Error(
        ErrorCode::kCorrupt,
        fmt::format("{}: shard name \"{}\" is not a .safetensors file of its folder", index, name));
  }
}

std::set<std::string> shard_names(const json::Reader& weight_map, const std::string& index) {
  std::set<std::string> shards;
  for (const auto& member : weight_map.raw()) {
    shards.insert(weight_map.require_string(member.key()));
  }
  for (const std::string& shard : shards) check_shard_name(shard, index);
  return shards;
}

// The pickle file that explains why there are no weights to read, if there is one.
std::string find_pickle(const fs::path& directory) {
  std::string found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") ||
        name.ends_with(".ckpt")) {
      found = found.empty() ? name : std::min(found, name);
    }
  }
  return found;
}

}  // namespace

std::vector<std::string> read_shard_names(const std::string& index) {
  const json::value parsed = json::parse_file(index);
  const std::set<std::string> names = shard_names(weight_map_of(parsed, index), index);
  return {names.begin(), names.end()};
}

Checkpoint Checkpoint::from_file(MappedFile file) {
  Checkpoint checkpoint;
  checkpoint.add_file(std::move(file));
  return checkpoint;
}

Checkpoint Checkpoint::from_directory(const std::string& directory) {
  const fs::path dir(directory);
  // Where both stand, transformers reads the single file too.
  const std::string single = (dir / "model.safetensors").string();
  if (fs::exists(single)) return from_file(single);
  const std::string index = (dir / "model.safetensors.index.json").string();
  if (fs::exists(index)) {
    const json::value parsed = json::parse_file(index);
    const json::Reader weight_map = weight_map_of(parsed, index);
    Checkpoint checkpoint;
    for (const std::string& shard : shard_names(weight_map, index)) {
      const std::string path = (dir / shard).string();
      if (!fs::exists(path)) {
        throw Error(ErrorCode::kNotFound,
                    fmt::format("{} names {}, which is not there", index, shard),
                    "download the whole checkpoint again");
      }
      checkpoint.add_file(MappedFile(path));
    }
    for (const auto& member : weight_map.raw()) {
      if (!checkpoint.find(member.key())) {
        throw Error(ErrorCode::kCorrupt, fmt::format("{} promises tensor {}, which no shard holds",
                                                     index, std::string_view(member.key())));
      }
    }
    return checkpoint;
  }
  if (const std::string pickle = find_pickle(dir); !pickle.empty()) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format(
            "{}: {} is a pickle file, which can run code when it is loaded; only safetensors "
            "weights are read",
            directory, pickle),
        "save the model again with save_pretrained(..., safe_serialization=True)");
  }
  throw Error(
      ErrorCode::kNotFound,
      fmt::format("{} has neither model.safetensors nor model.safetensors.index.json", directory),
      "point to the root of a Hugging Face checkpoint with safetensors weights");
}

void Checkpoint::add_file(MappedFile mapped) {
  const SafetensorsFile& file = files_.emplace_back(std::move(mapped));
  paths_.push_back(file.path());
  for (const SafetensorsEntry& entry : file.header().entries) {
    if (!tensors_.emplace(entry.name, aligned(file.tensor(entry))).second) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tensor {} is in {} and in another shard", entry.name, file.path()),
                  "download the whole checkpoint again");
    }
  }
}

Tensor Checkpoint::aligned(Tensor tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.data);
  if (address % static_cast<uintptr_t>(size_of(tensor.dtype)) == 0) return tensor;
  const Buffer& copy = realigned_.emplace_back(Buffer::host(tensor.bytes()));
  std::memcpy(copy.data(), tensor.data, static_cast<size_t>(tensor.bytes()));
  tensor.data = copy.data();
  return tensor;
}

const Tensor* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : tensors_) out.push_back(name);
  return out;
}

int64_t Checkpoint::bytes() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.bytes();
  return total;
}

}  // namespace millrace
