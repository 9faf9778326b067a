// The reader: walks the tree beside the field table, so that it knows no key by name but one.
#include "config/config_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "config/config_rules.h"
#include "config/config_value.h"
#include "config/nearest.h"
#include "config/yaml.h"

namespace millrace {

namespace {

constexpr size_t kMaxListedKeys = 12;

std::string join_path(std::string_view section, std::string_view key) {
  return section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
}

// `requirements: []`, as tools write it to mean none.
bool is_empty_collection(const Field& field, const YamlNode& node) {
  const bool is_list = node.kind == YamlKind::kSequence && node.items.empty();
  const bool is_mapping = node.kind == YamlKind::kMapping && node.entries.empty();
  return (field.type == FieldType::kAny && (is_list || is_mapping)) ||
         (field.type == FieldType::kStringList && is_list) ||
         (field.type == FieldType::kStringMap && is_mapping);
}

class Reader {
 public:
  Reader(ConfigFile& config, PlacedSettings& settings, Stack stack, Diagnostics& diagnostics)
      : config_(config), settings_(settings), stack_(stack), diagnostics_(diagnostics) {}

  // The keys of one mapping; `key` is where the section's own name stands.
  void read_section(std::string_view section, const YamlNode& node, TextSpan key) {
    for (const YamlEntry& entry : node.entries) {
      const std::string path = join_path(section, entry.key);
      const Field* field = find_field(path);
      if (field && knows(*field)) {
        read_field(*field, entry);
      } else {
        report_unknown(section, entry, field);
      }
    }
    for (const Field& field : config_fields()) {
      if (!field.required || field.section() != section || !knows(field)) continue;
      const YamlNode* value = node.find(field.name());
      if (value && (value->kind != YamlKind::kNull || field.type == FieldType::kSection)) continue;
      diagnostics_.add({.code = "MR1103",
                        .span = key,
                        .message = section.empty()
                                       ? fmt::format("the file has no `{}`", field.path)
                                       : fmt::format("`{}` has no `{}`", section, field.name()),
                        .help = fmt::format("add `{}:`", field.name())});
    }
  }

 private:
  bool knows(const Field& field) const {
    return field.stack == Stack::kBoth || field.stack == stack_;
  }

  void read_field(const Field& field, const YamlEntry& entry) {
    const YamlNode& node = entry.value;
    PlacedSetting placed{
        .field = &field, .value = {}, .key = entry.key_span, .span = entry.key_span};
    if (field.type == FieldType::kSection) {
      if (node.kind != YamlKind::kMapping && node.kind != YamlKind::kNull) {
        report_shape(field, entry);
        settings_.broken.push_back(&field);
        return;
      }
      if (node.kind == YamlKind::kNull && field.support == Support::kRefused) return;
      settings_.sections.push_back(placed);
      read_section(field.path, node, entry.key_span);
      return;
    }
    // As if the key were not there.
    if (node.kind == YamlKind::kNull || is_empty_collection(field, node)) return;
    if (node.kind == YamlKind::kScalar) placed.span = node.span;
    if (!read_value(field, entry, placed.value)) {
      settings_.broken.push_back(&field);
      return;
    }
    settings_.items.push_back(placed);
    config_.settings.push_back({.path = std::string(field.path),
                                .value = field.secret ? "***" : placed.value.text,
                                .origin = fmt::format("{}:{}", config_.path, entry.key_span.line),
                                .has_effect = effective_support(field) == Support::kSupported});
    if (field.store) field.store(config_, placed.value);
  }

  bool read_value(const Field& field, const YamlEntry& entry, FieldValue& out) {
    const YamlNode& node = entry.value;
    switch (field.type) {
      case FieldType::kAny: out.text = "(given)"; return true;
      case FieldType::kStringList: return read_list(field, entry, out);
      case FieldType::kStringMap: return read_map(field, entry, out);
      default: break;
    }
    if (node.kind != YamlKind::kScalar) {
      report_shape(field, entry);
      return false;
    }
    CheckedValue checked = check_value(field, node.scalar, node.quoted);
    if (checked.problem) {
      diagnostics_.add({.code = checked.problem->code,
                        .span = node.span,
                        .message = std::move(checked.problem->message),
                        .allowed = std::move(checked.problem->allowed),
                        .help = std::move(checked.problem->help)});
      return false;
    }
    if (checked.yaml11_boolean) {
      diagnostics_.add(
          {.code = "MR1205",
           .span = node.span,
           .message = fmt::format("`{}` is read as {}", node.scalar, checked.value.text),
           .help = fmt::format("write `{}: {}`", field.name(), checked.value.text)});
    }
    out = std::move(checked.value);
    return true;
  }

