// How much memory of the machine a program may still take.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

// Bytes: what the system has available, and no more than the control group of this process allows.
// 0 where neither is known.
int64_t available_memory_bytes();

// Of the text of /proc/meminfo; -1 where it does not say.
int64_t parse_available_memory(std::string_view meminfo);

}  // namespace millrace
