// Types of scaling, their numbers, and the attention factors that follow from them.
// Source: transformers' modeling_rope_utils.
#include "config/hf_rope.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr std::array<std::string_view, 18> kKeys = {
    "rope_type",        "type",
    "rope_theta",       "partial_rotary_factor",
    "factor",           "original_max_position_embeddings",
    "attention_factor", "low_freq_factor",
    "high_freq_factor", "beta_fast",
    "beta_slow",        "mscale",
    "mscale_all_dim",   "truncate",
    "short_factor",     "long_factor",
    "short_mscale",     "long_mscale"};

RopeScaling scaling_of(const json::Reader& rope, bool is_phi3) {
  auto name = rope.string("rope_type");   // since transformers 4.43
  if (!name) name = rope.string("type");  // before
  if (!name || *name == "default" || *name == "dynamic") return RopeScaling::kNone;
  if (*name == "linear") return RopeScaling::kLinear;
  if (*name == "llama3") return RopeScaling::kLlama3;
  if (*name == "longrope" || *name == "su" || (is_phi3 && *name == "yarn"))
    return RopeScaling::kLongRope;
  if (*name == "yarn") return RopeScaling::kYarn;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: rope_type \"{}\" is not supported; allowed: default, linear, "
                          "dynamic, llama3, yarn, longrope",
                          rope.what(), *name));
}

double positive(const json::Reader& rope, std::string_view key, double otherwise) {
  const double value = rope.number(key).value_or(otherwise);
  if (!(value > 0 && value <= 1e12)) rope.fail(key, fmt::format("{} is outside 0..1e12", value));
  return value;
}

std::vector<float> factors(const json::Reader& rope, std::string_view key, int64_t count) {
  const json::value* found = rope.find(key);
  const json::array* list = found ? found->if_array() : nullptr;
  if (!list || static_cast<int64_t>(list->size()) != count)
    rope.fail(key, fmt::format("it must be a list of {} numbers, one a frequency", count));
  std::vector<float> out;
  for (const json::value& element : *list) {
    const double value = element.is_number() ? element.to_number<double>() : 0;
    if (!(value > 0 && value <= 1e12))
      rope.fail(key, fmt::format("number {} is outside 0..1e12", out.size()));
    out.push_back(static_cast<float>(value));
  }
  return out;
}

// What scores gain where positions are drawn together (Peng et al. 2023, section 3.4).
double yarn_factor(const json::Reader& rope, double factor) {
  const auto gain = [factor](double scale) {
    return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
  };
  const double mscale = rope.number("mscale").value_or(0);
  const double all_dim = rope.number("mscale_all_dim").value_or(0);
  return mscale != 0 && all_dim != 0 ? gain(mscale) / gain(all_dim) : gain(1);
}

void read_scaling(const json::Reader& rope, const RopeDefaults& defaults, RopeConfig& config) {
  config.original_max_positions = defaults.original_max_positions;
  if (config.original_max_positions == 0) {
    config.original_max_positions =
        rope.has("original_max_position_embeddings")
            ? rope.require_integer("original_max_position_embeddings", 2, INT32_MAX)
            : defaults.max_positions;
  }
  const double original = static_cast<double>(config.original_max_positions);
  const bool by_length =
      config.scaling == RopeScaling::kLongRope || config.scaling == RopeScaling::kYarn;
  if (!rope.has("factor") && !by_length) rope.fail("factor", "it is missing");
  config.factor = positive(rope, "factor", static_cast<double>(defaults.max_positions) / original);
  double attention_factor = 1;
  if (config.scaling == RopeScaling::kLlama3) {
    config.low_freq_factor = positive(rope, "low_freq_factor", 1);
    config.high_freq_factor = positive(rope, "high_freq_factor", 4);
    if (config.high_freq_factor <= config.low_freq_factor)
      rope.fail("high_freq_factor", "it must be above low_freq_factor");
  } else if (config.scaling == RopeScaling::kYarn) {
    config.beta_fast = positive(rope, "beta_fast", 32);
    config.beta_slow = positive(rope, "beta_slow", 1);
    config.truncate = rope.boolean("truncate").value_or(true);
    attention_factor = yarn_factor(rope, config.factor);
  } else if (config.scaling == RopeScaling::kLongRope) {
    config.short_factor = factors(rope, "short_factor", config.rotary_dim / 2);
    config.long_factor = factors(rope, "long_factor", config.rotary_dim / 2);
    if (config.factor > 1)
      attention_factor = std::sqrt(1 + std::log(config.factor) / std::log(original));
  }
  if (by_length) config.attention_factor = positive(rope, "attention_factor", attention_factor);
}

}  // namespace

RopeConfig read_rope(const json::Reader* rope, const RopeDefaults& defaults,
                     std::set<std::string>& unknown) {
  RopeConfig config{.theta = defaults.theta};
  double partial = defaults.partial_rotary_factor;
  if (rope) {
    for (const auto& member : rope->raw()) {
      if (std::ranges::find(kKeys, std::string_view(member.key())) == kKeys.end())
        unknown.insert(std::string(member.key()));
    }
    config.theta = positive(*rope, "rope_theta", defaults.theta);
    partial = rope->number("partial_rotary_factor").value_or(partial);
    config.scaling = scaling_of(*rope, defaults.is_phi3);
  }
  if (!(config.theta > 1)) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: rope_theta {} is not above 1", defaults.what, config.theta));
  }
  if (!(partial > 0 && partial <= 1)) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: partial_rotary_factor {} is outside 0..1",
                                                 defaults.what, partial));
  }
  config.rotary_dim = static_cast<int64_t>(static_cast<double>(defaults.head_dim) * partial);
  if (config.rotary_dim < 2 || config.rotary_dim % 2 != 0) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: rotary positions take pairs of elements, and {} of head_dim {} "
                            "are {}",
                            defaults.what, partial, defaults.head_dim, config.rotary_dim));
  }
  if (config.scaling != RopeScaling::kNone) read_scaling(*rope, defaults, config);
  return config;
}

}  // namespace millrace