  bool read_list(const Field& field, const YamlEntry& entry, FieldValue& out) {
    const YamlNode& node = entry.value;
    const bool plain = std::all_of(node.items.begin(), node.items.end(), [](const YamlNode& item) {
      return item.kind == YamlKind::kScalar;
    });
    if (node.kind != YamlKind::kSequence || !plain) {
      report_shape(field, entry);
      return false;
    }
    out.text = fmt::format("({} given)", node.items.size());
    return true;
  }

  bool read_map(const Field& field, const YamlEntry& entry, FieldValue& out) {
    const YamlNode& node = entry.value;
    const bool plain =
        std::all_of(node.entries.begin(), node.entries.end(), [](const YamlEntry& e) {
          return e.value.kind == YamlKind::kScalar || e.value.kind == YamlKind::kNull;
        });
    if (node.kind != YamlKind::kMapping || !plain) {
      report_shape(field, entry);
      return false;
    }
    out.text = fmt::format("({} given)", node.entries.size());
    return true;
  }

  void report_shape(const Field& field, const YamlEntry& entry) {
    const YamlNode& node = entry.value;
    const std::string_view found = node.kind == YamlKind::kMapping    ? "a mapping"
                                   : node.kind == YamlKind::kSequence ? "a list"
                                                                      : "a single value";
    const bool section = field.type == FieldType::kSection;
    const bool word = field.type == FieldType::kWord;
    diagnostics_.add({.code = section ? "MR1102" : "MR1201",
                      .span = node.kind == YamlKind::kScalar ? node.span : entry.key_span,
                      .message = fmt::format("`{}` must be {}, not {}", field.name(),
                                             word ? "one word" : describe_allowed(field), found),
                      .allowed = word ? describe_allowed(field) : std::string()});
  }

  // `other` is the field of that name in the other inference_stack, if there is one.
  void report_unknown(std::string_view section, const YamlEntry& entry, const Field* other) {
    if (diagnostics_.full()) return add_unknown(section, entry, {}, {});
    if (other) {
      const bool v2 = other->stack == Stack::kV2;
      const Field* build = v2 ? find_field("trt_llm.build." + entry.key) : nullptr;
      return add_unknown(
          section, entry, {},
          fmt::format("it belongs to inference_stack {}{}", v2 ? "v2" : "v1",
                      build ? fmt::format("; in v1 it stands in {}", build->section()) : ""));
    }
    std::vector<std::string_view> siblings;
    for (const Field& field : config_fields()) {
      if (field.section() == section && knows(field)) siblings.push_back(field.name());
    }
    std::string allowed;
    if (siblings.size() <= kMaxListedKeys) allowed = fmt::format("{}", fmt::join(siblings, ", "));
    const std::string_view near = nearest(entry.key, siblings);
    std::string help;
    if (!near.empty()) {
      help = fmt::format("did you mean `{}`?", near);
    } else if (const Field* elsewhere = find_elsewhere(entry.key)) {
      help = elsewhere->section().empty() ? "it stands at the top level of the file"
                                          : fmt::format("it stands in `{}`", elsewhere->section());
    }
    add_unknown(section, entry, std::move(allowed), std::move(help));
  }

  const Field* find_elsewhere(std::string_view name) const {
    for (const Field& field : config_fields()) {
      if (field.name() == name && knows(field) && effective_support(field) != Support::kRefused) {
        return &field;
      }
    }
    return nullptr;
  }

  void add_unknown(std::string_view section, const YamlEntry& entry, std::string allowed,
                   std::string help) {
    diagnostics_.add(
        {.code = "MR1101",
         .span = entry.key_span,
         .message = section.empty()
                        ? fmt::format("unknown key `{}`", printable(entry.key))
                        : fmt::format("unknown key `{}` in `{}`", printable(entry.key), section),
         .allowed = std::move(allowed),
         .help = std::move(help)});
  }

