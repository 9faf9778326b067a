// Machine code as tensors of bytes in a safetensors file.
#include "checkpoint/kernel_archive_file.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace millrace {

namespace {

constexpr std::string_view kFormat = "millrace-kernels";

}  // namespace

std::string kernel_archive_name(cuda::Arch arch) {
  return "kernels/" + to_string(arch) + ".safetensors";
}

void write_kernel_archive(const std::filesystem::path& path, const cuda::KernelArchive& archive) {
  std::vector<SafetensorsItem> items;
  for (const cuda::KernelBinary& kernel : archive.kernels) {
    const Shape shape = {static_cast<int64_t>(kernel.cubin.size())};
    items.push_back(
        {.name = kernel.name,
         .dtype = DType::kU8,
         .shape = shape,
         .parts = {Tensor::contiguous(const_cast<char*>(kernel.cubin.data()), DType::kU8, shape)}});
  }
  std::ranges::sort(items, {}, &SafetensorsItem::name);
  write_safetensors(path.string(), items,
                    {{"format", std::string(kFormat)},
                     {"arch", to_string(archive.arch)},
                     {"compiler", archive.compiler},
                     {"sources_digest", archive.sources_digest}});
}

cuda::KernelArchive read_kernel_archive(const std::filesystem::path& path) {
  const SafetensorsFile file(path.string());
  const auto& metadata = file.header().metadata;
  const auto field = [&](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? std::string() : found->second;
  };
  const auto arch = cuda::arch_from_name(field("arch"));
  if (field("format") != kFormat || !arch) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{} holds no kernels of Millrace", path.string()),
                "compile them again: millrace build --add-target");
  }
  cuda::KernelArchive archive{
      .arch = *arch, .compiler = field("compiler"), .sources_digest = field("sources_digest")};
  for (const SafetensorsEntry& entry : file.header().entries) {
    const auto bytes = file.tensor(entry).as<const std::byte>();
    archive.kernels.push_back(
        {.name = entry.name,
         .cubin = std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())});
  }
  return archive;
}

}  // namespace millrace
