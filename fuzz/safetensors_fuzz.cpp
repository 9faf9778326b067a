// Fuzzes the safetensors reader: a file that it accepts has only tensors inside its bytes.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "checkpoint/safetensors.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  SafetensorsHeader header;
  try {
    header = parse_safetensors(std::as_bytes(input), "input", {.max_tensors = 1000});
  } catch (const Error&) {
    return 0;
  }
  uint64_t expected = size;
  for (auto entry = header.entries.rbegin(); entry != header.entries.rend(); ++entry) {
    CHECK(entry->end == expected && entry->begin <= entry->end, "{} is out of place", entry->name);
    expected = entry->begin;
    const Tensor tensor =
        Tensor::contiguous(const_cast<uint8_t*>(data) + entry->begin, entry->dtype, entry->shape);
    CHECK(tensor.bytes() == static_cast<int64_t>(entry->end - entry->begin));
  }
  return 0;
}
