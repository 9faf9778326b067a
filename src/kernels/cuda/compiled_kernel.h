// CompiledKernel: the machine code of one instance for one architecture.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/arch.h"

namespace millrace::cuda {

struct KernelBinary {
  std::string name;   // KernelInstance::name()
  std::string cubin;  // an ELF file that holds this kernel alone
};

// As the assembler reports it. A kernel that spills keeps values in memory that should lie in
// registers: none of ours may.
struct KernelResources {
  int registers = 0;     // per thread
  int shared_bytes = 0;  // per block, beside what a launch asks for
  int stack_bytes = 0;   // per thread
  int spill_bytes = 0;   // per thread, stores and loads
};

struct CompiledKernel {
  KernelBinary binary;
  KernelResources resources;
};

// All kernels of a model for one architecture, and what they were made from.
struct KernelArchive {
  Arch arch;
  std::string compiler;        // "nvrtc 13.0"
  std::string sources_digest;  // of the kernels' text: who launches them must have the same
  std::vector<KernelBinary> kernels;
};

}  // namespace millrace::cuda
