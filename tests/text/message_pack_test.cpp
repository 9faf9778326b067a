// The bytes of each kind of value.
#include "text/message_pack.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

using namespace std::string_literals;

// Bytes by the specification (msgpack/spec.md).
TEST(MessagePack, WritesEachKind) {
  EXPECT_EQ(to_message_pack("null"), "\xc0");
  EXPECT_EQ(to_message_pack("[true,false]"), "\x92\xc3\xc2");
  EXPECT_EQ(to_message_pack("[0,127,128,-1,-33]"), "\x95\x00\x7f\xcc\x80\xff\xd0\xdf"s);
  EXPECT_EQ(to_message_pack("1.5"), "\xca\x3f\xc0\x00\x00"s);
  EXPECT_EQ(to_message_pack(R"({"a":"b\u00e9"})"),
            "\x81\xa1"
            "a\xa3"
            "b\xc3\xa9");
  EXPECT_EQ(to_message_pack("0.1"), "\xca\x3d\xcc\xcc\xcd");  // the float nearest to 0.1
}

}  // namespace
}  // namespace millrace
