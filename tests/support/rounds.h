// How long a long test is.
#pragma once

namespace millrace::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// All rounds, or a tenth of them under a sanitizer: there a round takes several times as long, and
// what is looked for, memory and threads, is the same in each.
constexpr int rounds(int all) {
  return kSanitized ? (all + 9) / 10 : all;
}

}  // namespace millrace::test
