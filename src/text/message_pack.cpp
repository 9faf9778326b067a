// The call, and what it reports.
#include "text/message_pack.h"

#include "base/error.h"
#include "text/bridge_bytes.h"

namespace millrace {

std::string to_message_pack(std::string_view json) {
  MrError error{};
  const MrBuffer buffer = mr_json_to_message_pack(as_slice(json), &error);
  if (error.code != MR_ERROR_CODE_OK) throw InternalError("MessagePack: " + take(error.message));
  return take(buffer);
}

}  // namespace millrace
