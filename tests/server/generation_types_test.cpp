// What chat completions and completions take, refuse and ignore, field by field.
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "server/chat_types.h"
#include "server/completion_types.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr GenerationLimits kLimits{.body = {.max_inputs = 4, .vocab_size = 1000},
                                   .sampling = {.vocab_size = 1000}};
constexpr std::string_view kHello = R"("messages":[{"role":"user","content":"hello"}])";

ChatCompletionRequest chat(const std::string& fields, const SamplingParams& defaults = {},
                           const ChatRoles& roles = {}) {
  const std::string body = "{" + std::string(kHello) + (fields.empty() ? "" : "," + fields) + "}";
  return parse_chat_completion_request(body, kLimits, defaults, roles);
}

CompletionRequest completion(const std::string& fields) {
  return parse_completion_request(R"({"prompt":"a")" + (fields.empty() ? "" : "," + fields) + "}",
                                  kLimits, {});
}

// The field that a refusal names; "ok" where there is none.
template <typename Parse>
std::string refused(const Parse& parse) {
  try {
    parse();
    return "ok";
  } catch (const RequestError& error) {
    EXPECT_EQ(error_response(ErrorStyle::kOpenAI, std::current_exception()).status, 400);
    EXPECT_STRNE(error.what(), "");
    return error.param();
  }
}

std::string chat_refuses(const std::string& fields) {
  return refused([&] { chat(fields); });
}

std::string completion_refuses(const std::string& fields) {
  return refused([&] { completion(fields); });
}

json::value messages_of(const std::string& messages, const ChatRoles& roles = {}) {
  const std::string body = R"({"messages":)" + messages + "}";
  return json::parse(parse_chat_completion_request(body, kLimits, {}, roles).prompt.messages,
                     "messages");
}

TEST(ChatRequest, ReadsWhatItIsAsked) {
  const ChatCompletionRequest request =
      chat(R"("model":"m","max_completion_tokens":7,"max_tokens":9,"temperature":0.5,"top_p":0.25,)"
           R"("top_k":40,"min_p":0.125,"n":3,"stop":["a","b"],"stream":true,)"
           R"("stream_options":{"include_usage":true,"continuous_usage_stats":true},"seed":-5,)"
           R"("logprobs":true,"top_logprobs":2,"logit_bias":{"7":-100,"8":1.5},)"
           R"("frequency_penalty":-2,"presence_penalty":2,"repetition_penalty":1.5,"min_tokens":2,)"
           R"("ignore_eos":true,"stop_token_ids":[3],"include_stop_str_in_output":true,)"
           R"("skip_special_tokens":false,"bad_words":["no"],"bad":"never","bad_token_ids":[4],)"
           R"("allowed_token_ids":[1,2],"echo":true,"add_special_tokens":true,"priority":3,)"
           R"("service_tier":"flex","cache_salt":"x","truncate_prompt_tokens":-1,)"
           R"("truncation_side":"right","return_token_ids":true,"return_tokens_as_token_ids":true,)"
           R"("request_id":"mine")");
  const GenerationOptions& options = request.options;
  const SamplingParams& sampling = options.sampling;
  EXPECT_EQ(options.model, "m");
  EXPECT_EQ(options.max_tokens, 7);  // the newer name wins
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 40);
  EXPECT_EQ(sampling.min_p, 0.125f);
  EXPECT_EQ(sampling.n, 3);
  EXPECT_THAT(sampling.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(options.stream && options.include_usage && options.continuous_usage);
  EXPECT_EQ(sampling.seed, -5);
  EXPECT_EQ(options.logprobs, 2);
  EXPECT_EQ(sampling.logprobs, 2);
  EXPECT_THAT(sampling.logit_bias, ElementsAre(std::pair(7, -100.0f), std::pair(8, 1.5f)));
  EXPECT_EQ(sampling.frequency_penalty, -2);
  EXPECT_EQ(sampling.presence_penalty, 2);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_TRUE(sampling.ignore_eos && sampling.include_stop_str_in_output);
  EXPECT_THAT(sampling.stop_token_ids, ElementsAre(3));
  EXPECT_FALSE(options.skip_special_tokens);
  EXPECT_THAT(options.bad_words, ElementsAre("no", "never"));
  EXPECT_THAT(sampling.bad_words, ElementsAre(ElementsAre(4)));
  EXPECT_THAT(sampling.allowed_token_ids, ElementsAre(1, 2));
  EXPECT_TRUE(options.echo);
  EXPECT_EQ(options.add_special_tokens, true);
  EXPECT_EQ(options.priority, 4);  // flex: a step behind
  EXPECT_EQ(options.service_tier, "flex");
  EXPECT_FALSE(options.cache_salt.empty());
  EXPECT_EQ(options.truncate_prompt_tokens, -1);
  EXPECT_EQ(options.truncation_direction, TruncationDirection::kRight);
  EXPECT_TRUE(options.return_token_ids && options.return_tokens_as_token_ids);
  EXPECT_EQ(options.request_id, "mine");
  EXPECT_THAT(options.ignored_fields, ElementsAre());
}