  ConfigFile& config_;
  PlacedSettings& settings_;
  Stack stack_;
  Diagnostics& diagnostics_;
};

// Which of the two schemas the file follows has to be known before any other key is read.
Stack stack_of(const YamlNode& root) {
  const YamlNode* trt_llm = root.find("trt_llm");
  const YamlNode* stack = trt_llm ? trt_llm->find("inference_stack") : nullptr;
  return stack && stack->scalar == "v2" ? Stack::kV2 : Stack::kV1;
}

// What the hosting platform reads out of notes that are otherwise free.
std::vector<std::string> tags_of(const YamlNode& root) {
  std::vector<std::string> tags;
  const YamlNode* notes = root.find("model_metadata");
  const YamlNode* list = notes ? notes->find("tags") : nullptr;
  if (!list || list->kind != YamlKind::kSequence) return tags;
  for (const YamlNode& tag : list->items)
    if (tag.kind == YamlKind::kScalar) tags.push_back(tag.scalar);
  return tags;
}

void check_file_name(const std::string& path, Diagnostics& diagnostics) {
  const std::filesystem::path name(path);
  if (name.extension() != ".yml") return;
  diagnostics.add(
      {.code = "MR1009",
       .message = "the file ends in .yml, and Truss reads .yaml",
       .help = fmt::format(
           "rename it to {}",
           std::filesystem::path(name).replace_extension(".yaml").filename().string())});
}

}  // namespace

std::string ConfigFile::origin_of(std::string_view setting_path) const {
  const auto found = std::find_if(settings.rbegin(), settings.rend(), [&](const Setting& setting) {
    return setting.path == setting_path;
  });
  return found == settings.rend() ? "default" : found->origin;
}

ConfigFile load_config(const std::string& path, Diagnostics& diagnostics) {
  std::string text;
  try {
    text = read_file(path, YamlLimits{}.max_bytes);
  } catch (const Error& error) {
    diagnostics.set_source(path, {});
    const bool too_large = error.code() == ErrorCode::kCorrupt;
    diagnostics.add({.code = too_large ? "MR1002" : "MR1001",
                     .message = error.message(),
                     .help = error.hint()});
    return {.path = path};
  }
  return parse_config(text, path, diagnostics);
}

ConfigFile parse_config(std::string_view text, const std::string& path, Diagnostics& diagnostics) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  diagnostics.set_source(path, text);
  check_file_name(path, diagnostics);
  ConfigFile config{.path = path};
  const YamlNode root = parse_yaml(text, diagnostics);
  if (diagnostics.has_errors()) return config;
  if (root.kind != YamlKind::kMapping && root.kind != YamlKind::kNull) {
    diagnostics.add({.code = "MR1102",
                     .span = root.span,
                     .message = "a configuration is a mapping of keys to values",
                     .help = "start with `trt_llm:`"});
    return config;
  }

  PlacedSettings settings{.tags = tags_of(root),
                          .directory = std::filesystem::path(path).parent_path().string()};
  Reader(config, settings, stack_of(root), diagnostics).read_section("", root, {});
  check_rules(settings, diagnostics);
  finish_config(config, settings.directory);
  diagnostics.sort();
  return config;
}

ConfigFile config_for_model(const std::string& model) {
  constexpr std::string_view kHub = "hf://";
  ConfigFile config;
  std::error_code ignored;
  if (model.starts_with(kHub)) {
    const std::string rest = model.substr(kHub.size());
    const size_t at = std::min(rest.find('@'), rest.size());
    config.build.source = {.kind = SourceKind::kHuggingFace,
                           .repo = rest.substr(0, at),
                           .revision = at < rest.size() ? rest.substr(at + 1) : ""};
  } else if (std::filesystem::is_directory(model, ignored)) {
    config.build.source = {.kind = SourceKind::kLocal,
                           .repo = std::filesystem::path(model).lexically_normal().string()};
  } else {
    config.build.source = {.kind = SourceKind::kHuggingFace, .repo = model};
  }
  const ModelSource& source = config.build.source;
  if (source.kind == SourceKind::kHuggingFace && !is_hub_repository(source.repo)) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("there is no directory {}", printable(model, 200)),
                "name a directory with config.json, tokenizer.json and *.safetensors, or a "
                "repository of the Hugging Face Hub as owner/name");
  }
  return config;
}

void set_option(ConfigFile& config, std::string_view setting_path, std::string_view value,
                std::string_view flag) {
  const Field* field = find_field(setting_path);
  CHECK(field && field->store, "{} is no setting that a flag can change", setting_path);
  const CheckedValue checked = check_flag_value(*field, value);
  if (checked.problem) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} cannot be {}", flag, printable(value)),
                fmt::format("it takes {}", describe_allowed(*field)));
  }
  if (const SpecialValue* special = find_special_value(*field, checked.value.text)) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{} {}: {}", flag, value, special->message),
                std::string(special->help));
  }
  field->store(config, checked.value);
  config.settings.push_back({.path = std::string(setting_path),
                             .value = field->secret ? "***" : checked.value.text,
                             .origin = std::string(flag)});
}

}  // namespace millrace
