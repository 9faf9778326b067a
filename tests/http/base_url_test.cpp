// Addresses of servers, as people write them.
#include "http/base_url.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace millrace::http {
namespace {

TEST(BaseUrl, TakesHostPortAndPrefix) {
  struct Case {
    const char* url;
    const char* host;
    uint16_t port;
    const char* prefix;
  };
  for (const Case& c :
       {Case{"http://h", "h", 80, ""}, Case{"http://h:8000/", "h", 8000, ""},
        Case{"http://h:8000/v1//", "h", 8000, "/v1"}, Case{"http://h/a/b", "h", 80, "/a/b"},
        Case{"http://[::1]:65535/x", "::1", 65535, "/x"}, Case{"http://[::1]", "::1", 80, ""}}) {
    const BaseUrl url = parse_base_url(c.url);
    EXPECT_EQ(url.host, c.host) << c.url;
    EXPECT_EQ(url.port, c.port) << c.url;
    EXPECT_EQ(url.prefix, c.prefix) << c.url;
  }
}

TEST(BaseUrl, RefusesWhatIsNone) {
  for (const char* url :
       {"", "h:8000", "https://h", "http://", "http://:80", "http://h:0", "http://h:65536",
        "http://h:8o", "http://h:", "http://u@h", "http://h?x", "http://h#x", "http://[::1",
        "http://[::1]8000", "http://h\r\nx: y", "http://h h", "http://h\xc3\xa9", "ftp://h"}) {
    EXPECT_THROW(parse_base_url(url), Error) << url;
  }
}

}  // namespace
}  // namespace millrace::http