TEST(ChatRequest, WhatIsAbsentOrNullIsAsTheModelSays) {
  const SamplingParams model{
      .temperature = 0.6f, .top_k = 20, .top_p = 0.95f, .min_p = 0.05f, .repetition_penalty = 1.1f};
  for (const std::string fields :
       {"",
        R"("temperature":null,"top_k":null,"top_p":null,"min_p":null,"n":null,"stop":null,)"
        R"("repetition_penalty":null,"seed":null,"max_tokens":null,"logprobs":null,)"
        R"("stream":null,"stream_options":null,"tools":null,"tool_choice":null,)"
        R"("response_format":null,"logit_bias":null,"best_of":null,"structured_outputs":null)"}) {
    const GenerationOptions options = chat(fields, model).options;
    EXPECT_EQ(options.sampling.temperature, 0.6f);
    EXPECT_EQ(options.sampling.top_k, 20);
    EXPECT_EQ(options.sampling.top_p, 0.95f);
    EXPECT_EQ(options.sampling.min_p, 0.05f);
    EXPECT_EQ(options.sampling.repetition_penalty, 1.1f);
    EXPECT_EQ(options.sampling.n, 1);
    EXPECT_EQ(options.sampling.seed, std::nullopt);
    EXPECT_EQ(options.sampling.logprobs, std::nullopt);
    EXPECT_EQ(options.max_tokens, std::nullopt);
    EXPECT_FALSE(options.stream);
    EXPECT_TRUE(options.skip_special_tokens);
    EXPECT_EQ(options.truncation_direction, TruncationDirection::kLeft);
    EXPECT_THAT(options.ignored_fields, ElementsAre());
  }
}

