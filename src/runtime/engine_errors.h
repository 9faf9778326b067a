// What engines answer when a request cannot be finished.
#pragma once

#include <exception>
#include <string>

namespace millrace {

// After stop(), or when the device failed for good. Error{kUnavailable}.
std::exception_ptr unavailable_error(bool device_lost);

std::exception_ptr deadline_error();  // Error{kCancelled}

// What is being handled, in words; for use in a catch clause.
std::string current_exception_text();

}  // namespace millrace
