// What a call throws, for tests of refusals.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace millrace::test {

// The Error that `call` throws; a failure of the test when it throws none.
template <typename Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::kCancelled, "nothing was thrown");
}

// The text of the InternalError that `call` throws.
template <typename Call>
std::string internal_error_of(Call call) {
  try {
    call();
  } catch (const InternalError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no CHECK failed";
  return {};
}

}  // namespace millrace::test
