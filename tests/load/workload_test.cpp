// Lengths, texts and bodies of a load.
#include "load/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

int64_t count_words(const std::string& text) {
  return 1 + std::ranges::count(text, ' ');
}

TEST(LengthMix, DrawsWithinItsRangesByWeight) {
  const auto seed = std::random_device()();
  std::mt19937_64 random(seed);
  const LengthMix mix("5:3,100-200:1");
  std::map<int, int> drawn;
  constexpr int kDraws = 40'000;
  for (int i = 0; i < kDraws; ++i) ++drawn[mix.draw(random)];
  EXPECT_NEAR(drawn[5], 0.75 * kDraws, 6 * std::sqrt(0.75 * 0.25 * kDraws)) << seed;
  drawn.erase(5);
  EXPECT_EQ(drawn.begin()->first, 100);
  EXPECT_EQ(drawn.rbegin()->first, 200);
  EXPECT_EQ(drawn.size(), 101u) << seed;
  EXPECT_EQ(mix.min(), 5);
  EXPECT_EQ(mix.max(), 200);
}

TEST(LengthMix, SpreadsFromShortestToLongest) {
  EXPECT_EQ(LengthMix("5-510").spread(3), (std::vector<int>{5, 258, 510}));
  EXPECT_EQ(LengthMix("7").spread(2), (std::vector<int>{7, 7}));
  EXPECT_EQ(LengthMix("200-300,1").spread(4), (std::vector<int>{1, 1, 200, 300}));
  EXPECT_EQ(LengthMix("5-9").spread(1), (std::vector<int>{5}));
}

TEST(LengthMix, RefusesWhatIsNone) {
  for (const char* text : {"", "0", "-5", "5-", "5-4", "a", "5,", "5:0", "5:-1", "5:x", "5:nan",
                           "5:inf", "100001", "5 ", "1-2-3", "99999999999"}) {
    EXPECT_THROW(LengthMix{text}, Error) << text;
  }
}

TEST(RandomText, HasTwoWordsLessThanTokens) {
  std::mt19937_64 random(std::random_device{}());
  for (const int tokens : {1, 2, 3, 5, 100}) {
    EXPECT_EQ(count_words(random_text(tokens, random)), std::max(1, tokens - 2));
  }
}

json::value body_of(LoadRoute route, std::string model = {}, std::string encoding_format = {}) {
  Workload workload({.route = route,
                     .model = std::move(model),
                     .encoding_format = std::move(encoding_format),
                     .inputs_per_request = 3,
                     .lengths = LengthMix("5-9")});
  const WorkItem item = workload.next();
  EXPECT_EQ(item.num_inputs, 3);
  EXPECT_GE(item.num_tokens, 15);
  EXPECT_LE(item.num_tokens, 27);
  return json::parse(item.body, "body");
}

TEST(Workload, WritesTheBodiesOfItsRoutes) {
  const json::value embeddings = body_of(LoadRoute::kEmbeddings, "m", "base64");
  EXPECT_EQ(embeddings.at("input").as_array().size(), 3u);
  EXPECT_EQ(embeddings.at("model"), "m");
  EXPECT_EQ(embeddings.at("encoding_format"), "base64");
  const json::value plain = body_of(LoadRoute::kEmbeddings);
  EXPECT_EQ(plain.as_object().size(), 1u);
  EXPECT_EQ(body_of(LoadRoute::kEmbed).at("inputs").as_array().size(), 3u);
  const json::value rerank = body_of(LoadRoute::kRerank);
  EXPECT_TRUE(rerank.at("query").is_string());
  EXPECT_EQ(rerank.at("texts").as_array().size(), 3u);
  const json::value predict = body_of(LoadRoute::kPredict);
  for (const json::value& input : predict.at("inputs").as_array()) {
    ASSERT_EQ(input.as_array().size(), 1u);
    EXPECT_TRUE(input.at(0).is_string());
  }
}

TEST(Workload, KnowsRoutesByTheirLastPart) {
  EXPECT_EQ(load_route_from_path("/v1/embeddings"), LoadRoute::kEmbeddings);
  EXPECT_EQ(load_route_from_path("/a/sync/rerank"), LoadRoute::kRerank);
  EXPECT_EQ(load_route_from_path("/predict"), LoadRoute::kPredict);
  EXPECT_EQ(load_route_from_path("/embed"), LoadRoute::kEmbed);
  EXPECT_EQ(load_route_from_path("/v1/chat/completions"), std::nullopt);
  EXPECT_EQ(load_route_from_path(""), std::nullopt);
}

TEST(Workload, TheSeedDecidesAndProbesDoNotDependOnWhatCameBefore) {
  const WorkloadOptions options{.lengths = LengthMix("5-50"), .seed = 99};
  Workload a(options);
  Workload b(options);
  EXPECT_EQ(a.next().body, b.next().body);
  EXPECT_NE(a.next().body, a.next().body);
  const auto before = b.probes(4);
  b.next();
  const auto after = b.probes(4);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(before[i].body, after[i].body);
    EXPECT_EQ(before[i].num_inputs, 1);
    if (i > 0) {
      EXPECT_NE(before[i].body, before[i - 1].body);
    }
  }
  WorkloadOptions other = options;
  other.seed = 100;
  EXPECT_NE(Workload(other).probes(1)[0].body, before[0].body);
}

TEST(Workload, ReadsTextsOfFiles) {
  const test::TempDir dir;
  const std::string text = dir / "a.txt";
  write_file(text, "one two\r\n\n  \n\"three\"");
  EXPECT_EQ(read_texts(text), (std::vector<std::string>{"one two", "\"three\""}));
  const std::string lines = dir / "a.jsonl";
  write_file(lines, "\"a\\n b\"\n{\"text\": \"c\"}\n{\"input\": \"d\", \"text\": 1}\n");
  EXPECT_EQ(read_texts(lines), (std::vector<std::string>{"a\n b", "c", "d"}));
  for (const char* bad : {"", "\n", "{}\n", "3\n", "\"a\"\n{\n", "{\"text\": 3}"}) {
    write_file(lines, bad);
    EXPECT_THROW(read_texts(lines), Error) << bad;
  }

  Workload workload({.inputs_per_request = 2, .texts = {"one two"}});
  const WorkItem item = workload.next();
  EXPECT_EQ(item.num_tokens, 4);
  EXPECT_EQ(json::parse(item.body, "body").at("input"), (json::array{"one two", "one two"}));
}

}  // namespace
}  // namespace millrace
