// What the memory of this machine gives: the ceiling of everything that reads weights once.
#pragma once

#include "base/thread_pool.h"

namespace millrace::cpu {

// Bytes per second that all threads of the pool read at once from memory that no cache holds: the
// best of some runs, a third of a second in all.
double measure_read_rate(ThreadPool& pool);

}  // namespace millrace::cpu
