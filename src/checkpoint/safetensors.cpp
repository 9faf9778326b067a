// Reading (every promise of the format checked) and writing of safetensors files.
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kRemedy = "download the file again or export the checkpoint again";

[[noreturn]] void corrupt(std::string_view what, const std::string& problem) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}", what, problem), std::string(kRemedy));
}

uint64_t little_endian_u64(std::span<const std::byte> bytes) {
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return out;
}

uint64_t as_offset(const json::value& v, std::string_view what, std::string_view name) {
  if (const auto* i = v.if_int64(); i && *i >= 0) return static_cast<uint64_t>(*i);
  if (const auto* u = v.if_uint64()) return *u;
  corrupt(what, fmt::format("tensor {}: a size or an offset is not a non-negative integer", name));
}

SafetensorsEntry parse_entry(std::string_view name, const json::value& v, uint64_t data_begin,
                             std::string_view what) {
  const auto* object = v.if_object();
  const auto* dtype_name =
      object && object->contains("dtype") ? object->at("dtype").if_string() : nullptr;
  const auto* sizes =
      object && object->contains("shape") ? object->at("shape").if_array() : nullptr;
  const auto* offsets =
      object && object->contains("data_offsets") ? object->at("data_offsets").if_array() : nullptr;
  if (!dtype_name || !sizes || !offsets || offsets->size() != 2) {
    corrupt(what,
            fmt::format("tensor {}: dtype, shape or data_offsets is missing or malformed", name));
  }
  const auto dtype = dtype_from_safetensors(*dtype_name);
  if (!dtype) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: tensor {} has dtype {}, which this version does not read", what,
                            name, std::string_view(*dtype_name)),
                "convert the checkpoint to F32, F16 or BF16");
  }
  if (sizes->size() > Shape::kMaxRank) {
    corrupt(what, fmt::format("tensor {} has {} dimensions, the limit is {}", name, sizes->size(),
                              Shape::kMaxRank));
  }
  std::vector<int64_t> dims;
  bool empty = false;
  int64_t bytes = size_of(*dtype);  // without the extents of zero, so that strides fit as well
  for (const json::value& size : *sizes) {
    const uint64_t extent = as_offset(size, what, name);
    if (extent == 0) empty = true;
    if (extent != 0 && __builtin_mul_overflow(bytes, extent, &bytes))
      corrupt(what, fmt::format("tensor {}: its size overflows", name));
    dims.push_back(static_cast<int64_t>(extent));
  }
  if (empty) bytes = 0;
  const uint64_t begin = as_offset((*offsets)[0], what, name);
  const uint64_t end = as_offset((*offsets)[1], what, name);
  if (end < begin || end - begin != static_cast<uint64_t>(bytes)) {
    corrupt(what, fmt::format("tensor {}: data_offsets [{}, {}) do not hold the {} bytes of {} {}",
                              name, begin, end, bytes, to_string(*dtype), to_string(Shape(dims))));
  }
  if (end > UINT64_MAX - data_begin)
    corrupt(what, fmt::format("tensor {}: its offsets overflow", name));
  return {.name = std::string(name),
          .dtype = *dtype,
          .shape = Shape(dims),
          .begin = data_begin + begin,
          .end = data_begin + end};
}

