// What the system says about its memory, and that it says anything.
#include "base/memory_info.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(MemoryInfo, ReadsWhatIsAvailable) {
  EXPECT_EQ(parse_available_memory("MemTotal:       24615452 kB\nMemFree:        1 kB\n"
                                   "MemAvailable:   21470328 kB\nBuffers:         1 kB\n"),
            int64_t{21470328} * 1024);
  EXPECT_EQ(parse_available_memory("MemTotal: 5 kB\n"), -1);
  EXPECT_EQ(parse_available_memory("MemAvailable:"), -1);
  EXPECT_EQ(parse_available_memory(""), -1);
}

TEST(MemoryInfo, ThisMachineHasSome) {
  EXPECT_GT(available_memory_bytes(), 16 << 20);
}

}  // namespace
}  // namespace millrace
