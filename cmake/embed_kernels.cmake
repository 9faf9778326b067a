# Writes the texts of FILES (a list) as C++ literals into OUTPUT: see src/ops/cuda/kernel_sources.h.
set(entries "")
set(count 0)
foreach(path ${FILES})
  file(READ ${path} text)
  get_filename_component(name ${path} NAME)
  # A literal may be no longer than 64 KiB in some compilers; adjacent ones are joined.
  string(APPEND entries "    {\"${name}\", R\"kernel(${text})kernel\"},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Generated from src/kernels/cuda.
#include \"ops/cuda/kernel_sources.h\"

namespace millrace::cuda {

static const KernelSource kTexts[] = {
${entries}};

std::span<const KernelSource> kernel_sources() {
  return kTexts;
}

}  // namespace millrace::cuda
")
