// What the parser takes, what it refuses and with which status; the same whole and in pieces.
#include "http/parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {
namespace {

struct Outcome {
  int status = 0;  // 0: accepted; -1: incomplete
  std::string message;
  Request request;
  bool keep_alive = false;
  size_t used = 0;
};

// Feeds `bytes` in pieces: `piece` bytes become visible at a time.
Outcome parse(std::string_view bytes, ParserLimits limits = {}, size_t piece = SIZE_MAX) {
  RequestParser parser(limits);
  size_t used = 0;
  size_t visible = 0;
  while (visible < bytes.size()) {
    visible += std::min(piece, bytes.size() - visible);
    used += parser.feed(bytes.substr(used, visible - used));
    if (parser.failed())
      return {.status = parser.failure().status, .message = parser.failure().message};
    if (parser.done()) {
      const bool keep_alive = parser.keep_alive();
      return {.request = parser.take(), .keep_alive = keep_alive, .used = used};
    }
  }
  return {.status = -1};
}

TEST(RequestParser, ReadsARequestWithBody) {
  const std::string text =
      "POST /v1/models/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: h:80\r\nX-Two: a\r\nx-two:  b \r\n"
      "Content-Length: 5\r\n\r\nhelloNEXT";
  const Outcome got = parse(text);
  ASSERT_EQ(got.status, 0) << got.message;
  EXPECT_EQ(got.request.method, "POST");
  EXPECT_EQ(got.request.target, "/v1/models/a%2Fb?x=1&y=%20");
  EXPECT_EQ(got.request.path, "/v1/models/a/b");
  EXPECT_EQ(got.request.query, "x=1&y=%20");
  EXPECT_EQ(got.request.version, 11);
  EXPECT_EQ(got.request.headers.find("X-TWO"), "a");
  EXPECT_EQ(got.request.headers.count("x-two"), 2u);
  EXPECT_EQ(got.request.body, "hello");
  EXPECT_TRUE(got.keep_alive);
  EXPECT_EQ(text.substr(got.used), "NEXT");
}

TEST(RequestParser, JoinsChunksAndDropsTrailers) {
  const std::string text =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5\r\nhello\r\n6;ext=\"v\"\r\n world\r\n0\r\nX-Trailer: t\r\n\r\nNEXT";
  const Outcome got = parse(text);
  ASSERT_EQ(got.status, 0) << got.message;
  EXPECT_EQ(got.request.body, "hello world");
  EXPECT_FALSE(got.request.headers.find("x-trailer").has_value());
  EXPECT_EQ(text.substr(got.used), "NEXT");
}

TEST(RequestParser, TellsWhetherTheClientGoesOn) {
  const auto keeps = [](const std::string& version, const std::string& extra) {
    const Outcome got = parse("GET / HTTP/" + version + "\r\nHost: h\r\n" + extra + "\r\n");
    EXPECT_EQ(got.status, 0) << got.message;
    return got.keep_alive;
  };
  EXPECT_TRUE(keeps("1.1", ""));
  EXPECT_FALSE(keeps("1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: keep-alive, Close\r\n"));
  EXPECT_FALSE(keeps("1.0", ""));
  EXPECT_TRUE(keeps("1.0", "Connection: Keep-Alive\r\n"));
}

struct Row {
  const char* name;
  int status;  // 0: accepted
  std::string text;
};

// "~" stands for CR LF.
std::string wire(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '~') {
      out += "\r\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::vector<Row> rows() {
  using namespace std::string_literals;
  const std::string te = "POST / HTTP/1.1~Host: h~Transfer-Encoding: chunked~~";
  const auto target = [](const std::string& t) { return "GET " + t + " HTTP/1.1~Host: h~~"; };
  const auto header = [](const std::string& h) { return "GET / HTTP/1.1~Host: h~" + h + "~~"; };
  const auto length = [](const std::string& l) {
    return "POST / HTTP/1.1~Host: h~Content-Length:" + l + "~~hello";
  };
  const auto coding = [](const std::string& c) {
    return "POST / HTTP/1.1~Host: h~Transfer-Encoding:" + c + "~~0~~";
  };
  return {
      // Request line.
      {"plain", 0, target("/")},
      {"query only", 0, target("/?")},
      {"absolute form", 0, target("http://example.org:80/a?b")},
      {"absolute form without path", 0, target("http://example.org")},
      {"asterisk", 0, "OPTIONS * HTTP/1.1~Host: h~~"},
      {"empty lines in front", 0, "~~GET / HTTP/1.1~Host: h~~"},
      {"utf-8 in path", 0, target("/%C3%A9")},
      {"too many empty lines", 400, "~~~~GET / HTTP/1.1~Host: h~~"},
      {"no version", 400, "GET /~Host: h~~"},
      {"http/0.9", 400, "GET /~~"},
      {"http/1.2", 505, "GET / HTTP/1.2~Host: h~~"},
      {"http/2.0", 505, "GET / HTTP/2.0~Host: h~~"},
      {"http/2 preface", 505, "PRI * HTTP/2.0~~SM~~"},
      {"lower-case protocol", 505, "GET / http/1.1~Host: h~~"},
      {"tls hello", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s},
      {"empty method", 400, " / HTTP/1.1~Host: h~~"},
      {"method with a separator", 400, "GE(T / HTTP/1.1~Host: h~~"},
      {"method too long", 501, std::string(33, 'A') + " / HTTP/1.1~Host: h~~"},
      {"two spaces", 400, "GET  / HTTP/1.1~Host: h~~"},
      {"tab for a space", 400, "GET\t/ HTTP/1.1~Host: h~~"},
      {"space behind the version", 505, "GET / HTTP/1.1 ~Host: h~~"},
      {"target without slash", 400, target("x")},
      {"authority form", 400, "CONNECT h:443 HTTP/1.1~Host: h~~"},
      {"absolute form without host", 400, target("http:///x")},
      {"fragment", 400, target("/a#b")},
      {"raw utf-8 in target", 400, target("/\xc3\xa9")},
      {"bad percent", 400, target("/%zz")},
      {"cut percent", 400, target("/%4")},
      {"encoded nul", 400, target("/a%00b")},
      {"encoded newline", 400, target("/a%0Ab")},
      {"encoded invalid utf-8", 400, target("/%FF")},
      {"encoded overlong utf-8", 400, target("/%C0%AF")},
      {"encoded surrogate", 400, target("/%ED%A0%80")},
      // Lines and headers.
      {"bare lf ends request line", 400, "GET / HTTP/1.1\nHost: h~~"},
      {"bare lf ends header", 400, "GET / HTTP/1.1~Host: h\nX: y~~"},
      {"bare lf ends head", 400, "GET / HTTP/1.1~Host: h\n\n"},
      {"bare cr in value", 400, header("X: a\rb")},
      {"bare cr before crlf", 400, header("X: a\r")},
      {"nul in value", 400, header("X: a\0b"s)},
      {"control in value", 400, header("X: a\x01")},
      {"delete in value", 400, header("X: a\x7f")},
      {"tab in value", 0, header("X: a\tb")},
      {"obs-text in value", 0, header("X: \xe9")},
      {"folded line", 400, header("X: a~ b")},
      {"folded with tab", 400, header("X: a~\tb")},
      {"folded first header", 400, "GET / HTTP/1.1~ Host: h~~"},
      {"space before colon", 400, header("X : a")},
      {"no colon", 400, header("X")},
      {"empty name", 400, header(": a")},
      {"nul in name", 400, header("X\0Y: a"s)},
      {"no host", 400, "GET / HTTP/1.1~~"},
      {"no host in 1.0", 0, "GET / HTTP/1.0~~"},
      {"two hosts", 400, header("Host: h")},
      {"two different hosts", 400, header("hOST: other")},
      {"host with a path", 400, "GET / HTTP/1.1~Host: a/b~~"},
      {"unknown expectation", 417, header("Expect: 200-ok")},
      // Where does the body end? Two readers must not disagree.
      {"length", 0, length(" 5")},
      {"length with leading zero", 0, length(" 05")},
      {"length twice", 400, length(" 5~Content-Length: 5")},
      {"length twice, different", 400, length(" 5~Content-Length: 6")},
      {"length as list", 400, length(" 5, 5")},
      {"length as list of two", 400, length(" 5, 6")},
      {"length empty", 400, length("")},
      {"length with plus", 400, length(" +5")},
      {"length negative", 400, length(" -5")},
      {"length hexadecimal", 400, length(" 0x5")},
      {"length with text", 400, length(" 5a")},
      {"length with inner space", 400, length(" 5 5")},
      {"length fractional", 400, length(" 5.0")},
      {"length beyond 64 bits", 400, length(" 18446744073709551621")},
      {"length huge", 413, length(" 18446744073709551615")},
      {"length and chunked", 400, coding(" chunked~Content-Length: 5")},
      {"chunked and length", 400, length(" 5~Transfer-Encoding: chunked")},
      {"unknown coding and length", 400, coding(" gzip~Content-Length: 5")},
      {"chunked", 0, coding(" chunked")},
      {"chunked in 1.0", 400, "POST / HTTP/1.0~Host: h~Transfer-Encoding: chunked~~0~~"},
      {"chunked twice", 400, coding(" chunked~Transfer-Encoding: chunked")},
      {"chunked twice in a list", 501, coding(" chunked, chunked")},
      {"gzip, chunked", 501, coding(" gzip, chunked")},
      {"chunked, gzip", 501, coding(" chunked, gzip")},
      {"identity", 501, coding(" identity")},
      {"identity then chunked", 501, coding(" identity~Transfer-Encoding: chunked")},
      {"quoted chunked", 501, coding(" \"chunked\"")},
      {"xchunked", 501, coding(" xchunked")},
      {"chunked with vertical tab", 400,
       coding(" \x0b"
              "chunked")},
      {"empty coding", 501, coding("")},
      {"coding with space before colon", 400,
       "POST / HTTP/1.1~Host: h~Transfer-Encoding : chunked~~0~~"},
      // Chunks.
      {"chunks", 0, te + "3~abc~A~0123456789~0~~"},
      {"chunk size in hex, both cases", 0, te + "a~0123456789~B~0123456789a~0~~"},
      {"chunk size with zeros", 0, te + "0003~abc~000~~"},
      {"chunk extension", 0, te + "3;a=b;c~abc~0;d~~"},
      {"chunk size empty", 400, te + "~abc~0~~"},
      {"chunk size not hex", 400, te + "g~abc~0~~"},
      {"chunk size negative", 400, te + "-1~abc~0~~"},
      {"chunk size with plus", 400, te + "+3~abc~0~~"},
      {"chunk size with 0x", 400, te + "0x3~abc~0~~"},
      {"chunk size with space in front", 400, te + " 3~abc~0~~"},
      {"chunk size with space behind", 400, te + "3 ~abc~0~~"},
      {"chunk size beyond 64 bits", 400, te + "10000000000000003~abc~0~~"},
      {"chunk size huge", 413, te + "ffffffffffffffff~abc~0~~"},
      {"chunk ends late", 400, te + "3~abcd~0~~"},
      {"chunk line ends with lf", 400, te + "3\nabc~0~~"},
      {"chunk data ends with lf", 400, te + "3~abc\n0~~"},
      {"chunk line with bare cr", 400, te + "3\rX~abc~0~~"},
      {"control in chunk extension", 400, te + "3;a\x01~abc~0~~"},
      {"trailer", 0, te + "0~X: y~~"},
      {"length in trailer is dropped", 0, te + "0~Content-Length: 5~~"},
      {"coding in trailer is dropped", 0, te + "0~Transfer-Encoding: chunked~~"},
      {"trailer without colon", 400, te + "0~X y~~"},
      {"trailer folded", 400, te + "0~X: y~ z~~"},
      {"trailer with bare lf", 400, te + "0~X: y\n~"},
      {"trailer with control", 400, te + "0~X: y\x01~~"},
      {"space before chunk extension", 400, te + "3 ;a~abc~0~~"},
  };
}

class ParserRows : public testing::TestWithParam<Row> {};

TEST_P(ParserRows, HasItsStatusWholeAndInPieces) {
  const Row& row = GetParam();
  const std::string text = wire(row.text);
  const Outcome whole = parse(text);
  EXPECT_EQ(whole.status, row.status) << whole.message;
  for (size_t piece : {1, 2, 3, 7}) {
    const Outcome pieces = parse(text, {}, piece);
    EXPECT_EQ(pieces.status, row.status) << "in pieces of " << piece << ": " << pieces.message;
    EXPECT_EQ(pieces.request.body, whole.request.body);
    EXPECT_EQ(pieces.used, whole.used);
  }
}

std::string row_name(const testing::TestParamInfo<Row>& row) {
  std::string name = std::to_string(row.index) + "_";
  for (char c : std::string_view(row.param.name)) {
    name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, ParserRows, testing::ValuesIn(rows()), row_name);

TEST(RequestParserLimits, HoldExactly) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n";
  const std::string text = head + "0123456789";
  EXPECT_EQ(parse(text, {.max_header_bytes = head.size()}).status, 0);
  EXPECT_EQ(parse(text, {.max_header_bytes = head.size() - 1}).status, 431);
  EXPECT_EQ(parse(text, {.max_header_bytes = 10}).status, 414);
  EXPECT_EQ(parse(text, {.max_headers = 2}).status, 0);
  EXPECT_EQ(parse(text, {.max_headers = 1}).status, 431);
  EXPECT_EQ(parse(text, {.max_body_bytes = 10}).status, 0);
  EXPECT_EQ(parse(text, {.max_body_bytes = 9}).status, 413);
  const std::string chunked =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
  EXPECT_EQ(parse(chunked, {.max_body_bytes = 10}).status, 0);
  EXPECT_EQ(parse(chunked, {.max_body_bytes = 9}).status, 413);
}

TEST(RequestParserLimits, EndlessFramingIsRefused) {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  const ParserLimits limits{.max_header_bytes = 4096};
  EXPECT_EQ(parse(head + "3;" + std::string(10'000, 'a'), limits, 100).status, 400);
  EXPECT_EQ(parse(head + "0\r\nX: " + std::string(10'000, 'a'), limits, 100).status, 400);
  std::string many = head;  // many small chunks, each with an extension far larger than itself
  for (int i = 0; i < 1000; ++i) many += "1;" + std::string(100, 'a') + "\r\nx\r\n";
  EXPECT_EQ(parse(many, limits).status, 400);
  std::string tiny = head;  // many small chunks alone are slow but honest
  for (int i = 0; i < 100'000; ++i) tiny += "1\r\nx\r\n";
  const Outcome got = parse(tiny + "0\r\n\r\n", limits, 1000);
  EXPECT_EQ(got.status, 0) << got.message;
  EXPECT_EQ(got.request.body.size(), 100'000u);
}

TEST(RequestParser, ServesOneRequestAfterAnother) {
  RequestParser parser({});
  const std::string one = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
  const std::string two = "GET /b HTTP/1.0\r\n\r\n";
  const std::string both = one + two;
  EXPECT_EQ(parser.feed(both), one.size());
  ASSERT_TRUE(parser.done());
  EXPECT_EQ(parser.take().path, "/a");
  parser.reset();
  EXPECT_FALSE(parser.started());
  EXPECT_EQ(parser.feed(two), two.size());
  ASSERT_TRUE(parser.done());
  EXPECT_FALSE(parser.keep_alive());
  const Request request = parser.take();
  EXPECT_EQ(request.path, "/b");
  EXPECT_EQ(request.headers.size(), 0u);
  EXPECT_EQ(request.body, "");
}

// Random edits of a good request: whatever the verdict, it does not depend on how bytes arrive.
TEST(RequestParser, VerdictDoesNotDependOnThePieces) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  const std::string alphabet = "\r\n\r\n\r\n :;,0019afAF\t%/hckuned\x01\x80";
  const std::string good =
      "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
      "5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n";
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (size_t edits = 1 + below(3); edits > 0; --edits) {
      const size_t at = below(text.size());
      const char c = alphabet[below(alphabet.size())];
      switch (below(3)) {
        case 0: text[at] = c; break;
        case 1: text.insert(at, 1, c); break;
        case 2: text.erase(at, 1); break;
      }
    }
    const Outcome whole = parse(text);
    const Outcome pieces = parse(text, {}, 1 + below(9));
    ASSERT_EQ(whole.status, pieces.status) << testing::PrintToString(text);
    ASSERT_EQ(whole.request.body, pieces.request.body) << testing::PrintToString(text);
    ASSERT_EQ(whole.used, pieces.used) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace millrace::http