// The boundaries of every number: what is in range, and what is just outside.
TEST(ChatRequest, NumbersHaveRanges) {
  struct Row {
    const char* field;
    std::vector<const char*> good;
    std::vector<const char*> bad;
    const char* with = "";
  };
  const std::vector<Row> rows = {
      {"temperature", {"0", "4", "0.7"}, {"-0.1", "4.1"}},
      {"top_p", {"1", "0.01"}, {"0", "-1", "1.01"}},
      {"top_k", {"-1", "0", "1", "2147483647"}, {"-2", "2147483648"}},
      {"min_p", {"0", "1"}, {"-0.1", "1.1"}},
      {"repetition_penalty", {"0.01", "100"}, {"0", "-1", "101"}},
      {"presence_penalty", {"-2", "2", "0"}, {"-2.1", "2.1"}},
      {"frequency_penalty", {"-2", "2", "0"}, {"-2.1", "2.1"}},
      {"n", {"1", "128"}, {"0", "-1", "129", "1.5"}},
      {"best_of", {"1", "128"}, {"0", "-1", "129"}},
      {"max_tokens", {"1", "262144", "2147483647"}, {"0", "-1", "2147483648", "1.5"}},
      {"max_completion_tokens", {"1", "2147483647"}, {"0", "-1", "2147483648"}},
      {"min_tokens", {"0", "5"}, {"-1", "2147483648"}},
      {"top_logprobs", {"0", "20"}, {"-1", "21"}, R"(,"logprobs":true)"},
      {"prompt_logprobs", {"0", "20"}, {"-1", "21"}},
      {"seed", {"-9223372036854775808", "9223372036854775807", "0"}, {"9223372036854775808"}},
      {"truncate_prompt_tokens", {"-1", "1", "2147483647"}, {"0", "-2", "2147483648"}},
      {"priority", {"-2147483648", "2147483647", "0"}, {"2147483648"}},
      {"logit_bias",
       {"{\"0\":100}", "{\"999\":-100}", "{}"},
       {"{\"1000\":1}", "{\"-1\":1}", "{\"1\":100.5}", "{\"a\":1}", "{\"1\":\"1\"}", "[1]"}},
      {"stop_token_ids", {"[0,999]", "[]"}, {"[1000]", "[-1]", "[1.5]", "5", "[\"1\"]"}},
      {"allowed_token_ids", {"[0,999]", "[]"}, {"[1000]", "[-1]"}},
      {"bad_token_ids", {"[0,999]", "[]"}, {"[1000]", "[-1]"}},
  };
  for (const Row& row : rows) {
    const auto field = [&](const std::string& value) {
      return fmt::format(R"("{}":{}{})", row.field, value, row.with);
    };
    for (const char* value : row.good) EXPECT_EQ(chat_refuses(field(value)), "ok") << field(value);
    for (const char* value : row.bad)
      EXPECT_EQ(chat_refuses(field(value)), row.field) << field(value);
    // No number at all, in every way.
    for (const char* value : {"\"1\"", "true", "1e400", "-1e400"})
      EXPECT_EQ(chat_refuses(field(value)), row.field) << field(value);
    EXPECT_EQ(chat_refuses(field("NaN")), "") << "no JSON";
    EXPECT_EQ(chat_refuses(field("null")), "ok") << row.field;
  }
}

TEST(ChatRequest, WhatMultipliesWorkIsBounded) {
  const auto list = [](size_t count, const std::string& element) {
    std::string out = "[";
    for (size_t i = 0; i < count; ++i) out += (i > 0 ? "," : "") + element;
    return out + "]";
  };
  EXPECT_EQ(chat_refuses(R"("stop":)" + list(32, "\"a\"")), "ok");
  EXPECT_EQ(chat_refuses(R"("stop":)" + list(33, "\"a\"")), "stop");
  EXPECT_EQ(chat_refuses(R"("stop":"")"), "stop");
  EXPECT_EQ(chat_refuses(R"("stop":")" + std::string(1000, 'a') + "\""), "ok");
  EXPECT_EQ(chat_refuses(R"("stop":")" + std::string(1001, 'a') + "\""), "stop");
  EXPECT_EQ(chat_refuses(R"("stop":[1])"), "stop");
  EXPECT_EQ(chat_refuses(R"("stop":{"a":1})"), "stop");
  EXPECT_EQ(chat_refuses(R"("stop_token_ids":)" + list(1024, "1")), "ok");
  EXPECT_EQ(chat_refuses(R"("stop_token_ids":)" + list(1025, "1")), "stop_token_ids");
  EXPECT_EQ(chat_refuses(R"("bad_words":)" + list(1025, "\"a\"")), "bad_words");
  EXPECT_EQ(chat_refuses(R"("bad_token_ids":)" + list(1025, "1")), "bad_words");
  std::string biases = "{";
  for (int i = 0; i < 1025; ++i) biases += fmt::format("{}\"{}\":1", i > 0 ? "," : "", i);
  EXPECT_EQ(chat_refuses(R"("logit_bias":)" + biases + "}"), "logit_bias");
  EXPECT_EQ(chat_refuses(R"("cache_salt":")" + std::string(1025, 'a') + "\""), "cache_salt");
  EXPECT_EQ(chat_refuses(R"("cache_salt":"")"), "cache_salt");
}

