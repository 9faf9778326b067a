// Which calls fail, and what is refused.
#include "runtime/failure_injection.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "ops/cuda_backend.h"

namespace millrace {
namespace {

// "..x.": of four calls the third one failed.
std::string calls(FailureInjection injection, FailurePoint point, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    try {
      injection.at(point);
      text += '.';
    } catch (const Error&) {
      text += 'x';
    }
  }
  return text;
}

TEST(FailureInjection, IsOffWhereNothingIsSaid) {
  EXPECT_EQ(calls({}, FailurePoint::kLaunch, 4), "....");
  EXPECT_EQ(calls(FailureInjection(""), FailurePoint::kStep, 4), "....");
}

TEST(FailureInjection, FailsAtItsPointAsOftenAsItSays) {
  EXPECT_EQ(calls(FailureInjection("launch:every=3"), FailurePoint::kLaunch, 7), "..x..x.");
  EXPECT_EQ(calls(FailureInjection("launch:every=3"), FailurePoint::kStep, 7), ".......");
  EXPECT_EQ(calls(FailureInjection("step:at=2,step:at=5"), FailurePoint::kStep, 6), ".x..x.");
  EXPECT_EQ(calls(FailureInjection("alloc:at=1,sample:every=1"), FailurePoint::kSample, 3), "xxx");
  FailureInjection lost("device:at=1");
  EXPECT_THROW(lost.at(FailurePoint::kDevice), DeviceLost);
}

TEST(FailureInjection, WhatCannotBeReadIsRefused) {
  for (const char* text :
       {"launch", "launch:3", "launch:every=0", "launch:every=x", "launch:at=", "nowhere:at=1",
        "launch:never=1", ",", "launch:at=1;step:at=2", "launch=every:3"}) {
    EXPECT_THROW(FailureInjection{text}, Error) << text;
  }
}

}  // namespace
}  // namespace millrace
