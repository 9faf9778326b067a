// The table of a generator's routes, and what the server asks of it.
#include "server/generator_endpoints.h"

#include <future>

#include "base/hash.h"
#include "base/version.h"
#include "server/service.h"

namespace millrace {

namespace {

SamplingParams default_sampling(const GenerationDefaults& defaults) {
  SamplingParams params;
  params.temperature = defaults.temperature.value_or(params.temperature);
  params.top_k = defaults.top_k.value_or(params.top_k);
  params.top_p = defaults.top_p.value_or(params.top_p);
  params.min_p = defaults.min_p.value_or(params.min_p);
  params.repetition_penalty = defaults.repetition_penalty.value_or(params.repetition_penalty);
  return params;
}

// A template that never says "developer" would drop such messages, or write a role that the model
// has not seen.
ChatRoles roles_of(const LoadedModel& model) {
  ChatRoles roles;
  for (const auto& [name, text] : model.files.config_texts) {
    const bool has_template =
        name.ends_with(".jinja") || name == "chat_template.json" || name == "tokenizer_config.json";
    roles.developer = roles.developer || (has_template && text.find("developer") != text.npos);
  }
  return roles;
}

// What two answers to the same request and seed have in common.
std::string fingerprint_of(const LoadedModel& model) {
  Sha256 digest;
  digest.update(kVersion);
  digest.update(model.name);
  for (const auto& [name, text] : model.files.config_texts) digest.update(text);
  digest.update(to_string(model.device));
  digest.update(to_string(model.plan.precision.product));
  return "fp_" + digest.hex_digest().substr(0, 12);
}

CacheGeometry geometry_of(const BlockManagerConfig& blocks) {
  CacheGeometry geometry;
  for (const CacheGroupConfig& group : blocks.groups) {
    geometry.block_size = group.block_size;
    geometry.num_blocks += group.num_blocks;
  }
  return geometry;
}

double mebibytes(int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

GeneratorEndpoints::GeneratorEndpoints(Service& service, Generator& generator,
                                       std::function<void()> on_lost)
    : service_(service),
      generator_(generator),
      defaults_(default_sampling(generator.defaults)),
      roles_(roles_of(service.model())),
      fim_(find_fim_tokens(*service.model().tokenizer)),
      fingerprint_(fingerprint_of(service.model())),
      metrics_(service.model_name(), generator.limits.max_seq_len, geometry_of(generator.blocks)),
      engine_(std::move(generator.runner),
              {.limits = generator.limits,
               .blocks = generator.blocks,
               .vocab_size = service.model().config.vocab_size},
              std::move(on_lost)) {}

const std::vector<GeneratorEndpoints::Entry>& GeneratorEndpoints::table() {
  constexpr bool kComputes = true;
  static const std::vector<Entry> table = {
      {"/v1/chat/completions", &GeneratorEndpoints::chat_completions},
      {"/chat/completions", &GeneratorEndpoints::chat_completions},
      {"/v1/completions", &GeneratorEndpoints::completions},
      {"/completions", &GeneratorEndpoints::completions},
      {"/tokenize", &GeneratorEndpoints::tokenize, !kComputes},
      {"/v1/tokenize", &GeneratorEndpoints::tokenize, !kComputes},
      {"/detokenize", &GeneratorEndpoints::detokenize, !kComputes},
      {"/v1/detokenize", &GeneratorEndpoints::detokenize, !kComputes},
  };
  return table;
}

std::vector<std::string> GeneratorEndpoints::paths() {
  return paths_of(table());
}

std::vector<Route> GeneratorEndpoints::routes() {
  return routes_of(table(), *this);
}

std::string GeneratorEndpoints::default_route() const {
  return generator_.chat_template ? "/v1/chat/completions" : "/v1/completions";
}

// A whole step of a prompt, and a few tokens behind it.
void GeneratorEndpoints::warm_up() {
  constexpr int64_t kOutput = 4;
  const int64_t room = std::min(max_model_len(), cache_tokens()) - kOutput;
  const int64_t length = std::clamp<int64_t>(generator_.limits.max_num_tokens, 1, room);
  std::promise<std::exception_ptr> done;
  GenerationRequest request{
      .prompt = std::vector<int32_t>(static_cast<size_t>(length), 0),
      .sampling = {.temperature = 0, .max_tokens = kOutput, .ignore_eos = true},
      .scope = {.tenant = "warm-up"},
      .on_chunk = [&](GenerationChunk chunk) {
        if (chunk.finish_reason != FinishReason::kNone) done.set_value(chunk.error);
      }};
  engine_.submit(std::move(request));
  if (const std::exception_ptr error = done.get_future().get()) std::rethrow_exception(error);
}

// Running sequences leave at an even rate, and each makes room for one that waits.
double GeneratorEndpoints::wait_time(size_t) const {
  return drain_time();
}

double GeneratorEndpoints::drain_time() const {
  const GenerationStats stats = engine_.stats();
  if (stats.num_waiting == 0) return 0;
  return prompt_seconds_.load() * static_cast<double>(stats.num_waiting) /
         static_cast<double>(std::max<size_t>(1, stats.num_running));
}

void GeneratorEndpoints::observe_prompt(const GenerationTimes& times, int64_t num_prompt_tokens,
                                        int64_t num_choices, int64_t max_tokens) {
  constexpr double kMemory = 0.9;  // of each prompt in the next
  metrics_.observe_prompt(times, num_prompt_tokens, num_choices, max_tokens);
  if (!times.scheduled_at) return;
  const double took = seconds(times.last_token_at - *times.scheduled_at);
  const double before = prompt_seconds_.load();  // an update that is lost does no harm
  prompt_seconds_.store(before == 0 ? took : kMemory * before + (1 - kMemory) * took);
}

std::optional<int64_t> GeneratorEndpoints::default_max_tokens() const {
  return generator_.request_default_max_tokens ? generator_.request_default_max_tokens
                                               : generator_.defaults.max_new_tokens;
}

// Of one sequence in the smallest group that keeps all of it.
int64_t GeneratorEndpoints::cache_tokens() const {
  int64_t tokens = std::numeric_limits<int64_t>::max();
  for (const CacheGroupConfig& group : generator_.blocks.groups) {
    if (group.window == 0) tokens = std::min(tokens, group.num_blocks * group.block_size);
  }
  return tokens;
}

void GeneratorEndpoints::describe(json::object& info) const {
  const DecodeLimits& steps = generator_.limits;
  info["model_type"] = json::object{{"generator", json::object{}}};
  info["system_fingerprint"] = fingerprint_;
  info["chat_template"] = generator_.chat_template.has_value();
  info["fill_in_the_middle"] = fim_.has_value();
  json::object& memory = info["memory"].as_object();
  memory["kv_cache_bytes"] = generator_.kv_bytes;
  memory["kv_cache_host_bytes"] = generator_.kv_host_bytes;
  json::array groups;
  for (const CacheGroupConfig& group : generator_.blocks.groups) {
    groups.push_back(json::object{{"block_size", group.block_size},
                                  {"num_blocks", group.num_blocks},
                                  {"num_host_blocks", group.num_host_blocks},
                                  {"window", group.window}});
  }
  info["kv_cache_groups"] = std::move(groups);
  json::object& limits = info["limits"].as_object();
  limits["max_model_len"] = steps.max_seq_len;
  limits["max_step_tokens"] = steps.max_num_tokens;
  limits["max_step_sequences"] = steps.max_batch_size;
  limits["total_token_limit"] = steps.total_token_limit;
  limits["chunked_prefill"] = steps.chunked_prefill;
  limits["batch_scheduler_policy"] = to_string(steps.policy);
  const auto default_max_tokens = this->default_max_tokens();
  limits["request_default_max_tokens"] =
      default_max_tokens ? json::value(*default_max_tokens) : json::value(nullptr);
  info["generation_defaults"] =
      json::object{{"temperature", defaults_.temperature},
                   {"top_k", defaults_.top_k},
                   {"top_p", defaults_.top_p},
                   {"min_p", defaults_.min_p},
                   {"repetition_penalty", defaults_.repetition_penalty},
                   {"end_token_ids", json::array(end_token_ids().begin(), end_token_ids().end())}};
  info["max_model_len"] = steps.max_seq_len;
}

std::vector<std::string> GeneratorEndpoints::report() const {
  const DecodeLimits& limits = generator_.limits;
  const CacheGeometry cache = geometry_of(generator_.blocks);
  return {fmt::format("KV cache: {:.1f} MiB, {} blocks of {} tokens",
                      mebibytes(generator_.kv_bytes), cache.num_blocks, cache.block_size),
          fmt::format("limits: {} tokens per sequence, {} tokens and {} sequences per step, {}",
                      limits.max_seq_len, limits.max_num_tokens, limits.max_batch_size,
                      to_string(limits.policy)),
          fmt::format("chat template: {}", generator_.chat_template
                                               ? "of the model"
                                               : "none; chat completions are refused")};
}

}  // namespace millrace
