// Answers read, repeated answers compared, and what the report says.
#include "load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "load/answer.h"
#include "load/probes.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

http::CallResult answer(std::string body, int status = 200) {
  return {.response = http::json_response(status, std::move(body))};
}

TEST(Answer, TokensFromUsageOrHeader) {
  const std::string vectors(100'000, '1');
  const std::string body =
      R"({"data": [)" + vectors + R"(], "usage": {"prompt_tokens" : 17, "total_tokens": 18}})";
  EXPECT_EQ(tokens_of(http::json_response(200, body)), 17);
  EXPECT_EQ(tokens_of(http::json_response(200, "[]")), std::nullopt);
  EXPECT_EQ(tokens_of(http::json_response(200, R"({"prompt_tokens": "x"})")), std::nullopt);
  EXPECT_EQ(tokens_of(http::json_response(200, R"({"prompt_tokens": -3})")), std::nullopt);
  EXPECT_EQ(tokens_of(http::json_response(200, R"("prompt_tokens")")), std::nullopt);
  http::Response tei = http::json_response(200, "[]");
  tei.headers.set("X-Compute-Tokens", "12");
  EXPECT_EQ(tokens_of(tei), 12);
}

TEST(Answer, ComparesWhatTheModelSaidOnly) {
  EXPECT_EQ(comparable_part(R"({"id": "1", "data": [ {"embedding": [0.5]} ], "created": 3})"),
            comparable_part(R"({"created": 4, "data":[{"embedding":[5e-1]}]})"));
  EXPECT_NE(comparable_part(R"({"data": [0.1]})"),
            comparable_part(R"({"data": [0.10000000000000002]})"));
  EXPECT_NE(comparable_part(R"([{"score": 1.5}])"), comparable_part(R"([{"score": 1.25}])"));
  EXPECT_THROW(comparable_part("<html>"), Error);
}

TEST(Probes, FirstAndLastAnswersAreCompared) {
  Probes probes({{.body = "a"}, {.body = "b"}});
  EXPECT_EQ(probes.unanswered(true), (std::vector<size_t>{0, 1}));
  probes.answered(0, answer("[1]"));
  probes.answered(0, answer("[1]"));
  probes.answered(1, answer("[2]", 429));
  EXPECT_EQ(probes.report().num_compared, 1u);
  EXPECT_EQ(probes.report().num_missing, 2u);
  probes.begin_last_round();
  probes.answered(0, answer("[1.0]"));
  EXPECT_EQ(probes.unanswered(true), (std::vector<size_t>{1}));
  EXPECT_TRUE(probes.unanswered(false).empty());
  probes.answered(1, {.outcome = http::CallOutcome::kTimedOut});
  probes.answered(1, answer("[2]"));
  EXPECT_EQ(probes.report().num_missing, 1u);  // it has nothing to be compared with
  probes.answered(1, answer("[2]"));
  const CheckReport report = probes.report();
  EXPECT_EQ(report.num_probes, 2u);
  EXPECT_EQ(report.num_compared, 3u);
  EXPECT_EQ(report.num_missing, 0u);
  EXPECT_EQ(report.num_different, 1u);  // 1 and 1.0 are written differently: not the same bits
}

TEST(Probes, AnUnreadableAnswerIsDifferent) {
  Probes probes({{.body = "a"}});
  probes.answered(0, answer("[1]"));
  probes.answered(0, answer("oops"));
  EXPECT_EQ(probes.report().num_different, 1u);
}

LoadReport example() {
  LoadReport report{.url = "http://h:1/v1/embeddings", .model = "m", .window = 2, .num_sent = 12};
  report.statuses = {{200, 8}, {429, 3}};
  report.failures = {{"broken", 1}};
  report.good = {.requests = 8, .inputs = 16, .tokens = 800};
  report.answered = {.requests = 11, .inputs = 22, .tokens = 800};
  for (const int64_t tokens : {1, 32, 33, 128, 129, 512, 513, 100'000}) {
    report.latency.record(milliseconds(tokens));
    report.class_of(tokens).latency.record(milliseconds(tokens));
  }
  report.refusals.record(milliseconds(2));
  return report;
}

TEST(Report, JsonHasEveryFigure) {
  LoadReport report = example();
  for (const LengthClass& one : report.classes) EXPECT_EQ(one.latency.count(), 2u);
  const json::value parsed = json::parse(to_json(report), "report");
  EXPECT_EQ(parsed.at("goodput").at("requests_per_s").as_double(), 4);
  EXPECT_EQ(parsed.at("goodput").at("inputs_per_s").as_double(), 8);
  EXPECT_EQ(parsed.at("goodput").at("tokens_per_s").as_double(), 400);
  EXPECT_EQ(parsed.at("answered").at("requests_per_s").as_double(), 5.5);
  EXPECT_EQ(parsed.at("statuses").at("429"), 3);
  EXPECT_EQ(parsed.at("failures").at("broken"), 1);
  EXPECT_EQ(parsed.at("latency_ms").at("count"), 8);
  EXPECT_EQ(parsed.at("latency_ms").at("max").as_double(), 100'000);
  EXPECT_EQ(parsed.at("latency_ms_by_tokens").at("1-32").at("p99.9").as_double(), 32);
  EXPECT_EQ(parsed.at("latency_ms_by_tokens").at("513+").at("count"), 2);
  EXPECT_EQ(parsed.at("refusals_ms").at("p50").as_double(), 2);
}

TEST(Report, TextNamesWhatWentWrongAndLeavesOutWhatDidNot) {
  LoadReport report = example();
  EXPECT_THAT(render(report), HasSubstr("200: 8  429: 3"));
  EXPECT_THAT(render(report), HasSubstr("broken: 1"));
  EXPECT_THAT(render(report), HasSubstr("33-128 tokens"));
  EXPECT_THAT(render(report), Not(HasSubstr("aborted")));
  EXPECT_THAT(render(report), Not(HasSubstr("compared")));
  EXPECT_THAT(render(report), Not(HasSubstr("not sent")));
  report.num_aborted = 5;
  report.num_dropped = 7;
  report.check = {.num_probes = 8, .num_compared = 9, .num_different = 1};
  EXPECT_THAT(render(report), HasSubstr("aborted by us: 5"));
  EXPECT_THAT(render(report), HasSubstr("too many were out: 7"));
  EXPECT_THAT(render(report), HasSubstr("9 to 8 inputs, 1 different"));
  EXPECT_THAT(render(LoadReport{}), HasSubstr("no answers"));
}

}  // namespace
}  // namespace millrace
