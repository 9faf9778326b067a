// Loads of generation against servers that stream, stall, break off and lie.
#include "load/generation_run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "http/server_fixture.h"
#include "http/sse.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using http::Exchange;
using http::Server;
using http::sse_event;

const std::string kPiece = sse_event(R"({"choices":[{"index":0,"delta":{"content":"x"}}]})");

std::string usage(int prompt, int completion) {
  return sse_event(
      fmt::format(R"({{"choices":[],"usage":{{"prompt_tokens":{},"completion_tokens":{}}}}})",
                  prompt, completion));
}

// Streams `before` pauses and pieces on a thread of its own, as an engine would.
class FakeModel {
 public:
  struct Answer {
    std::chrono::milliseconds first{0};  // until the first piece
    std::chrono::milliseconds gap{0};    // between pieces
    int pieces = 4;
    int tokens = 4;  // that usage tells
    bool done = true;
    std::string extra;  // written in the place of the last piece
  };

  explicit FakeModel(Answer answer)
      : answer_(std::move(answer)),
        server_(http::test_options(), [this](const std::shared_ptr<Exchange>& exchange) {
          ++num_requests;
          const std::string body = exchange->take_body();
          EXPECT_TRUE(json::parse(body, "body").as_object().contains("max_tokens"));
          std::lock_guard lock(mutex_);
          threads_.emplace_back([this, exchange] { stream(exchange); });
        }) {
    server_.start();
  }
  ~FakeModel() {
    server_.stop_now();
    for (std::thread& thread : threads_) thread.join();
  }

  uint16_t port() const { return server_.port(); }
  std::atomic<int> num_requests{0};

 private:
  void stream(const std::shared_ptr<Exchange>& exchange) {
    http::Response head;
    head.headers.add("content-type", "text/event-stream; charset=utf-8");
    const auto stream = exchange->start_stream(std::move(head));
    if (!stream) return;
    std::this_thread::sleep_for(answer_.first);
    for (int i = 0; i < answer_.pieces; ++i) {
      if (i > 0) std::this_thread::sleep_for(answer_.gap);
      const bool last = i + 1 == answer_.pieces;
      if (!stream->write(last && !answer_.extra.empty() ? answer_.extra : kPiece)) return;
    }
    stream->write(usage(10, answer_.tokens));
    if (answer_.done) stream->write(sse_event("[DONE]"));
    stream->end();
  }

  Answer answer_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
  Server server_;
};

GenerationLoadOptions options_for(uint16_t port) {
  GenerationLoadOptions options;
  options.server = {.host = "127.0.0.1", .port = port};
  options.path = "/v1/chat/completions";
  options.warmup = 0s;
  options.num_requests = 6;
  options.concurrency = 2;
  options.timeout = 20s;
  options.workload.input = LengthMix("4");
  options.workload.output = LengthMix("4");
  return options;
}

TEST(GenerationRun, MeasuresTheFirstTokenAndThoseBehindIt) {
  FakeModel model({.first = 60ms, .gap = 20ms, .pieces = 5, .tokens = 9});
  GenerationLoadOptions options = options_for(model.port());
  options.slo = {.ttft_ms = 5000, .tpot_ms = 5000};
  const GenerationReport report = run_generation_load(options, nullptr);
  EXPECT_EQ(report.num_sent, 6u);
  EXPECT_EQ(report.statuses, (std::map<int, uint64_t>{{200, 6}}));
  EXPECT_TRUE(report.failures.empty());
  EXPECT_EQ(report.num_completed, 6u);
  EXPECT_EQ(report.input_tokens, 60);
  EXPECT_EQ(report.output_tokens, 54);  // as usage tells, not as pieces
  EXPECT_EQ(report.ttft.count(), 6u);
  EXPECT_GE(report.ttft.min(), 60ms);
  EXPECT_EQ(report.itl.count(), 24u);
  EXPECT_GE(report.itl.mean(), 15ms);
  EXPECT_EQ(report.tpot.count(), 6u);
  EXPECT_GE(report.tpot.min(), 8ms);  // four gaps of 20 ms over eight tokens
  EXPECT_LT(report.tpot.min(), report.itl.mean());
  EXPECT_GE(report.e2e.min(), 140ms);
  EXPECT_EQ(report.num_good, 6u);
  EXPECT_LE(report.num_connects, 2u);
}

TEST(GenerationRun, CountsGoodAnswersByEachLimit) {
  FakeModel model({.first = 30ms, .gap = 5ms});
  const auto num_good = [&](Slo slo) {
    GenerationLoadOptions options = options_for(model.port());
    options.slo = slo;
    return run_generation_load(options, nullptr).num_good;
  };
  EXPECT_EQ(num_good({}), 6u);
  EXPECT_EQ(num_good({.ttft_ms = 1}), 0u);
  EXPECT_EQ(num_good({.tpot_ms = 0.1}), 0u);
  EXPECT_EQ(num_good({.e2e_ms = 10}), 0u);
  EXPECT_EQ(num_good({.ttft_ms = 9000, .tpot_ms = 9000, .e2e_ms = 9000}), 6u);
}

