// Tables in Markdown, one per section of the file.
#include "config/config_reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/accelerator.h"
#include "config/config_fields.h"
#include "config/config_value.h"

namespace millrace {

namespace {

constexpr std::string_view kIntroduction =
    R"(<!-- Written from src/config by the test Config.ReferencePageIsCurrent; do not edit. -->
# config.yaml

One file describes a deployment. Its keys are those of Truss for TensorRT-LLM engines, so that existing
files are read as they are, and our own under `millrace`. `millrace validate config.yaml` reports everything
that is wrong with a file at once; `--json` gives the same to programs.

```yaml
model_name: minilm
trt_llm:
  build:
    base_model: encoder_bert
    checkpoint_repository: {source: LOCAL, repo: ./all-MiniLM-L6-v2}
  runtime:
    webserver_default_route: /v1/embeddings
millrace:
  port: 8000
```

State of a key: **supported**: does what it says. **no effect**: accepted, and nothing is missed.
**ignored**: accepted with a warning. **refused**: an error that says what is missing.

The file is YAML 1.1, as Truss reads it: `yes`, `no`, `on` and `off` are booleans (with a warning), of a
key written twice the last counts (with a warning), `<<` merges. A file has at most 1 MiB of UTF-8 text, one
document, 32 levels, and expands to at most 4 MiB. A key without a value counts as absent.
)";

std::string escape_cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string_view state_name(const Field& field) {
  switch (effective_support(field)) {
    case Support::kSupported: return "supported";
    case Support::kAccepted: return "no effect";
    case Support::kIgnored: return "ignored";
    case Support::kRefused: return "refused";
  }
  return {};
}

std::string allowed_cell(const Field& field) {
  std::string out;
  for (std::string_view word : split_words(field.words)) {
    if (!out.empty()) out += ", ";
    const SpecialValue* special = find_special_value(field, word);
    const bool refused = special && special->code == "MR1401";
    out += fmt::format("`{}`{}", word, refused ? " (refused)" : "");
  }
  return out.empty() ? escape_cell(describe_allowed(field)) : out;
}

std::string fields_table(std::string_view section) {
  std::string rows;
  for (const Field& field : config_fields()) {
    if (field.section() != section || field.type == FieldType::kSection) continue;
    std::string about(field.about);
    if (field.required) about = "Required. " + about;
    if (field.stack == Stack::kV2) about = "inference_stack v2. " + about;
    if (!field.missing.empty()) about += fmt::format(" Why: {}.", field.missing);
    rows += fmt::format("| `{}` | {} | {} | {} | {} |\n", field.name(), allowed_cell(field),
                        field.fallback.empty() ? "" : fmt::format("`{}`", field.fallback),
                        state_name(field), escape_cell(about));
  }
  if (rows.empty()) return {};
  return "\n| key | takes | default | state | meaning |\n|---|---|---|---|---|\n" + rows;
}

std::string special_values_table() {
  std::string out =
      "\n## Values with an answer of their own\n\n| key | value | code | answer "
      "|\n|---|---|---|---|\n";
  for (const SpecialValue& special : special_values()) {
    out += fmt::format("| `{}` | `{}` | {} | {}{}{} |\n", special.path, special.value, special.code,
                       special.message, special.help.empty() ? "" : "; ", special.help);
  }
  return out;
}

std::string codes_table() {
  std::string out =
      "\n## Codes\n\nStable: a code keeps its meaning. MR10xx: the file and its syntax. MR11xx: "
      "its "
      "structure. MR12xx: single values.\nMR13xx: rules across keys; 13 and the number of the rule "
      "in "
      "Truss. MR14xx: what is understood but not supported.\n\n"
      "| code | severity | meaning |\n|---|---|---|\n";
  for (const DiagnosticCode& code : diagnostic_codes()) {
    out += fmt::format("| {} | {} | {} |\n", code.code, to_string(code.severity), code.meaning);
  }
  return out;
}

}  // namespace

std::string config_reference_markdown() {
  std::string out(kIntroduction);
  out += "\n## Top level\n" + fields_table("");
  for (const Field& field : config_fields()) {
    if (field.type != FieldType::kSection) continue;
    out += fmt::format("\n## `{}`\n\n{}{}\n", field.path, field.about,
                       field.missing.empty() ? "" : fmt::format(" Refused: {}.", field.missing));
    out += fields_table(field.path);
  }
  out += "\nAccelerators: " + accelerator_names() + ".\n";
  out += special_values_table();
  out += codes_table();
  return out;
}

}  // namespace millrace