// The tensors, in file order, must tile the data section exactly.
void check_tiling(std::vector<SafetensorsEntry>& entries, uint64_t data_begin, uint64_t file_size,
                  std::string_view what) {
  std::ranges::sort(entries, [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t expected = data_begin;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.end > file_size) {
      corrupt(what, fmt::format("the file is truncated: tensor {} ends at byte {}, the file has {}",
                                entry.name, entry.end, file_size));
    }
    if (entry.begin < expected)
      corrupt(what, fmt::format("tensor {} overlaps the one before it", entry.name));
    if (entry.begin > expected)
      corrupt(what, fmt::format("there is a gap before tensor {}", entry.name));
    expected = entry.end;
  }
  if (expected != file_size) {
    corrupt(what, fmt::format("{} bytes follow the last tensor", file_size - expected));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view what,
                                    const SafetensorsLimits& limits) {
  if (file.size() < kLengthBytes)
    corrupt(what, fmt::format("{} bytes is too short for safetensors", file.size()));
  const uint64_t header_bytes = little_endian_u64(file);
  if (header_bytes > limits.max_header_bytes) {
    corrupt(what, fmt::format(
                      "the header claims {} bytes, the limit is {}; this is not a safetensors file",
                      header_bytes, limits.max_header_bytes));
  }
  if (header_bytes > file.size() - kLengthBytes) {
    corrupt(what, fmt::format("the file is truncated: its header needs {} bytes, {} are there",
                              header_bytes, file.size() - kLengthBytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data() + kLengthBytes),
                              header_bytes);
  const json::value parsed =
      json::parse(text, what, {.max_depth = 4, .max_bytes = limits.max_header_bytes});
  const json::object& object = json::as_object(parsed, what);
  if (object.size() > limits.max_tensors + 1) {
    corrupt(what, fmt::format("{} tensors, the limit is {}", object.size(), limits.max_tensors));
  }
  if (const auto keys = json::find_duplicate_key(text); !keys.empty()) {
    corrupt(what, keys.size() == 1
                      ? fmt::format("tensor {} is described twice", keys.front())
                      : fmt::format("tensor {}: {} is given twice", keys.front(), keys.back()));
  }

  SafetensorsHeader header;
  const uint64_t data_begin = kLengthBytes + header_bytes;
  for (const auto& member : object) {
    if (member.key() == kMetadata) {
      for (const auto& entry : json::as_object(member.value(), what)) {
        const auto* text_value = entry.value().if_string();
        if (!text_value) corrupt(what, "__metadata__ holds something other than strings");
        header.metadata.emplace(entry.key(), *text_value);
      }
      continue;
    }
    header.entries.push_back(parse_entry(member.key(), member.value(), data_begin, what));
  }
  check_tiling(header.entries, data_begin, file.size(), what);
  return header;
}

SafetensorsFile::SafetensorsFile(MappedFile file, const SafetensorsLimits& limits)
    : file_(std::move(file)), header_(parse_safetensors(file_.bytes(), file_.path(), limits)) {}

Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  // The map is read-only; Tensor has one pointer type for both uses, and nothing writes to weights.
  auto* data = const_cast<std::byte*>(file_.bytes().data()) + entry.begin;
  return Tensor::contiguous(data, entry.dtype, entry.shape);
}

void write_safetensors(const std::string& path, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::span<const std::byte>)>& on_bytes) {
  json::object header;
  json::object meta;
  for (const auto& [key, text] : metadata) meta[key] = text;
  if (!meta.empty()) header[kMetadata] = std::move(meta);
  int64_t offset = 0;
  std::set<std::string_view> names = {kMetadata};
  for (const SafetensorsItem& item : items) {
    CHECK(names.insert(item.name).second, "{} cannot be the name of this tensor", item.name);
    const int64_t bytes = item.shape.numel() * size_of(item.dtype);
    json::array sizes(item.shape.sizes().begin(), item.shape.sizes().end());
    header[item.name] = json::object{{"dtype", to_string(item.dtype)},
                                     {"shape", std::move(sizes)},
                                     {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  // Spaces pad the header so that the data starts on a cache line of the file.
  std::string text = json::to_text(header);
  text.append((64 - (kLengthBytes + text.size()) % 64) % 64, ' ');
  std::string length(kLengthBytes, '\0');
  for (size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));

  FileWriter writer(path);
  const auto put = [&](std::span<const std::byte> bytes) {
    writer.write(bytes);
    if (on_bytes) on_bytes(bytes);
  };
  put(std::as_bytes(std::span(length)));
  put(std::as_bytes(std::span(text)));
  for (const SafetensorsItem& item : items) {
    int64_t written = 0;
    for (const Tensor& part : item.parts) {
      CHECK(part.dtype == item.dtype, "{}: part is {}", item.name, to_string(part));
      put(part.as<std::byte>());
      written += part.numel();
    }
    CHECK(written == item.shape.numel(), "{}: parts hold {} elements of {}", item.name, written,
          to_string(item.shape));
  }
  writer.close();
}

}  // namespace millrace