TEST(ChatRequest, FieldsThatContradictAreRefused) {
  EXPECT_EQ(chat_refuses(R"("top_logprobs":1)"), "top_logprobs");
  EXPECT_EQ(chat_refuses(R"("top_logprobs":0)"), "ok");
  EXPECT_EQ(chat_refuses(R"("stream_options":{"include_usage":true})"), "stream_options");
  EXPECT_EQ(chat_refuses(R"("stream":true,"stream_options":{"include_usage":1})"),
            "stream_options");
  EXPECT_EQ(chat_refuses(R"("n":2,"best_of":1)"), "best_of");
  EXPECT_EQ(chat_refuses(R"("stream":true,"best_of":2)"), "best_of");
  EXPECT_EQ(chat_refuses(R"("stream":true,"n":2,"best_of":2)"), "ok");
  EXPECT_EQ(chat_refuses(R"("stream":true,"prompt_logprobs":1)"), "prompt_logprobs");
  EXPECT_EQ(chat_refuses(R"("min_tokens":5,"max_tokens":4)"), "min_tokens");
  EXPECT_EQ(chat_refuses(R"("min_tokens":5,"max_tokens":5)"), "ok");
  EXPECT_EQ(chat_refuses(R"("continue_final_message":true,"add_generation_prompt":true)"),
            "continue_final_message");
}

TEST(ChatRequest, BestOfComparesLogprobsThatTheAnswerDoesNotShow) {
  const GenerationOptions options = chat(R"("best_of":4,"n":2)").options;
  EXPECT_EQ(options.sampling.logprobs, 0);
  EXPECT_EQ(options.logprobs, std::nullopt);
  EXPECT_EQ(options.num_choices(), 4);
}

TEST(ChatRequest, WhatIsNotBuiltIsRefusedByName) {
  for (const char* field :
       {"structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
        "json_schema", "regex", "ebnf", "prompt_embeds", "mm_processor_kwargs",
        "kv_transfer_params", "disaggregated_params", "logprob_token_ids", "logits_processors",
        "thinking_token_budget", "chat_template", "audio", "web_search_options"})
    EXPECT_EQ(chat_refuses(fmt::format(R"("{}":{{"a":1}})", field)), field);
  EXPECT_EQ(chat_refuses(R"("use_beam_search":true)"), "use_beam_search");
  EXPECT_EQ(chat_refuses(R"("use_beam_search":false)"), "ok");
  EXPECT_EQ(chat_refuses(R"("modalities":["text","audio"])"), "modalities");
  EXPECT_EQ(chat_refuses(R"("modalities":["text"])"), "ok");
  EXPECT_EQ(chat_refuses(R"("response_format":{"type":"text"})"), "ok");
  for (const char* format : {R"({"type":"json_object"})", R"({"type":"json_schema"})", "{}", "[]",
                             R"("text")", R"({"type":5})"})
    EXPECT_EQ(chat_refuses(fmt::format(R"("response_format":{})", format)), "response_format");
}

TEST(ChatRequest, WhatHasNoEffectIsNamed) {
  const GenerationOptions options =
      chat(R"("user":"u","metadata":{},"store":true,"length_penalty":1.0,"verbosity":"low",)"
           R"("parallel_tool_calls":true,"unknown":1,"also\nunknown":2,"nothing":null)")
          .options;
  EXPECT_THAT(
      options.ignored_fields,
      testing::UnorderedElementsAre("user", "metadata", "store", "length_penalty", "verbosity",
                                    "parallel_tool_calls", "unknown", "also?unknown"));
}

TEST(ChatRequest, StrictLimitsRefuseWhatNobodyKnows) {
  GenerationLimits strict = kLimits;
  strict.body.strict = true;
  const auto refuses = [&](const std::string& fields) {
    return refused([&] {
      parse_chat_completion_request("{" + std::string(kHello) + "," + fields + "}", strict, {}, {});
    });
  };
  EXPECT_EQ(refuses(R"("user":"u","metadata":{},"store":true,"parallel_tool_calls":true)"), "ok");
  EXPECT_EQ(refuses(R"("user":"u","unknown":1)"), "unknown");
  EXPECT_EQ(refuses(R"("unknown":null)"), "ok");
}

