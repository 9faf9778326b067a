// Ctrl-C, as the handlers of commands note it.
#pragma once

#include <atomic>

namespace millrace {

inline std::atomic<bool> ctrl_c_pressed{
    false};  // global, because signal handlers reach nothing else

}  // namespace millrace
