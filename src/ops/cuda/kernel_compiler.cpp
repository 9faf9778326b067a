// One program per instance: a file that includes the template's text and names the instance.
#include "ops/cuda/kernel_compiler.h"

#include <charconv>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "ops/cuda/kernel_sources.h"
#include "ops/cuda/library_path.h"

namespace millrace::cuda {

namespace {

// The number that stands before the first `words`; 0 where they are not.
int number_before(std::string_view log, std::string_view words) {
  const size_t end = log.find(words);
  if (end == std::string_view::npos) return 0;
  size_t begin = end;
  while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') --begin;
  int number = 0;
  std::from_chars(log.data() + begin, log.data() + end, number);
  return number;
}

// What the assembler says of a kernel in the log of `-v`.
KernelResources parse_resources(const std::string& log) {
  const KernelResources found = {.registers = number_before(log, " registers"),
                                 .shared_bytes = number_before(log, " bytes smem"),
                                 .stack_bytes = number_before(log, " bytes stack frame"),
                                 .spill_bytes = number_before(log, " bytes spill stores") +
                                                number_before(log, " bytes spill loads")};
  CHECK(found.registers > 0, "the assembler's report has another form:\n{}", log);
  return found;
}

}  // namespace

KernelCompiler::KernelCompiler()
    : library_(open_nvidia_library("libnvrtc.so.13", "compiling kernels", "nvidia-cuda-nvrtc")) {
  library_.look_up(api_.version, "nvrtcVersion");
  library_.look_up(api_.error_text, "nvrtcGetErrorString");
  library_.look_up(api_.create, "nvrtcCreateProgram");
  library_.look_up(api_.destroy, "nvrtcDestroyProgram");
  library_.look_up(api_.add_name, "nvrtcAddNameExpression");
  library_.look_up(api_.compile, "nvrtcCompileProgram");
  library_.look_up(api_.log_size, "nvrtcGetProgramLogSize");
  library_.look_up(api_.log, "nvrtcGetProgramLog");
  library_.look_up(api_.cubin_size, "nvrtcGetCUBINSize");
  library_.look_up(api_.cubin, "nvrtcGetCUBIN");
  int major = 0;
  int minor = 0;
  check(api_.version(&major, &minor), "nvrtcVersion");
  version_ = fmt::format("nvrtc {}.{}", major, minor);
  // NVRTC opens this one by its bare name, which finds it only once it is loaded.
  const std::string path = library_.path();
  const std::string builtins = fmt::format("libnvrtc-builtins.so.{}.{}", major, minor);
  const std::string names[] = {path.substr(0, path.rfind('/') + 1) + builtins, builtins};
  const DynamicLibrary loaded = DynamicLibrary::open(names);
  if (!loaded) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} lacks its {}: {}", path, builtins, loaded.problem()),
                "install NVRTC again: both belong into one folder");
  }
}

void KernelCompiler::check(nvrtcResult result, const char* call) const {
  CHECK(result == NVRTC_SUCCESS, "{}: {}", call, api_.error_text(result));
}

CompiledKernel KernelCompiler::compile(const KernelInstance& instance, Arch arch) const {
  std::vector<const char*> texts;
  std::vector<const char*> names;
  for (const KernelSource& source : kernel_sources()) {
    texts.push_back(source.text.data());  // literals: zero-terminated
    names.push_back(source.name.data());
  }
  const std::string text =
      fmt::format("#include \"{}.cuh\"\nusing namespace millrace::cuda;\n", instance.function());
  nvrtcProgram program = nullptr;
  check(api_.create(&program, text.c_str(), "kernel.cu", static_cast<int>(texts.size()),
                    texts.data(), names.data()),
        "nvrtcCreateProgram");
  const auto destroy = [this](nvrtcProgram p) { api_.destroy(&p); };
  const std::unique_ptr<std::remove_pointer_t<nvrtcProgram>, decltype(destroy)> owner(program,
                                                                                      destroy);
  const std::string instance_name = instance.name();
  check(api_.add_name(program, instance_name.c_str()), "nvrtcAddNameExpression");
  const std::string architecture = "--gpu-architecture=" + to_string(arch);
  // Without NVRTC's own cache, which gives machine code without the assembler's report: ours keeps
  // both.
  const char* options[] = {architecture.c_str(), "--std=c++20", "-default-device", "--no-cache",
                           "--ptxas-options=-v"};
  const nvrtcResult result = api_.compile(program, std::size(options), options);
  size_t size = 0;
  check(api_.log_size(program, &size), "nvrtcGetProgramLogSize");
  std::string log(size, '\0');
  check(api_.log(program, log.data()), "nvrtcGetProgramLog");
  CHECK(result == NVRTC_SUCCESS, "{} does not compile for {}:\n{}", instance_name, to_string(arch),
        log);
  check(api_.cubin_size(program, &size), "nvrtcGetCUBINSize");
  CompiledKernel kernel{.binary = {.name = instance_name}, .resources = parse_resources(log)};
  kernel.binary.cubin.resize(size);
  check(api_.cubin(program, kernel.binary.cubin.data()), "nvrtcGetCUBIN");
  return kernel;
}

}  // namespace millrace::cuda
