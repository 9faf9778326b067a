// Prompts, bodies and the files they come from.
#include "load/generation_workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

json::object body_of(const GenerationItem& item) {
  return json::parse(item.body, "the body").as_object();
}

std::string prompt_of(const GenerationItem& item) {
  return std::string(body_of(item).at("prompt").as_string());
}

int64_t num_words(const std::string& text) {
  return 1 + std::ranges::count(text, ' ');
}

TEST(GenerationWorkload, AsksForChatsOfTheGivenLengths) {
  GenerationWorkload workload(
      {.model = "m", .input = LengthMix("5-9"), .output = LengthMix("3-4")});
  std::set<int64_t> inputs;
  std::set<int64_t> outputs;
  for (int i = 0; i < 200; ++i) {
    const GenerationItem item = workload.next();
    const json::object body = body_of(item);
    EXPECT_EQ(body.at("model"), "m");
    EXPECT_EQ(body.at("ignore_eos"), true);
    EXPECT_EQ(body.at("stream"), true);
    EXPECT_EQ(body.at("stream_options").at("include_usage"), true);
    EXPECT_EQ(body.at("max_tokens"), item.output_tokens);
    EXPECT_FALSE(body.contains("temperature"));
    const json::array& messages = body.at("messages").as_array();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages.at(0).at("role"), "user");
    inputs.insert(num_words(std::string(messages.at(0).at("content").as_string())));
    outputs.insert(item.output_tokens);
  }
  EXPECT_EQ(inputs, (std::set<int64_t>{5, 6, 7, 8, 9}));
  EXPECT_EQ(outputs, (std::set<int64_t>{3, 4}));
}

TEST(GenerationWorkload, LeavesOutWhatIsNotAskedFor) {
  GenerationWorkload workload(
      {.chat = false, .ignore_eos = false, .stream = false, .temperature = 0.5});
  const json::object body = body_of(workload.next());
  EXPECT_FALSE(body.contains("model"));
  EXPECT_FALSE(body.contains("ignore_eos"));
  EXPECT_FALSE(body.contains("stream"));
  EXPECT_FALSE(body.contains("stream_options"));
  EXPECT_FALSE(body.contains("messages"));
  EXPECT_EQ(body.at("temperature"), 0.5);
}

TEST(GenerationWorkload, PutsOnePrefixInFrontAndRepeatsWithItsSeed) {
  const auto prompts = [](uint64_t seed) {
    GenerationWorkload workload(
        {.chat = false, .input = LengthMix("4"), .shared_prefix = 6, .seed = seed});
    std::vector<std::string> out;
    for (int i = 0; i < 3; ++i) out.push_back(prompt_of(workload.next()));
    return out;
  };
  const auto first = prompts(7);
  EXPECT_EQ(first, prompts(7));
  EXPECT_NE(first, prompts(8));
  EXPECT_NE(first[0], first[1]);
  EXPECT_EQ(num_words(first[0]), 10);
  size_t end = 0;
  for (int i = 0; i < 6; ++i) end = first[0].find(' ', end) + 1;
  EXPECT_EQ(first[0].substr(0, end), first[1].substr(0, end));
  EXPECT_EQ(first[0].substr(0, end), first[2].substr(0, end));
}

TEST(GenerationWorkload, ReadsPromptsAndConversations) {
  const test::TempDir dir;
  const std::string text = (dir.path() / "prompts.txt").string();
  write_file(text, "one\r\n\n  two  \n");
  const auto plain = read_prompts(text);
  ASSERT_EQ(plain.size(), 2u);
  EXPECT_EQ(plain[0].text, "one");
  EXPECT_EQ(plain[1].text, "  two  ");

  const std::string lines = (dir.path() / "prompts.jsonl").string();
  write_file(lines, R"("a string"
{"prompt": "a prompt"}
{"messages": [{"role": "user", "content": "hi"}]}
{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
)");
  EXPECT_THROW(read_prompts(lines), Error);
  write_file(lines, R"("a string"
{"prompt": "a prompt"}
{"messages": [{"role": "user", "content": "hi"}]}
{"conversations": [{"from":"system","value":"s"},{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}
)");
  const auto mixed = read_prompts(lines);
  ASSERT_EQ(mixed.size(), 4u);
  EXPECT_EQ(mixed[0].text, "a string");
  EXPECT_EQ(mixed[1].text, "a prompt");
  EXPECT_EQ(mixed[2].messages, R"([{"role":"user","content":"hi"}])");
  EXPECT_EQ(mixed[3].messages,
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"}])");

  EXPECT_THROW(GenerationWorkload({.chat = false, .prompts = mixed}), Error);
  GenerationWorkload chat({.shared_prefix = 2, .prompts = {mixed[2]}});
  const json::array messages = body_of(chat.next()).at("messages").as_array();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages.at(0).at("role"), "system");
  EXPECT_EQ(messages.at(1).at("content"), "hi");
}

TEST(GenerationWorkload, NamesTheLineThatIsWrong) {
  const test::TempDir dir;
  const std::string path = (dir.path() / "bad.jsonl").string();
  for (const char* line : {"{\"a\":1}", "7", R"({"conversations":[{"from":"gpt","value":"a"}]})",
                           R"({"conversations":[{"from":"robot","value":"a"}]})"}) {
    write_file(path, std::string("\"good\"\n") + line + "\n");
    try {
      read_prompts(path);
      FAIL() << line;
    } catch (const Error& e) {
      EXPECT_NE(e.message().find("bad.jsonl:2"), std::string::npos) << e.message();
    }
  }
}

}  // namespace
}  // namespace millrace
