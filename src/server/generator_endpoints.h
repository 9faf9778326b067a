// GeneratorEndpoints: the engine of a model that generates text, and the routes over it.
#pragma once

#include <atomic>
#include <optional>

#include "runtime/generation_core.h"
#include "runtime/generator.h"
#include "server/chat_types.h"
#include "server/completion_types.h"
#include "server/endpoints.h"
#include "server/fim.h"
#include "server/generation.h"
#include "server/generation_metrics.h"

namespace millrace {

class Service;

class GeneratorEndpoints : public Endpoints {
 public:
  // `service` outlives it. Takes the model's decode runner. `on_lost` is called once, on another
  // thread, when the GPU fails for good.
  GeneratorEndpoints(Service& service, Generator& generator, std::function<void()> on_lost);

  static std::vector<std::string> paths();  // of the routes that need a generator

  std::vector<Route> routes() override;
  std::string default_route() const override;
  ErrorStyle error_style(std::string_view) const override { return ErrorStyle::kOpenAI; }
  void warm_up() override;
  void stop() override { engine_.stop(); }
  bool healthy(Clock::duration patience) const override { return engine_.healthy(patience); }
  double wait_time(size_t body_bytes) const override;
  double drain_time() const override;
  int64_t max_model_len() const override { return generator_.limits.max_seq_len; }
  void describe(json::object& info) const override;
  std::vector<std::string> report() const override;
  void observe_failure(Refusal refusal) override { metrics_.observe_failure(refusal); }
  std::string scrape() override { return metrics_.scrape(engine_.stats()); }

  // For Generation.
  Service& service() { return service_; }
  GenerationCore& engine() { return engine_; }
  GenerationMetrics& metrics() { return metrics_; }
  const TokenPieces& pieces() const { return *generator_.pieces; }
  const std::vector<int32_t>& end_token_ids() const { return generator_.defaults.end_token_ids; }
  void observe_prompt(const GenerationTimes& times, int64_t num_prompt_tokens, int64_t num_choices,
                      int64_t max_tokens);

 private:
  using Entry = RouteEntry<GeneratorEndpoints>;
  static const std::vector<Entry>& table();  // of POST routes

  void chat_completions(const ExchangePtr& exchange);  // generation_routes.cpp
  void completions(const ExchangePtr& exchange);
  void tokenize(const ExchangePtr& exchange);
  void detokenize(const ExchangePtr& exchange);

  GenerationLimits generation_limits() const;
  void require_model(const std::string& name) const;
  // The tokens of messages. `add_special_tokens`: the tokenizer's own around them too.
  std::vector<int32_t> render(const ChatPrompt& prompt, bool add_special_tokens) const;
  void resolve_bad_words(GenerationOptions& options) const;
  void truncate(std::vector<int32_t>& prompt, const GenerationOptions& options) const;
  // What is generated at most behind a prompt. Throws RequestError{context_length_exceeded}.
  int64_t settle_max_tokens(int64_t num_prompt_tokens, const GenerationOptions& options,
                            std::optional<int64_t> default_max_tokens,
                            std::string_view param) const;
  AnswerHead answer_head(const ExchangePtr& exchange, const GenerationOptions& options) const;
  std::optional<int64_t> default_max_tokens() const;  // of the config, else of the checkpoint
  int64_t cache_tokens() const;                       // that the KV cache holds

  Service& service_;
  Generator& generator_;
  SamplingParams defaults_;
  ChatRoles roles_;
  std::optional<FimTokens> fim_;
  std::string fingerprint_;
  std::atomic<double> prompt_seconds_{0};  // running mean: a prompt's time from first schedule on
  GenerationMetrics metrics_;
  GenerationCore engine_;  // its thread ends before what it uses goes away
};

}  // namespace millrace
