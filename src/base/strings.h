// Small operations on text that several floors need.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Without spaces, tabs and line ends at either end.
std::string_view trim(std::string_view text);

// Quoted and escaped: `text`, UTF-8, as a string of JSON. What a terminal would act on is escaped
// too.
void append_json_string(std::string& out, std::string_view text);
std::string to_json_string(std::string_view text);

}  // namespace millrace
