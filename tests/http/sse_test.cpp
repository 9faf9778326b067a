// Events as text and back, however the bytes are cut.
#include "http/sse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace millrace::http {
namespace {

struct Read {
  std::vector<std::string> events;  // "type|data"
  bool failed = false;
};

Read read(std::string_view bytes, size_t piece, SseLimits limits = {}) {
  SseParser parser(limits);
  Read out;
  while (!bytes.empty()) {
    const std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    const bool good = parser.feed(
        now, [&](const SseEvent& event) { out.events.push_back(event.type + "|" + event.data); });
    EXPECT_EQ(good, !parser.failed());
  }
  out.failed = parser.failed();
  return out;
}

TEST(Sse, WritesAFieldForEachLine) {
  EXPECT_EQ(sse_event("[DONE]"), "data: [DONE]\n\n");
  EXPECT_EQ(sse_event(""), "data: \n\n");
  EXPECT_EQ(sse_event("a\nb\r\nc\rd\n"), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
}

TEST(Sse, ReadsWhatTheSpecificationShows) {
  // The examples of section 9.2.6, and what its parser rules say beside them.
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"data: YHOO\ndata: +2\ndata: 10\n\n", {"message|YHOO\n+2\n10"}},
      {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
       {"message|first event", "message|second event", "message| third"}},
      {"data\n\ndata\ndata\n\ndata:", {"message|", "message|\n"}},
      {"event: add\ndata: 7\n\ndata: 8\n\n", {"add|7", "message|8"}},
      {"event: lost\n\nretry: 3\n\n: ping\n\n", {}},
      {"\xEF\xBB\xBF"
       "data: bom\n\ndata: \xEF\xBB\xBF"
       "kept\n\n",
       {"message|bom",
        "message|\xEF\xBB\xBF"
        "kept"}},
      {"data: a\r\n\r\ndata: b\r\rdata: c\n\r\ndata: d\r\n\n",
       {"message|a", "message|b", "message|c", "message|d"}},
      {"data: no end\n", {}},
      {"database: x\nDATA: y\n\n", {}},
      {"data: a:b: c\n\n", {"message|a:b: c"}}};
  for (const auto& [text, events] : cases) {
    for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, text.size()}) {
      const Read got = read(text, piece);
      EXPECT_EQ(got.events, events) << text << " in pieces of " << piece;
      EXPECT_FALSE(got.failed);
    }
  }
}

TEST(Sse, ReadsWhatItWrites) {
  for (const std::string data : {"", "x", "{\"a\":1}", "two\nlines", "\n", " space", ":"}) {
    EXPECT_EQ(read(sse_event(data), 3).events, (std::vector<std::string>{"message|" + data}));
  }
}

TEST(Sse, StopsAtItsLimits) {
  const SseLimits limits{.max_line_bytes = 16, .max_event_bytes = 20};
  for (const size_t piece : {1, 5, 100}) {
    EXPECT_FALSE(read("data: 0123456789\n\n", piece, limits).failed);  // 16
    EXPECT_TRUE(read("data: 0123456789a\n\n", piece, limits).failed);
    EXPECT_TRUE(read(": " + std::string(20, 'c'), piece, limits).failed);
    const Read two =
        read("data: 1\n\ndata: 012345678\ndata: 012345678\ndata: 3\n\n", piece, limits);
    EXPECT_TRUE(two.failed);
    EXPECT_EQ(two.events, (std::vector<std::string>{"message|1"}));
  }
}

}  // namespace
}  // namespace millrace::http