TEST(GenerationRun, TellsFailuresApart) {
  const auto failures = [](FakeModel::Answer answer) {
    FakeModel model(std::move(answer));
    const GenerationReport report = run_generation_load(options_for(model.port()), nullptr);
    EXPECT_TRUE(report.statuses.empty());
    EXPECT_EQ(report.e2e.count(), 0u);
    EXPECT_EQ(report.num_aborted, 0u);
    EXPECT_EQ(report.failures.size(), 1u);
    return report;
  };
  EXPECT_EQ(failures({.done = false}).failures.begin()->first, "a stream without its end");
  EXPECT_EQ(failures({.extra = "data: {\n\n"}).failures.begin()->first, "no JSON");
  const auto report = failures({.extra = sse_event(R"({"error":{"message":"out of luck"}})")});
  EXPECT_EQ(report.failures.begin()->first, "an error in the stream");
  EXPECT_EQ(report.failures.begin()->second, 6u);
  EXPECT_EQ(report.first_error, "out of luck");

  Server refusing(http::test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(http::json_response(400, R"({"error":{"message":"no such field"}})"));
  });
  refusing.start();
  const auto refused = run_generation_load(options_for(refusing.port()), nullptr);
  EXPECT_EQ(refused.statuses, (std::map<int, uint64_t>{{400, 6}}));
  EXPECT_EQ(refused.num_completed, 0u);
  EXPECT_EQ(refused.first_error, "no such field");

  const uint16_t unused = Server(http::test_options(), http::echo).port();
  EXPECT_THROW(run_generation_load(options_for(unused), nullptr), Error);
}

TEST(GenerationRun, ReadsWholeAnswersToo) {
  Server server(http::test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(http::json_response(200, R"({"choices":[{"message":{"content":"abc"}}],
        "usage":{"prompt_tokens":3,"completion_tokens":7}})"));
  });
  server.start();
  GenerationLoadOptions options = options_for(server.port());
  options.workload.stream = false;
  const GenerationReport report = run_generation_load(options, nullptr);
  EXPECT_EQ(report.statuses, (std::map<int, uint64_t>{{200, 6}}));
  EXPECT_EQ(report.output_tokens, 42);
  EXPECT_EQ(report.ttft.count(), 0u);
  EXPECT_EQ(report.e2e.count(), 6u);
}

TEST(GenerationRun, AbortsTheShareItIsAskedTo) {
  FakeModel model({.first = 300ms});
  GenerationLoadOptions options = options_for(model.port());
  options.abort_fraction = 1;
  const GenerationReport report = run_generation_load(options, nullptr);
  EXPECT_EQ(report.num_aborted, 6u);
  EXPECT_TRUE(report.failures.empty());
  EXPECT_TRUE(report.statuses.empty());
}

TEST(GenerationRun, AnOpenLoopCountsWhatComesInItsWindow) {
  FakeModel model({.gap = 5ms});
  GenerationLoadOptions options = options_for(model.port());
  options.num_requests = {};
  options.rate = 50;
  options.arrival = ArrivalKind::kConstant;
  options.warmup = 100ms;
  options.duration = 400ms;
  const GenerationReport report = run_generation_load(options, nullptr);
  EXPECT_GT(report.num_sent, 0u);
  EXPECT_LE(report.num_sent, 20u);  // fewer where this machine is late
  EXPECT_EQ(report.e2e.count(), report.num_sent);
  EXPECT_NEAR(report.window, 0.4, 1e-6);
  EXPECT_GE(model.num_requests, static_cast<int>(report.num_sent));
  EXPECT_GT(report.output_tokens, 0);
}

TEST(GenerationReport, NamesItsFieldsAndUnits) {
  GenerationReport report{.url = "http://h:1/v1/completions", .seed = 3, .window = 2};
  report.statuses[200] = 4;
  report.failures["broken"] = 1;
  report.num_completed = 4;
  report.output_tokens = 100;
  report.input_tokens = 60;
  report.num_good = 3;
  report.slo.ttft_ms = 200;
  report.ttft.record(80ms);
  const json::value parsed = json::parse(to_json(report), "report");
  EXPECT_EQ(parsed.at("output_tokens_per_s").as_double(), 50);
  EXPECT_EQ(parsed.at("total_tokens_per_s").as_double(), 80);
  EXPECT_EQ(parsed.at("goodput_per_s").as_double(), 1.5);
  EXPECT_EQ(parsed.at("slo_ms").at("ttft").as_double(), 200);
  EXPECT_NEAR(parsed.at("ttft_ms").at("p50").as_double(), 80, 1);
  EXPECT_EQ(parsed.at("failures").at("broken").to_number<int>(), 1);
  const std::string text = render(report);
  for (const char* part : {"50.00 tokens/s", "80.00 tokens/s", "1.50 requests/s that held ttft 200",
                           "broken: 1", "first token (ttft)", "seed 3"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(Slo, TakesLimitsAndRefusesOthers) {
  Slo slo;
  for (const char* text : {"ttft:200", "tpot:12.5", "e2el:3000"}) add_limit(slo, text);
  EXPECT_EQ(slo.ttft_ms, 200);
  EXPECT_EQ(slo.tpot_ms, 12.5);
  EXPECT_EQ(slo.e2e_ms, 3000);
  for (const char* text :
       {"", "ttft", "ttft:", "ttft:x", "ttft:-1", "ttft:0", "itl:5", "ttft:5ms"}) {
    EXPECT_THROW(add_limit(slo, text), Error) << text;
  }
}

}  // namespace
}  // namespace millrace