TEST(ChatRequest, StreamsMayHaveToTellTheirUsage) {
  GenerationLimits limits = kLimits;
  limits.force_include_usage = true;
  const auto tells_usage = [&](const std::string& fields) {
    return parse_chat_completion_request("{" + std::string(kHello) + "," + fields + "}", limits, {},
                                         {})
        .options.include_usage;
  };
  EXPECT_TRUE(tells_usage(R"("stream":true)"));
  EXPECT_TRUE(tells_usage(R"("stream":true,"stream_options":{"include_usage":false})"));
  EXPECT_FALSE(tells_usage(R"("stream":false)"));
}

TEST(ChatRequest, PrioritiesOfServiceTiers) {
  EXPECT_EQ(chat(R"("service_tier":"priority")").options.priority, -1);
  EXPECT_EQ(chat(R"("service_tier":"auto")").options.priority, 0);
  EXPECT_EQ(chat(R"("service_tier":"auto")").options.service_tier, "default");
  EXPECT_EQ(chat("").options.service_tier, "");
}

TEST(ChatRequest, SaltsOfTwoNamesDiffer) {
  EXPECT_NE(chat(R"("cache_salt":"a")").options.cache_salt,
            chat(R"("prompt_cache_key":"a")").options.cache_salt);
  EXPECT_EQ(chat("").options.cache_salt, "");
}

// --- messages ------------------------------------------------------------------------------------

TEST(Messages, ContentsBecomeTexts) {
  const json::value messages = messages_of(
      R"([{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
      R"({"role":"assistant","content":null,"refusal":"no"},{"role":"assistant"},)"
      R"({"role":"user","content":"c","name":"n"}])");
  EXPECT_EQ(messages.at(0).at("content"), "a\nb");
  EXPECT_EQ(messages.at(1).at("content"), "no");
  EXPECT_EQ(messages.at(2).at("content"), "");
  EXPECT_EQ(messages.at(3).at("name"), "n");
}

TEST(Messages, RolesThatTheTemplateLacks) {
  const std::string messages =
      R"([{"role":"developer","content":"a"},{"role":"function","name":"f","content":"b"}])";
  EXPECT_EQ(messages_of(messages).at(0).at("role"), "system");
  EXPECT_EQ(messages_of(messages, {.developer = true}).at(0).at("role"), "developer");
  EXPECT_EQ(messages_of(messages).at(1).at("role"), "tool");
}

TEST(Messages, CallsAreGivenAsObjects) {
  const json::value messages = messages_of(
      R"([{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":)"
      R"({"name":"f","arguments":"{\"a\":1}"}}]},)"
      R"({"role":"assistant","content":null,"function_call":{"name":"g","arguments":""}},)"
      R"({"role":"assistant","content":"x","tool_calls":[]}])");
  EXPECT_EQ(messages.at(0).at("tool_calls").at(0).at("function").at("arguments").at("a"), 1);
  EXPECT_EQ(messages.at(1).at("tool_calls").at(0).at("function").at("name"), "g");
  EXPECT_FALSE(messages.at(1).as_object().contains("function_call"));
  EXPECT_FALSE(messages.at(2).as_object().contains("tool_calls"));
}

