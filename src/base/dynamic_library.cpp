// dlopen, dlsym and where a library lies.
#include "base/dynamic_library.h"

#include <dlfcn.h>
#include <link.h>

namespace millrace {

DynamicLibrary DynamicLibrary::open(std::span<const std::string> candidates) {
  DynamicLibrary library;
  for (const std::string& name : candidates) {
    library.handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library.handle_) break;
    const char* problem = ::dlerror();
    library.problem_ = problem ? problem : name + " cannot be opened";
  }
  return library;
}

std::string DynamicLibrary::path() const {
  link_map* map = nullptr;
  if (!handle_ || ::dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0 || !map) return {};
  return map->l_name;
}

void* DynamicLibrary::find(const char* symbol) const {
  return handle_ ? ::dlsym(handle_, symbol) : nullptr;
}

}  // namespace millrace
