// One function per rule; the numbers V1..V29 are those of docs/config.md.
#include "config/config_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "config/accelerator.h"

namespace millrace {

namespace {

const std::string kBuild = "trt_llm.build";
const std::string kBaseModel = kBuild + ".base_model";
const std::string kRepository = kBuild + ".checkpoint_repository";
const std::string kQuantizationType = kBuild + ".quantization_type";

// Launch limits of BEI-Bert engines (Truss, serving_image_builder).
constexpr int64_t kBertMaxBatchSize = 1024;  // sequences
constexpr int64_t kBertMinNumTokens = 1024;

void add_once(Diagnostics& diagnostics, Diagnostics::Finding finding) {
  if (!diagnostics.has_error_at(finding.span)) diagnostics.add(std::move(finding));
}

void check_calibration(const PlacedSettings& settings, Diagnostics& diagnostics) {  // V1
  for (std::string_view key : {"calib_size", "calib_max_seq_length"}) {
    const auto* setting = settings.find(fmt::format("{}.quantization_config.{}", kBuild, key));
    if (!setting) continue;
    const int64_t value = setting->value.integer;
    const bool inside = value >= 64 && value <= 16384;
    if (inside && value % 64 == 0) continue;
    add_once(diagnostics, {.code = "MR1301",
                           .span = setting->span,
                           .message = fmt::format("`{}` is {}, and {}", key, value,
                                                  inside ? "must be a multiple of 64"
                                                         : "must be between 64 and 16384"),
                           .allowed = "multiples of 64 in 64..16384",
                           .help = fmt::format("write `{}: {}`", key,
                                               std::clamp<int64_t>((value / 64) * 64, 64, 16384))});
  }
}

std::string resolve(const std::string& directory, const std::string& repo) {
  const std::filesystem::path path(repo);
  if (path.is_absolute() || directory.empty()) return path.lexically_normal().string();
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

void check_repository(const PlacedSettings& settings, Diagnostics& diagnostics) {
  const auto* repo = settings.find(kRepository + ".repo");
  if (!repo) return;
  const std::string source = settings.text(kRepository + ".source");
  if (source == "HF" && !is_hub_repository(repo->value.text)) {  // V2
    add_once(diagnostics,
             {.code = "MR1302",
              .span = repo->span,
              .message = fmt::format("`{}` is not a Hugging Face repository id",
                                     printable(repo->value.text)),
              .allowed = "name or owner/name of letters, digits, -, _ and ., at most 96 characters",
              .help = "for a directory of this machine write `source: LOCAL`"});
  }
  if (source == "LOCAL") {
    const std::string path = resolve(settings.directory, repo->value.text);
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return;
    add_once(diagnostics,
             {.code = "MR1207",
              .span = repo->span,
              .message = fmt::format("there is no directory {}", printable(path, 200)),
              .help = "name a directory with config.json, tokenizer.json and *.safetensors, "
                      "absolute or relative to this file"});
  }
}

void check_stack(const PlacedSettings& settings, Diagnostics& diagnostics) {
  const auto* build = settings.find(kBuild);
  if (!build) return;
  const bool has_repository = settings.is_written(kRepository);
  if (!settings.is_v2()) {  // V10
    if (!has_repository) {
      diagnostics.add({.code = "MR1310",
                       .span = build->key,
                       .message = "`build` names no checkpoint_repository",
                       .help = "add `checkpoint_repository: {source: LOCAL, repo: ./model}`"});
    }
    return;
  }
  if (!has_repository && settings.text(kBuild + ".skip_build_result") != "true") {  // V14
    diagnostics.add({.code = "MR1314",
                     .span = build->key,
                     .message = "`build` names neither checkpoint_repository nor "
                                "skip_build_result: true"});
  }
  constexpr std::array kV2Build = {"checkpoint_repository", "quantization_type",
                                   "quantization_config", "skip_build_result", "num_builder_gpus"};
  const auto check = [&](const PlacedSetting& setting) {  // V13
    const Field& field = *setting.field;
    const bool is_default =
        field.type != FieldType::kSection && setting.value.text == field.fallback;
    if (field.section() != kBuild || is_default) return;
    if (std::find(kV2Build.begin(), kV2Build.end(), field.name()) != kV2Build.end()) return;
    add_once(diagnostics,
             {.code = "MR1313",
              .span = setting.key,
              .message = fmt::format("`{}` is no build field of inference_stack v2", field.name()),
              .allowed = fmt::format("{}", fmt::join(kV2Build, ", ")),
              .help = "limits and parallel sizes stand in trt_llm.runtime there"});
  };
  for (const PlacedSetting& setting : settings.items) check(setting);
  for (const PlacedSetting& section : settings.sections) check(section);
}

std::optional<AcceleratorSpec> accelerator_of(const PlacedSettings& settings) {
  const auto* setting = settings.find("resources.accelerator");
  return setting ? parse_accelerator(setting->value.text) : std::nullopt;
}

std::string capability_text(const Accelerator& accelerator) {
  return fmt::format("{} has {}.{}", accelerator.name, accelerator.capability / 10,
                     accelerator.capability % 10);
}

void check_accelerator(const PlacedSettings& settings, Diagnostics& diagnostics) {
  const auto spec = accelerator_of(settings);
  if (!spec) return;
  const auto& setting = *settings.find("resources.accelerator");
  const int capability = spec->accelerator.capability;
  if (capability == 0) return;

  const bool is_bert =
      settings.text(kBaseModel) == "encoder_bert" || settings.is_broken(kBaseModel);
  if (capability < 80 && settings.find(kBuild) && !is_bert) {
    add_once(diagnostics,
             {.code = "MR1317",  // V17
              .span = setting.span,
              .message = fmt::format("base_model {} needs compute capability 8.0 or "
                                     "later ({})",
                                     settings.text(kBaseModel), capability_text(spec->accelerator)),
              .help = "choose an A10G, L4 or later; T4 serves encoder_bert only"});
  }
  const auto* quantization = settings.find(kQuantizationType);
  if (!quantization) return;
  const std::string& type = quantization->value.text;
  const bool is_fp4 = type.starts_with("fp4");
  if ((is_fp4 || type.starts_with("fp8")) && capability < 89) {  // V18
    add_once(diagnostics,
             {.code = "MR1318",
              .span = quantization->span,
              .message = fmt::format("{} needs compute capability {} or later ({})", type,
                                     is_fp4 ? "10.0" : "8.9", capability_text(spec->accelerator)),
              .help = fmt::format("write `quantization_type: no_quant`, or choose {}",
                                  is_fp4 ? "a B200 or later" : "an L4, H100 or later")});
  } else if (is_fp4 && capability < 100) {  // V19
    add_once(diagnostics, {.code = "MR1319",
                           .span = quantization->span,
                           .message = fmt::format("{} needs compute capability 10.0 or later ({})",
                                                  type, capability_text(spec->accelerator)),
                           .help = "choose fp8 or no_quant, or a B200 or later"});
  }
}

void check_parallel_sizes(const PlacedSettings& settings, Diagnostics& diagnostics) {
  constexpr std::array kSizes = {"tensor_parallel_count", "pipeline_parallel_count",
                                 "sequence_parallel_count"};
  if (settings.is_v2()) return;
  int64_t world_size = 1;
  const PlacedSetting* first = nullptr;  // the first above 1
  for (std::string_view size : kSizes) {
    const std::string path = fmt::format("{}.{}", kBuild, size);
    if (settings.is_broken(path)) return;
    world_size *= settings.integer(path);
    if (!first && settings.integer(path) > 1) first = settings.find(path);
  }
  const auto spec = accelerator_of(settings);
  if (spec && settings.find(kBuild) && world_size != spec->count) {  // V20
    add_once(diagnostics,
             {.code = "MR1320",
              .span = settings.find("resources.accelerator")->span,
              .message = fmt::format("the accelerator counts {} GPU{}, and the parallel sizes "
                                     "multiply to {}",
                                     spec->count, spec->count == 1 ? "" : "s", world_size),
              .allowed = "tensor_parallel_count x pipeline_parallel_count x "
                         "sequence_parallel_count = count of the accelerator",
              .help = "make the two equal; an encoder uses one GPU"});
  } else if (first) {
    add_once(diagnostics, {.code = "MR1402",
                           .span = first->span,
                           .message = fmt::format("`{}` is {}, and an engine over several GPUs is "
                                                  "not built yet",
                                                  first->field->name(), first->value.text),
                           .help = fmt::format("write `{}: 1`", first->field->name())});
  }
}

void check_encoder(const PlacedSettings& settings, Diagnostics& diagnostics) {
  if (settings.is_v2() || !settings.text(kBaseModel).starts_with("encoder")) return;
  const auto* quantization = settings.find(kQuantizationType);
  if (quantization && quantization->value.text.find("kv") != std::string::npos) {  // V22
    add_once(diagnostics,
             {.code = "MR1322",
              .span = quantization->span,
              .message = fmt::format("{} quantizes a KV cache, and an encoder has none",
                                     quantization->value.text),
              .help = "write `quantization_type: no_quant`"});
  }
  if (settings.text(kBaseModel) != "encoder_bert") return;
  const auto warn = [&](const PlacedSetting& setting, int64_t used, std::string_view bound) {
    diagnostics.add({.code = "MR1330",
                     .span = setting.span,
                     .message = fmt::format("`{}` is {}; a BEI-Bert engine takes {} {}",
                                            setting.field->name(), setting.value.text, bound, used),
                     .help = fmt::format("write `{}: {}`", setting.field->name(), used)});
  };
  const auto* batch = settings.find(kBuild + ".max_batch_size");
  if (batch && batch->value.integer > kBertMaxBatchSize) warn(*batch, kBertMaxBatchSize, "at most");
  const auto* tokens = settings.find(kBuild + ".max_num_tokens");
  if (tokens && tokens->value.integer < kBertMinNumTokens) {
    warn(*tokens, kBertMinNumTokens, "at least");
  }
}

// V3, V11: in TensorRT-LLM a prompt in parts reads the paged cache that the parts before it wrote.
void check_paged_cache(const PlacedSettings& settings, Diagnostics& diagnostics) {
  const std::string plugins = kBuild + ".plugin_configuration";
  const std::string paged = plugins + ".paged_kv_cache";
  const std::string context = plugins + ".use_paged_context_fmha";
  const std::string chunked = "trt_llm.runtime.enable_chunked_context";
  for (const std::string& path : {paged, context, chunked})
    if (settings.is_broken(path)) return;
  const auto report = [&](const PlacedSetting* setting, std::string_view code,
                          std::string_view message, std::string_view help) {
    if (setting)
      add_once(diagnostics, {.code = code,
                             .span = setting->span,
                             .message = std::string(message),
                             .help = std::string(help)});
  };
  if (settings.boolean(context) && !settings.boolean(paged)) {
    report(settings.find(paged), "MR1303",
           "`use_paged_context_fmha` is true, and needs paged_kv_cache",
           "write `paged_kv_cache: true`, or `use_paged_context_fmha: false` too");
  } else if (settings.boolean(chunked) && !settings.boolean(context)) {
    report(settings.find(context), "MR1311",
           "`enable_chunked_context` is true, and needs paged_kv_cache and use_paged_context_fmha",
           "make both true, or write `enable_chunked_context: false` in trt_llm.runtime");
  }
}

void check_decoder(const PlacedSettings& settings, Diagnostics& diagnostics) {
  if (settings.is_v2() || settings.is_broken(kBaseModel) || !settings.find(kBuild)) return;
  if (settings.text(kBaseModel) != "decoder") return;
  check_paged_cache(settings, diagnostics);
  const auto* experts = settings.find(kBuild + ".moe_expert_parallel_option");
  const int64_t tensor_parallel = settings.integer(kBuild + ".tensor_parallel_count");
  const int64_t option = experts ? experts->value.integer : -1;
  if (option != -1 && (option <= 0 || option > tensor_parallel)) {  // V9
    add_once(diagnostics, {.code = "MR1309",
                           .span = experts->span,
                           .message = fmt::format(
                               "`moe_expert_parallel_option` is {}, and tensor_parallel_count "
                               "is {}",
                               option, tensor_parallel),
                           .allowed = "-1, or 1 to tensor_parallel_count"});
  }
  const auto has_tag = [&](std::string_view tag) {
    return std::ranges::find(settings.tags, tag) != settings.tags.end();
  };
  constexpr std::string_view kLegacy = "force-legacy-api-non-openai-compatible";
  if (!has_tag(kLegacy)) return;  // V21
  const TextSpan span = settings.find("model_metadata")->key;
  if (has_tag("openai-compatible")) {
    diagnostics.add({.code = "MR1321",
                     .span = span,
                     .message = fmt::format("the tags name both openai-compatible and {}", kLegacy),
                     .help = fmt::format("remove the tag {}", kLegacy)});
  } else {
    diagnostics.add(
        {.code = "MR1403",
         .span = span,
         .message = fmt::format("the tag {} has no effect: the API is OpenAI's", kLegacy)});
  }
}

void check_version_overrides(const PlacedSettings& settings, Diagnostics& diagnostics) {  // V29
  for (const PlacedSetting& setting : settings.items) {
    if (setting.field->section() != "trt_llm.version_overrides") continue;
    if (setting.field->name() == "v2_llm_version") continue;
    const std::string& text = setting.value.text;
    if (!text.empty() && text.front() >= '0' && text.front() <= '9') continue;
    add_once(diagnostics, {.code = "MR1329",
                           .span = setting.span,
                           .message = fmt::format("`{}` must start with a digit, not `{}`",
                                                  setting.field->name(), printable(text)),
                           .allowed = "a version such as 1.1.0"});
  }
}

// What the table knows and this version does not do.
void check_support(const PlacedSettings& settings, Diagnostics& diagnostics) {
  const auto check_field = [&](const PlacedSetting& setting) {
    const Field& field = *setting.field;
    if (field.support != Support::kRefused && field.support != Support::kIgnored) return;
    const bool refused = field.support == Support::kRefused;
    add_once(diagnostics,
             {.code = refused ? "MR1402" : "MR1403",
              .span = setting.key,
              .message = fmt::format("`{}` {}: {}", field.name(),
                                     refused ? "is not supported" : "has no effect", field.missing),
              .help = refused ? fmt::format("remove `{}`", field.name()) : std::string()});
  };
  for (const PlacedSetting& section : settings.sections) check_field(section);
  for (const PlacedSetting& setting : settings.items) {
    check_field(setting);
    const SpecialValue* special = find_special_value(*setting.field, setting.value.text);
    if (!special) continue;
    add_once(diagnostics, {.code = special->code,
                           .span = setting.span,
                           .message = std::string(special->message),
                           .help = std::string(special->help)});
  }

  const auto spec = accelerator_of(settings);
  if (spec && (spec->accelerator.capability < 80 || spec->accelerator.target.empty())) {
    add_once(diagnostics,
             {.code = "MR1403",
              .span = settings.find("resources.accelerator")->span,
              .message = fmt::format("there are no kernels for {}; the engine computes on the CPU",
                                     spec->accelerator.name)});
  }
}

}  // namespace

const PlacedSetting* PlacedSettings::find(std::string_view path) const {
  for (const auto* list : {&items, &sections}) {
    const auto found = std::find_if(list->begin(), list->end(), [&](const PlacedSetting& setting) {
      return setting.field->path == path;
    });
    if (found != list->end()) return &*found;
  }
  return nullptr;
}

bool PlacedSettings::is_broken(std::string_view path) const {
  return std::any_of(broken.begin(), broken.end(),
                     [&](const Field* field) { return field->path == path; });
}

bool PlacedSettings::is_written(std::string_view path) const {
  return find(path) || is_broken(path);
}

std::string PlacedSettings::text(std::string_view path) const {
  if (const PlacedSetting* setting = find(path)) return setting->value.text;
  const Field* field = find_field(path);
  CHECK(field, "no field {}", path);
  return std::string(field->fallback);
}

int64_t PlacedSettings::integer(std::string_view path) const {
  const std::string digits = text(path);
  int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

void check_rules(const PlacedSettings& settings, Diagnostics& diagnostics) {
  check_calibration(settings, diagnostics);
  check_repository(settings, diagnostics);
  check_stack(settings, diagnostics);
  check_accelerator(settings, diagnostics);
  check_parallel_sizes(settings, diagnostics);
  check_encoder(settings, diagnostics);
  check_decoder(settings, diagnostics);
  check_version_overrides(settings, diagnostics);
  check_support(settings, diagnostics);
}

void finish_config(ConfigFile& config, const std::string& directory) {
  BuildConfig& build = config.build;
  if (build.source.kind == SourceKind::kLocal && !build.source.repo.empty()) {
    build.source.repo = resolve(directory, build.source.repo);
  }
  if (build.base_model == BaseModel::kEncoderBert) {
    build.max_batch_size = std::min(build.max_batch_size, kBertMaxBatchSize);
    build.max_num_tokens = std::max(build.max_num_tokens, kBertMinNumTokens);
  }
  if (config.runtime.served_model_name.empty())
    config.runtime.served_model_name = config.model_name;
}

// Source: Truss's rule V12, with the class names of transformers.
void check_architecture(const ConfigFile& config, std::string_view architecture,
                        Diagnostics& diagnostics) {
  if (!config.build.base_model) return;
  const BaseModel base_model = *config.build.base_model;
  std::string lower(architecture);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  std::optional<BaseModel> better;
  if (lower.find("bert") != std::string::npos) {
    better = BaseModel::kEncoderBert;
  } else if (architecture.ends_with("ForCausalLM")) {
    better = BaseModel::kDecoder;
  } else if (architecture.ends_with("ForSequenceClassification") &&
             base_model == BaseModel::kDecoder) {
    better = BaseModel::kEncoder;
  }
  if (!better || *better == base_model) return;
  int line = 0;
  const std::string origin = config.origin_of(kBaseModel);
  const size_t colon = origin.rfind(':');
  if (colon != std::string::npos) {
    std::from_chars(origin.data() + colon + 1, origin.data() + origin.size(), line);
  }
  const size_t column = diagnostics.line(line).find(to_string(base_model));
  diagnostics.add(
      {.code = "MR1312",
       .span = {.line = line,
                .column = column == std::string_view::npos ? 1 : static_cast<int>(column) + 1,
                .length = static_cast<int>(to_string(base_model).size())},
       .message = fmt::format("the checkpoint is a {}, which is a {} rather than a {}",
                              printable(architecture), to_string(*better), to_string(base_model)),
       .help = fmt::format("write `base_model: {}`", to_string(*better))});
}

}  // namespace millrace