TEST(Messages, AreRefusedByTheirPlace) {
  const auto refusal = [](const std::string& messages) {
    try {
      messages_of(messages);
      return std::string("ok");
    } catch (const RequestError& error) {
      EXPECT_EQ(error.param(), "messages");
      return std::string(error.what());
    }
  };
  EXPECT_THAT(refusal("[]"), HasSubstr("must not be empty"));
  EXPECT_THAT(refusal("{}"), HasSubstr("must be a list"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("messages[0] must be an object"));
  EXPECT_THAT(refusal(R"([{"content":"a"}])"), HasSubstr("messages[0].role"));
  EXPECT_THAT(refusal(R"([{"role":"king","content":"a"}])"), HasSubstr("messages[0].role"));
  EXPECT_THAT(refusal(R"([{"role":"user"}])"), HasSubstr("messages[0].content"));
  EXPECT_THAT(refusal(R"([{"role":"user","content":5}])"), HasSubstr("messages[0].content"));
  EXPECT_THAT(
      refusal(
          R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://a"}}]}])"),
      HasSubstr("reads text only"));
  EXPECT_THAT(refusal(R"([{"role":"user","content":[{"type":"text"}]}])"), HasSubstr("without"));
  EXPECT_THAT(refusal(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f",)"
                      R"("arguments":"{"}}]}])"),
              HasSubstr("messages[0].tool_calls[0].function.arguments"));
  EXPECT_THAT(refusal(R"([{"role":"assistant","tool_calls":[{}]}])"),
              HasSubstr("messages[0].tool_calls[0]"));
}

TEST(Messages, ContinuingAsksForNoNewTurn) {
  const std::string body =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],)"
      R"("continue_final_message":true})";
  const ChatPrompt prompt = parse_chat_completion_request(body, kLimits, {}, {}).prompt;
  EXPECT_TRUE(prompt.continue_final_message);
  EXPECT_FALSE(prompt.add_generation_prompt);
  EXPECT_EQ(prompt.final_content, "b");
  EXPECT_TRUE(chat("").prompt.add_generation_prompt);
  EXPECT_FALSE(chat(R"("add_generation_prompt":false)").prompt.add_generation_prompt);
}

// --- tools and variables -------------------------------------------------------------------------

constexpr std::string_view kTool =
    R"({"type":"function","function":{"name":"get_weather","parameters":{}}})";

TEST(Tools, AreShownToTheModelWhereItMayNotCallThem) {
  const std::string tools = fmt::format(R"("tools":[{}])", kTool);
  EXPECT_EQ(json::parse(chat(tools + R"(,"tool_choice":"none")").prompt.tools, "tools"),
            json::parse(fmt::format("[{}]", kTool), "tools"));
  EXPECT_EQ(chat_refuses(tools), "tools");
  EXPECT_EQ(chat_refuses(tools + R"(,"tool_choice":"auto")"), "tools");
  EXPECT_EQ(chat_refuses(tools + R"(,"tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(chat_refuses(tools + R"(,"tool_choice":{"type":"function"})"), "tool_choice");
  EXPECT_EQ(chat_refuses(R"("tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(chat_refuses(R"("tool_choice":"auto")"), "ok");
  EXPECT_EQ(chat_refuses(R"("tools":[],"tool_choice":"auto")"), "ok");
  EXPECT_EQ(chat(R"("tools":[])").prompt.tools, "");
}

TEST(Tools, TheOlderFormIsTranslated) {
  const std::string functions = R"("functions":[{"name":"f","parameters":{}}])";
  const json::value tools =
      json::parse(chat(functions + R"(,"function_call":"none")").prompt.tools, "tools");
  EXPECT_EQ(tools.at(0).at("type"), "function");
  EXPECT_EQ(tools.at(0).at("function").at("name"), "f");
  EXPECT_EQ(chat_refuses(functions), "functions");
  EXPECT_EQ(chat_refuses(functions + R"(,"function_call":{"name":"f"})"), "function_call");
}

TEST(Tools, HaveNamesAndLimits) {
  const auto refuses = [](const std::string& tool) {
    return chat_refuses(fmt::format(R"("tools":[{}],"tool_choice":"none")", tool));
  };
  EXPECT_EQ(refuses("5"), "tools");
  EXPECT_EQ(refuses("{}"), "tools");
  EXPECT_EQ(refuses(R"({"type":"custom","custom":{}})"), "tools");
  EXPECT_EQ(refuses(R"({"type":"function","function":{}})"), "tools");
  EXPECT_EQ(refuses(R"({"type":"function","function":{"name":"a b"}})"), "tools");
  EXPECT_EQ(refuses(R"({"type":"function","function":{"name":"a.b/c-d_e"}})"), "ok");
  std::string many;
  for (int i = 0; i < 129; ++i) many += (i > 0 ? "," : "") + std::string(kTool);
  EXPECT_EQ(refuses(many), "tools");
}

TEST(Variables, OfBothNamesAndOfReasoning) {
  const auto variables = [](const std::string& fields) {
    return json::parse(chat(fields).prompt.chat_template_kwargs, "variables");
  };
  EXPECT_EQ(chat("").prompt.chat_template_kwargs, "");
  const json::value both =
      variables(R"("chat_template_kwargs":{"enable_thinking":true},"chat_template_args":{"b":2})");
  EXPECT_EQ(both.at("enable_thinking"), true);
  EXPECT_EQ(both.at("b"), 2);
  const json::value none = variables(R"("reasoning_effort":"none")");
  EXPECT_EQ(none.at("reasoning_effort"), "none");
  EXPECT_EQ(none.at("enable_thinking"), false);
  EXPECT_FALSE(variables(R"("reasoning_effort":"high")").as_object().contains("enable_thinking"));
  EXPECT_EQ(chat_refuses(R"("reasoning_effort":"much")"), "reasoning_effort");
  EXPECT_EQ(chat_refuses(R"("chat_template_kwargs":[])"), "chat_template_kwargs");
  EXPECT_EQ(chat_refuses(R"("documents":[1])"), "documents");
  EXPECT_EQ(chat(R"("documents":[{"text":"a"}])").prompt.documents, R"([{"text":"a"}])");
}

// --- completions ---------------------------------------------------------------------------------

TEST(CompletionRequest, TakesTheFourFormsOfPrompt) {
  const auto parse = [](const std::string& prompt) {
    return parse_completion_request(R"({"prompt":)" + prompt + "}", kLimits, {}).prompts;
  };
  EXPECT_EQ(std::get<std::string>(parse(R"("a")").at(0)), "a");
  EXPECT_EQ(parse(R"(["a","b"])").size(), 2u);
  EXPECT_THAT(std::get<std::vector<int32_t>>(parse("[1,2]").at(0)), ElementsAre(1, 2));
  EXPECT_EQ(parse("[[1],[2]]").size(), 2u);
  for (const char* prompt :
       {"5", "[]", "[[]]", "[1000]", R"(["a",1])", "null", R"(["a","a","a","a","a"])"}) {
    EXPECT_EQ(refused([&] { parse(prompt); }), "prompt") << prompt;
  }
}

TEST(CompletionRequest, HasItsOwnMeanings) {
  EXPECT_EQ(completion(R"("max_tokens":0)").options.max_tokens, 0);
  EXPECT_EQ(completion("").options.max_tokens, std::nullopt);
  EXPECT_EQ(completion_refuses(R"("max_tokens":-1)"), "max_tokens");
  EXPECT_EQ(completion(R"("logprobs":0)").options.logprobs, 0);
  EXPECT_EQ(completion(R"("logprobs":20)").options.sampling.logprobs, 20);
  EXPECT_EQ(completion_refuses(R"("logprobs":21)"), "logprobs");
  EXPECT_EQ(completion_refuses(R"("logprobs":true)"), "logprobs");
  EXPECT_EQ(completion(R"("suffix":"b")").suffix, "b");
  EXPECT_EQ(completion_refuses(R"("suffix":"b","echo":true)"), "suffix");
}

TEST(CompletionRequest, EchoWithLogprobsWantsThoseOfThePrompt) {
  const GenerationOptions options = completion(R"("echo":true,"logprobs":3,"stream":true)").options;
  EXPECT_EQ(options.sampling.prompt_logprobs, 3);
  EXPECT_EQ(options.prompt_logprobs, std::nullopt);
  EXPECT_EQ(completion(R"("echo":true)").options.sampling.prompt_logprobs, std::nullopt);
}

}  // namespace
}  // namespace millrace
