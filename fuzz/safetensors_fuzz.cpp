// Bytes as a safetensors file: refused with an Error, or entries that lie inside the file.
#include "base/error.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const millrace::SafetensorsHeader header = millrace::parse_safetensors(file, "input");
    for (const millrace::SafetensorsEntry& entry : header.entries) {
      CHECK(entry.begin <= entry.end && entry.end <= size);
      CHECK(entry.end - entry.begin == static_cast<uint64_t>(entry.shape.numel()) *
                                           static_cast<uint64_t>(millrace::size_of(entry.dtype)));
    }
  } catch (const millrace::Error&) {
    return 0;
  }
  return 0;
}
