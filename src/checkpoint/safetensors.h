// safetensors files: a hardened reader over a read-only map, and a deterministic writer.
//
// Format (https://github.com/huggingface/safetensors): 8 bytes little-endian header length, a JSON
// object {name: {dtype, shape, data_offsets: [begin, end)}, "__metadata__": {string: string}}, then
// the data. Offsets count from the end of the header.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tensor/tensor.h"

namespace millrace {

struct SafetensorsLimits {
  uint64_t max_header_bytes = 100'000'000;  // the format's own cap
  size_t max_tensors = 1'000'000;
};

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin = 0;  // byte offset in the file
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in file order
  std::map<std::string, std::string> metadata;
};

// Checks everything that the format promises: header length and JSON, known dtypes, dtype x shape
// without overflow equal to the byte range, ranges inside the file that neither overlap nor leave
// gaps, no name twice. Throws Error{kCorrupt} naming `what` (a path) and the tensor.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view what,
                                    const SafetensorsLimits& limits = {});

// One mapped file. Tensors are views into the map and live as long as it does.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(MappedFile file, const SafetensorsLimits& limits = {});
  explicit SafetensorsFile(const std::string& path) : SafetensorsFile(MappedFile(path)) {}

  const SafetensorsHeader& header() const { return header_; }
  Tensor tensor(const SafetensorsEntry& entry) const;  // read-only memory
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  SafetensorsHeader header_;
};

// A tensor to write: its values are the concatenation of `parts` along dimension 0.
struct SafetensorsItem {
  std::string name;
  DType dtype;
  Shape shape;
  std::vector<Tensor> parts;  // contiguous host tensors of `dtype`
};

// Writes items in the given order; the same items give the same bytes. `on_bytes` hears of each
// stretch of bytes written (for hashes and progress).
void write_safetensors(const std::string& path, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::span<const std::byte>)>& on_bytes = {});

}  // namespace millrace
