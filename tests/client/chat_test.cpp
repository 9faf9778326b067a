// Conversations with a server that we made up.
#include "client/chat.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "base/json.h"
#include "http/server_fixture.h"
#include "http/sse.h"

namespace millrace {
namespace {

using http::sse_event;

std::string piece(std::string_view text) {
  return sse_event(json::to_text(json::object{
      {"choices",
       json::array{json::object{{"delta", json::object{{"content", std::string(text)}}}}}}}));
}

const std::string kEnd =
    sse_event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})") + sse_event("[DONE]");

// A chat whose server keeps requests until the test answers them.
struct Talk {
  http::Held held;
  http::Server server{http::test_options(), held.handler()};
  std::atomic<bool> interrupted{false};
  std::string answers;
  std::vector<std::string> remarks;
  std::vector<std::string> problems;
  std::unique_ptr<Chat> chat;
  std::vector<json::value> bodies;

  explicit Talk(ChatOptions options = {}) {
    server.start();
    options.server = {.host = "127.0.0.1", .port = server.port()};
    chat = std::make_unique<Chat>(
        std::move(options),
        ChatOutput{.answer = [this](std::string_view text) { answers += text; },
                   .remark = [this](std::string_view text) { remarks.emplace_back(text); },
                   .problem = [this](std::string_view text) { problems.emplace_back(text); }},
        interrupted);
  }

  // Sends `line` while another thread answers with `body`.
  bool say(std::string_view line, const std::string& body) {
    std::thread engine([&] {
      const auto exchange = held.take();
      ASSERT_TRUE(exchange);
      EXPECT_EQ(exchange->request().path, "/v1/chat/completions");
      bodies.push_back(json::parse(exchange->take_body(), "body"));
      http::Response head;
      head.headers.add("content-type", "text/event-stream");
      const auto stream = exchange->start_stream(std::move(head));
      ASSERT_TRUE(stream);
      stream->write(body);
      stream->end();
    });
    const bool goes_on = chat->take_line(line);
    engine.join();
    return goes_on;
  }

  std::string messages(size_t index) const {
    return json::to_text(bodies.at(index).at("messages"));
  }
};

TEST(Chat, KeepsTheConversation) {
  ChatOptions options;
  options.model = "m";
  options.system = "be brief";
  options.sampling.temperature = 0.5;
  options.sampling.max_tokens = 9;
  Talk t(std::move(options));
  EXPECT_TRUE(t.say(" hello ", piece("Hi ") + piece("there") + kEnd));
  EXPECT_TRUE(t.chat->take_line("   "));
  EXPECT_TRUE(t.say("again", piece("yes") + kEnd));
  EXPECT_EQ(t.answers, "Hi there\nyes\n");
  EXPECT_EQ(t.messages(1),
            R"([{"role":"system","content":"be brief"},{"role":"user","content":"hello"},)"
            R"({"role":"assistant","content":"Hi there"},{"role":"user","content":"again"}])");
  EXPECT_EQ(t.bodies[0].at("model"), "m");
  EXPECT_EQ(t.bodies[0].at("stream"), true);
  EXPECT_EQ(t.bodies[0].at("temperature").as_double(), 0.5);
  EXPECT_EQ(t.bodies[0].at("max_tokens"), 9);
  EXPECT_FALSE(t.bodies[0].as_object().contains("seed"));
  EXPECT_FALSE(t.chat->had_problem());
}

