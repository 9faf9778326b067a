// The file of an engine that holds the kernels of one architecture: docs/engine_format.md.
#pragma once

#include <filesystem>
#include <string>

#include "kernels/cuda/compiled_kernel.h"

namespace millrace {

// "kernels/sm_90a.safetensors", relative to the engine.
std::string kernel_archive_name(cuda::Arch arch);

// The same archive gives the same bytes.
void write_kernel_archive(const std::filesystem::path& path, const cuda::KernelArchive& archive);

// Throws Error{kCorrupt} for a file of another form. That it is unaltered is the manifest's to say.
cuda::KernelArchive read_kernel_archive(const std::filesystem::path& path);

}  // namespace millrace
