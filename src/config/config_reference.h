// The reference page of config.yaml, written from the field table and the table of codes.
#pragma once

#include <string>

namespace millrace {

std::string config_reference_markdown();  // docs/config.md, byte for byte

}  // namespace millrace
