// The call, and what it reports.
#include "text/message_pack.h"

#include <millrace_bridge.h>

#include "base/error.h"

namespace millrace {

std::string to_message_pack(std::string_view json) {
  MrError error{};
  const MrSlice slice{.data = reinterpret_cast<const uint8_t*>(json.data()), .size = json.size()};
  const MrBuffer buffer = mr_json_to_message_pack(slice, &error);
  if (error.code != MR_ERROR_CODE_OK) {
    const std::string message(reinterpret_cast<const char*>(error.message.data),
                              error.message.size);
    mr_buffer_free(error.message);
    throw InternalError("MessagePack: " + message);
  }
  std::string out(reinterpret_cast<const char*>(buffer.data), buffer.size);
  mr_buffer_free(buffer);
  return out;
}

}  // namespace millrace
