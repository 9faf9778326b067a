// The routes of a generator: requests become prompts in tokens and go their way in a Generation.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/error.h"
#include "base/strings.h"
#include "server/content_coding.h"
#include "server/generator_endpoints.h"
#include "server/service.h"
#include "server/token_routes.h"

namespace millrace {

namespace {

constexpr int64_t kCompletionTokens = 16;  // OpenAI's default
constexpr size_t kMaxRequestId = 128;

// Now, in the calendar of this machine, as strftime_now shows it.
int64_t local_seconds() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  return static_cast<int64_t>(now) + local.tm_gmtoff;
}

// The ids that a tokenizer puts around a text.
struct SpecialTokens {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

SpecialTokens special_tokens(const Tokenizer& tokenizer) {
  const Encoding encoding = tokenizer.encode("a", {.offsets = OffsetUnit::kBytes});
  SpecialTokens special;
  bool text_seen = false;
  for (size_t i = 0; i < encoding.token_ids.size(); ++i) {
    if (!encoding.spans[i].special) {
      text_seen = true;
    } else {
      (text_seen ? special.after : special.before).push_back(encoding.token_ids[i]);
    }
  }
  return special;
}

bool fits_header(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestId &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

GenerationLimits GeneratorEndpoints::generation_limits() const {
  const int64_t vocab_size = service_.model().config.vocab_size;
  GenerationLimits limits{.body = service_.body_limits(),
                          .force_include_usage = service_.config().force_include_usage};
  limits.sampling.vocab_size = vocab_size;
  return limits;
}

void GeneratorEndpoints::require_model(const std::string& name) const {
  if (name.empty() || name == service_.model_name() || name == service_.model().name) return;
  throw RequestError(Refusal::kNotFound,
                     fmt::format("the model \"{}\" does not exist; this server has \"{}\"", name,
                                 service_.model_name()),
                     "model", "model_not_found");
}

std::vector<int32_t> GeneratorEndpoints::render(const ChatPrompt& prompt,
                                                bool add_special_tokens) const {
  if (!generator_.chat_template) {
    throw RequestError(
        Refusal::kWrongModel,
        fmt::format("{} has no chat template; use /v1/completions", service_.model_name()),
        "messages");
  }
  const Tokenizer& tokenizer = *service_.model().tokenizer;
  std::vector<int32_t> ids;
  try {
    ids = generator_.chat_template
              ->encode(tokenizer,
                       {.messages = prompt.messages,
                        .tools = prompt.tools,
                        .documents = prompt.documents,
                        .chat_template_kwargs = prompt.chat_template_kwargs,
                        .add_generation_prompt = prompt.add_generation_prompt,
                        .continue_final_message = prompt.continue_final_message ? "content" : "",
                        .allow_control_tokens = prompt.allow_control_tokens,
                        .local_seconds = local_seconds()})
              .token_ids;
  } catch (const Error& error) {
    refuse(error.message(), "messages");
  }
  if (add_special_tokens) {
    const SpecialTokens special = special_tokens(tokenizer);
    ids.insert(ids.begin(), special.before.begin(), special.before.end());
    ids.insert(ids.end(), special.after.begin(), special.after.end());
  }
  if (ids.empty()) refuse("the chat template makes no text of these messages", "messages");
  return ids;
}

// A word is another token inside a text than at its beginning: both are barred.
void GeneratorEndpoints::resolve_bad_words(GenerationOptions& options) const {
  const Tokenizer& tokenizer = *service_.model().tokenizer;
  for (const std::string& given : options.bad_words) {
    const size_t begin = given.find_first_not_of(" \t\r\n\f\v");
    if (begin == std::string::npos) refuse("bad_words holds an empty word", "bad_words");
    const std::string word = given.substr(begin);  // a space behind it is a part of it
    for (const std::string& text : {word, " " + word}) {
      std::vector<int32_t> ids = tokenizer.encode(text, {.add_special_tokens = false}).token_ids;
      std::vector<std::vector<int32_t>>& barred = options.sampling.bad_words;
      if (!ids.empty() && std::ranges::find(barred, ids) == barred.end())
        barred.push_back(std::move(ids));
    }
  }
  SamplingParams probe = options.sampling;
  probe.max_tokens = std::max<int64_t>(1, probe.min_tokens);
  check_sampling(probe, generation_limits().sampling);
}

void GeneratorEndpoints::truncate(std::vector<int32_t>& prompt,
                                  const GenerationOptions& options) const {
  if (!options.truncate_prompt_tokens) return;
  int64_t most = *options.truncate_prompt_tokens;
  if (most < 0) {
    most = std::max<int64_t>(
        1, max_model_len() - std::max<int64_t>(1, options.max_tokens.value_or(1)));
  }
  if (static_cast<int64_t>(prompt.size()) <= most) return;
  const auto surplus = static_cast<std::ptrdiff_t>(prompt.size()) - most;
  if (options.truncation_direction == TruncationDirection::kLeft) {
    prompt.erase(prompt.begin(), prompt.begin() + surplus);
  } else {
    prompt.erase(prompt.end() - surplus, prompt.end());
  }
}

int64_t GeneratorEndpoints::settle_max_tokens(int64_t num_prompt_tokens,
                                              const GenerationOptions& options,
                                              std::optional<int64_t> default_max_tokens,
                                              std::string_view param) const {
  const int64_t room = max_model_len() - num_prompt_tokens;
  if (room < 1) {
    throw RequestError(
        Refusal::kInvalid,
        fmt::format("this model's maximum context length is {} tokens, and the prompt has {}, "
                    "which leaves no room for output; shorten the prompt, or send "
                    "truncate_prompt_tokens",
                    max_model_len(), num_prompt_tokens),
        std::string(param), "context_length_exceeded");
  }
  if (options.max_tokens) return std::min(*options.max_tokens, room);
  // Nobody said how much: no more than the cache can hold for all choices.
  const int64_t held = cache_tokens() / options.num_choices() - num_prompt_tokens;
  const int64_t most = default_max_tokens.value_or(room);
  return std::max<int64_t>(1, std::min({most, room, held}));
}

AnswerHead GeneratorEndpoints::answer_head(const ExchangePtr& exchange,
                                           const GenerationOptions& options) const {
  const http::Request& request = exchange->request();
  const bool named = !request.headers.find("x-request-id") && fits_header(options.request_id);
  return {.id = named ? options.request_id : request.id,
          .created = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count(),
          .model = service_.model_name(),
          .fingerprint = fingerprint_,
          .service_tier = options.service_tier,
          .logprobs = options.logprobs,
          .return_token_ids = options.return_token_ids,
          .return_tokens_as_token_ids = options.return_tokens_as_token_ids,
          .null_usage = options.include_usage,
          .pieces = generator_.pieces.get()};
}

void GeneratorEndpoints::chat_completions(const ExchangePtr& exchange) {
  const auto begun = Clock::now();
  ChatCompletionRequest request = parse_chat_completion_request(
      exchange->request().body, generation_limits(), defaults_, roles_);
  GenerationOptions& options = request.options;
  require_model(options.model);
  resolve_bad_words(options);
  std::vector<int32_t> prompt = render(request.prompt, options.add_special_tokens.value_or(false));
  truncate(prompt, options);
  const int64_t max_tokens = settle_max_tokens(static_cast<int64_t>(prompt.size()), options,
                                               default_max_tokens(), "messages");
  metrics_.observe_tokenization(Clock::now() - begun);
  const AnswerHead head = answer_head(exchange, options);
  auto generation = std::make_shared<Generation>(*this, exchange, std::move(options));
  generation->add(std::move(prompt), std::move(request.prompt.final_content), max_tokens, false);
  generation->run(make_chat_writer(head));
}

void GeneratorEndpoints::completions(const ExchangePtr& exchange) {
  const auto begun = Clock::now();
  CompletionRequest request =
      parse_completion_request(exchange->request().body, generation_limits(), defaults_);
  GenerationOptions& options = request.options;
  require_model(options.model);
  resolve_bad_words(options);
  const Tokenizer& tokenizer = *service_.model().tokenizer;
  if (!request.suffix.empty() && !fim_) {
    refuse(fmt::format("suffix: {} has no control tokens to fill in the middle with",
                       service_.model_name()),
           "suffix");
  }
  const AnswerHead head = answer_head(exchange, options);
  auto generation = std::make_shared<Generation>(*this, exchange, options);
  for (Input& input : request.prompts) {
    std::vector<int32_t> prompt;
    std::string echo;
    if (auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
      prompt = std::move(*ids);
    } else {
      echo = std::get<std::string>(std::move(input));
      prompt =
          !request.suffix.empty()
              ? fim_prompt(*fim_, tokenizer, echo, request.suffix)
              : tokenizer
                    .encode(echo, {.add_special_tokens = options.add_special_tokens.value_or(true)})
                    .token_ids;
    }
    if (prompt.empty()) refuse("prompt has no tokens", "prompt");
    const size_t whole = prompt.size();
    truncate(prompt, options);
    if (echo.empty() || prompt.size() < whole)
      echo = tokenizer.decode(prompt, options.skip_special_tokens);
    const int64_t max_tokens =
        settle_max_tokens(static_cast<int64_t>(prompt.size()), options,
                          default_max_tokens().value_or(kCompletionTokens), "prompt");
    generation->add(std::move(prompt), std::move(echo), max_tokens, true);
  }
  metrics_.observe_tokenization(Clock::now() - begun);
  generation->run(make_completion_writer(head));
}

// vLLM's form; a body with "inputs" is TEI's.
void GeneratorEndpoints::tokenize(const ExchangePtr& exchange) {
  BodyReader body(exchange->request().body, service_.body_limits());
  if (body.find("inputs")) return answer_tei_tokenize(service_, exchange);
  require_model(body.string("model").value_or(""));
  const auto add_special_tokens = body.boolean("add_special_tokens");
  const Tokenizer& tokenizer = *service_.model().tokenizer;
  std::vector<int32_t> ids;
  if (body.find("messages")) {
    ids = render(read_chat_prompt(body, roles_, false), add_special_tokens.value_or(false));
  } else {
    ids = tokenizer
              .encode(body.require_string("prompt"),
                      {.add_special_tokens = add_special_tokens.value_or(true)})
              .token_ids;
  }
  std::string out = fmt::format(R"({{"count":{},"max_model_len":{},"tokens":[{}],"token_strs":)",
                                ids.size(), max_model_len(), fmt::join(ids, ","));
  if (body.boolean("return_token_strs").value_or(false)) {
    out += '[';
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, tokenizer.id_to_token(ids[i]).value_or(""));
    }
    out += ']';
  } else {
    out += "null";
  }
  require_answer_size(out, service_.config().limits.max_body_bytes);
  http::Response response = with_ignored(http::json_response(200, out + "}"), body.ignored());
  apply_content_coding(exchange->request(), response);
  exchange->respond(std::move(response));
}

void GeneratorEndpoints::detokenize(const ExchangePtr& exchange) {
  BodyReader body(exchange->request().body, service_.body_limits());
  require_model(body.string("model").value_or(""));
  const json::value& given = body.require("tokens");
  std::vector<int32_t> ids;
  if (!given.is_array() || !given.get_array().empty())
    ids = read_token_ids(given, "tokens", service_.model().config.vocab_size);
  const bool skip = body.boolean("skip_special_tokens").value_or(false);
  std::string out = R"({"prompt":)";
  append_json_string(out, service_.model().tokenizer->decode(ids, skip));
  require_answer_size(out, service_.config().limits.max_body_bytes);
  http::Response response = with_ignored(http::json_response(200, out + "}"), body.ignored());
  apply_content_coding(exchange->request(), response);
  exchange->respond(std::move(response));
}

}  // namespace millrace
