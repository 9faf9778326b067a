// How often something is due.
#include "runtime/backoff.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

// How many times due() says no before it says yes.
int skipped(Backoff& backoff) {
  int count = 0;
  while (!backoff.due()) ++count;
  return count;
}

TEST(Backoff, GrowsRareInVainAndComesBackWhenItPays) {
  Backoff backoff;
  for (const int expected : {0, 1, 3, 7, 15, 31, 63, 63}) {
    EXPECT_EQ(skipped(backoff), expected);
    backoff.tried(false);
  }
  backoff.tried(true);
  EXPECT_EQ(skipped(backoff), 0);
  EXPECT_EQ(skipped(backoff), 0) << "only trying makes it rarer";
}

}  // namespace
}  // namespace millrace
