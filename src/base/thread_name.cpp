// Names for the kernel's eyes.
#include "base/thread_name.h"

#include <pthread.h>

namespace millrace {

void name_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

}  // namespace millrace