TEST(Chat, ObeysCommands) {
  Talk t;
  t.say("one", piece("1") + kEnd);
  EXPECT_TRUE(t.chat->take_line("/reset"));
  t.say("two", piece("2") + kEnd);
  EXPECT_EQ(t.messages(1), R"([{"role":"user","content":"two"}])");
  EXPECT_TRUE(t.chat->take_line("/system  speak up "));
  t.say("three", piece("3") + kEnd);
  EXPECT_EQ(t.messages(2),
            R"([{"role":"system","content":"speak up"},{"role":"user","content":"three"}])");
  t.chat->take_line("/system");
  t.say("four", piece("4") + kEnd);
  EXPECT_EQ(t.messages(3), R"([{"role":"user","content":"four"}])");
  const size_t before = t.remarks.size();
  EXPECT_TRUE(t.chat->take_line("/help"));
  EXPECT_GE(t.remarks.size(), before + 4);
  EXPECT_TRUE(t.chat->take_line("/nonsense"));
  ASSERT_EQ(t.problems.size(), 1u);
  EXPECT_NE(t.problems[0].find("/help"), std::string::npos);
  EXPECT_FALSE(t.chat->take_line("/quit"));
}

TEST(Chat, AnInterruptBeforeTheAnswerStopsIt) {
  Talk t;
  t.interrupted = true;
  EXPECT_TRUE(t.chat->take_line("tell me"));  // nobody answers
  EXPECT_EQ(t.remarks, (std::vector<std::string>{"stopped"}));
  EXPECT_TRUE(t.problems.empty());
  EXPECT_FALSE(t.interrupted);
}

TEST(Chat, AnInterruptStopsTheAnswerAndNotTheChat) {
  Talk t;
  std::thread engine([&] {
    const auto exchange = t.held.take();
    ASSERT_TRUE(exchange);
    http::Response head;
    head.headers.add("content-type", "text/event-stream");
    const auto stream = exchange->start_stream(std::move(head));
    auto closed = http::closing(*exchange);
    stream->write(piece("half an ans"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    t.interrupted = true;
    EXPECT_TRUE(http::happens(closed));  // the server is told
  });
  EXPECT_TRUE(t.chat->take_line("tell me"));
  engine.join();
  EXPECT_EQ(t.answers, "half an ans\n");
  EXPECT_EQ(t.remarks, (std::vector<std::string>{"stopped"}));
  EXPECT_TRUE(t.problems.empty());
  t.say("go on", piece("wer") + kEnd);
  EXPECT_EQ(t.messages(0), R"([{"role":"user","content":"tell me"},)"
                           R"({"role":"assistant","content":"half an ans"},)"
                           R"({"role":"user","content":"go on"}])");
}

TEST(Chat, TellsProblemsAsSentencesAndForgetsTheMessage) {
  Talk t;
  t.say("one", piece("x"));
  t.say("two", sse_event(R"({"error":{"message":"out\u001b[2J of luck"}})"));
  std::thread engine([&] {
    const auto exchange = t.held.take();
    ASSERT_TRUE(exchange);
    exchange->respond(http::json_response(400, R"({"error":{"message":"too long"}})"));
  });
  t.chat->take_line("three");
  engine.join();
  ASSERT_EQ(t.problems.size(), 3u);
  EXPECT_NE(t.problems[0].find("a stream without its end"), std::string::npos) << t.problems[0];
  EXPECT_NE(t.problems[1].find("out^[[2J of luck"), std::string::npos) << t.problems[1];
  EXPECT_NE(t.problems[2].find("400 Bad Request: too long"), std::string::npos) << t.problems[2];
  EXPECT_EQ(t.chat->conversation().num_turns(), 0u);
  EXPECT_TRUE(t.chat->had_problem());

  t.server.stop_now();
  t.chat->take_line("four");
  ASSERT_EQ(t.problems.size(), 4u);
  EXPECT_NE(t.problems[3].find("is the server running?"), std::string::npos) << t.problems[3];
}

TEST(Chat, ShowsAModelsControlsSpelledOutWhereItGoesToATerminal) {
  for (const bool safely : {true, false}) {
    ChatOptions options;
    options.show_safely = safely;
    Talk t(std::move(options));
    t.say("one", piece("a\x1b[31m") + piece("b") + kEnd);
    EXPECT_EQ(t.answers, safely ? "a^[[31mb\n" : "a\x1b[31mb\n");
  }
}

}  // namespace
}  // namespace millrace
