// DynamicLibrary: a shared library opened at run time.
#pragma once

#include <span>
#include <string>

#include "base/error.h"

namespace millrace {

// Stays open until the process ends: what it handed out may live anywhere. Copyable.
class DynamicLibrary {
 public:
  // Opens the first of these names or paths that can be opened; not open when none can.
  // `problem()` then says why, for the last one.
  static DynamicLibrary open(std::span<const std::string> candidates);

  explicit operator bool() const { return handle_ != nullptr; }
  const std::string& problem() const { return problem_; }
  std::string path() const;  // of the file, as the loader found it

  // The symbol, or nullptr.
  void* find(const char* symbol) const;

  // Sets a pointer to the function of that name, which must be there.
  template <typename F>
  void look_up(F*& function, const char* symbol) const {
    function = reinterpret_cast<F*>(find(symbol));
    CHECK(function, "{} has no {}", path(), symbol);
  }

 private:
  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace millrace
