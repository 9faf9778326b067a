// The name of the calling thread, as top -H, gdb and profilers show it.
#pragma once

namespace millrace {

void name_thread(const char* name);  // at most 15 characters

}  // namespace millrace
