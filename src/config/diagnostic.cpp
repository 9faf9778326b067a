// Collecting diagnostics, and their two forms: terminal text and JSON.
#include "config/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr auto kErr = Severity::kError;
constexpr auto kWarn = Severity::kWarning;

constexpr std::array kCodes = {
    DiagnosticCode{"MR1001", kErr, "the file cannot be read"},
    DiagnosticCode{"MR1002", kErr, "the file is larger than 1 MiB"},
    DiagnosticCode{"MR1003", kErr, "the file is not UTF-8 text, or holds control characters"},
    DiagnosticCode{"MR1004", kErr, "not valid YAML"},
    DiagnosticCode{"MR1005", kErr, "mappings and lists are nested more than 32 deep"},
    DiagnosticCode{"MR1006", kErr, "an alias refers to itself, or the file expands too far"},
    DiagnosticCode{"MR1007", kErr, "the file holds more than one YAML document"},
    DiagnosticCode{"MR1008", kWarn, "a key is written twice; the last one counts"},
    DiagnosticCode{"MR1009", kWarn, "the file is named .yml; Truss reads config.yaml only"},
    DiagnosticCode{"MR1101", kErr, "unknown key (Truss rejects extra fields at push: rule V24)"},
    DiagnosticCode{"MR1102", kErr, "a mapping of keys is needed here"},
    DiagnosticCode{"MR1103", kErr, "a required key is missing"},
    DiagnosticCode{"MR1104", kErr, "a key is not plain text"},
    DiagnosticCode{"MR1201", kErr, "the value has the wrong type"},
    DiagnosticCode{"MR1202", kErr, "the value is none of the allowed words"},
    DiagnosticCode{"MR1203", kErr, "the number is out of range"},
    DiagnosticCode{"MR1204", kErr, "the text does not have the form that the field needs"},
    DiagnosticCode{"MR1205", kWarn, "yes, no, on or off stands for a boolean (YAML 1.1)"},
    DiagnosticCode{"MR1206", kErr, "unknown accelerator, or its count is not a positive integer"},
    DiagnosticCode{"MR1207", kErr, "the local directory does not exist"},
    DiagnosticCode{"MR1301", kErr, "V1: calibration size or length outside 64..16384 by 64"},
    DiagnosticCode{"MR1302", kErr, "V2: not a valid Hugging Face repository id"},
    DiagnosticCode{"MR1303", kErr, "V3: use_paged_context_fmha without paged_kv_cache"},
    DiagnosticCode{"MR1309", kErr, "V9: expert parallelism beyond tensor_parallel_count"},
    DiagnosticCode{"MR1310", kErr, "V10: inference_stack v1 needs a checkpoint_repository"},
    DiagnosticCode{"MR1311", kErr,
                   "V11: enable_chunked_context without both switches of the paged KV cache"},
    DiagnosticCode{"MR1312", kWarn, "V12: base_model does not fit the checkpoint's architecture"},
    DiagnosticCode{"MR1313", kErr, "V13: a v1 build field is set with inference_stack v2"},
    DiagnosticCode{"MR1314", kErr, "V14: v2 without checkpoint_repository and skip_build_result"},
    DiagnosticCode{"MR1316", kErr, "V16: a base_model of earlier versions"},
    DiagnosticCode{"MR1317", kErr, "V17: T4 and V100 serve encoder_bert only"},
    DiagnosticCode{"MR1318", kErr, "V18: fp8 and fp4 need compute capability 8.9 or later"},
    DiagnosticCode{"MR1319", kErr, "V19: fp4 needs compute capability 10.0 or later"},
    DiagnosticCode{"MR1320", kErr, "V20: the parallel sizes do not multiply to the GPU count"},
    DiagnosticCode{"MR1321", kErr, "V21: a decoder's tags name both APIs"},
    DiagnosticCode{"MR1322", kErr, "V22: a KV cache quantization for an encoder, which has none"},
    DiagnosticCode{"MR1329", kErr, "V29: a version override that does not start with a digit"},
    DiagnosticCode{"MR1330", kWarn, "a batch limit was moved to what a BEI-Bert engine works with"},
    DiagnosticCode{"MR1401", kErr, "this value is understood but not built yet"},
    DiagnosticCode{"MR1402", kErr, "this key is understood but what it asks for is not built yet"},
    DiagnosticCode{"MR1403", kWarn, "this part of the configuration is accepted but not acted on"},
};

const DiagnosticCode& find_code(std::string_view code) {
  const auto* found = std::find_if(kCodes.begin(), kCodes.end(),
                                   [&](const DiagnosticCode& known) { return known.code == code; });
  CHECK(found != kCodes.end(), "diagnostic code {} is not in the table", code);
  return *found;
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Characters rather than bytes, so that carets stand under what they mean.
size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); }));
}

struct Paint {
  bool on = false;
  std::string operator()(std::string_view style, std::string_view text) const {
    return on ? fmt::format("\033[{}m{}\033[0m", style, text) : std::string(text);
  }
};

constexpr size_t kExcerptBytes = 160;  // longer lines are shown around the span

struct Excerpt {
  std::string text;
  size_t caret = 0;   // characters before the span
  size_t length = 1;  // characters of the span
};

Excerpt cut_excerpt(const Diagnostic& diagnostic) {
  std::string_view line = diagnostic.excerpt;
  size_t start = std::min<size_t>(static_cast<size_t>(diagnostic.span.column - 1), line.size());
  size_t length = std::min<size_t>(static_cast<size_t>(diagnostic.span.length),
                                   std::min(line.size() - start, kExcerptBytes / 2));
  if (line.size() > kExcerptBytes) {
    size_t first = start > kExcerptBytes / 4 ? start - kExcerptBytes / 4 : 0;
    while (first > 0 && is_continuation(line[first])) --first;
    size_t last = std::min(line.size(), first + kExcerptBytes);
    while (last < line.size() && is_continuation(line[last])) ++last;
    line = line.substr(first, last - first);
    start -= first;
  }
  Excerpt out{.text = std::string(line),
              .caret = count_characters(line.substr(0, start)),
              .length = std::max<size_t>(1, count_characters(line.substr(start, length)))};
  std::replace(out.text.begin(), out.text.end(), '\t', ' ');
  return out;
}

std::string count_noun(size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

std::string_view to_string(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

std::span<const DiagnosticCode> diagnostic_codes() {
  return kCodes;
}

void Diagnostics::set_source(std::string file, std::string_view text) {
  file_ = std::move(file);
  text_ = text;
  line_starts_ = {0};
  for (size_t end = text.find('\n'); end != std::string_view::npos;
       end = text.find('\n', end + 1)) {
    line_starts_.push_back(end + 1);
  }
}

std::string_view Diagnostics::line(int number) const {
  if (number < 1 || static_cast<size_t>(number) > line_starts_.size()) return {};
  const std::string_view rest =
      std::string_view(text_).substr(line_starts_[static_cast<size_t>(number - 1)]);
  std::string_view line = rest.substr(0, rest.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void Diagnostics::add(Finding finding) {
  const DiagnosticCode& code = find_code(finding.code);
  ++(code.severity == Severity::kError ? num_errors_ : num_warnings_);
  if (full()) return;
  items_.push_back({.code = std::string(code.code),
                    .severity = code.severity,
                    .file = file_,
                    .span = finding.span,
                    .message = std::move(finding.message),
                    .allowed = std::move(finding.allowed),
                    .help = std::move(finding.help),
                    .excerpt = std::string(line(finding.span.line))});
}

void Diagnostics::sort() {
  std::stable_sort(items_.begin(), items_.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.span.line, a.span.column) < std::tie(b.span.line, b.span.column);
  });
}

bool Diagnostics::has_error_at(const TextSpan& span) const {
  return std::any_of(items_.begin(), items_.end(), [&](const Diagnostic& d) {
    return d.severity == Severity::kError && d.span.line == span.line &&
           d.span.column == span.column;
  });
}

std::string render(const Diagnostic& diagnostic, bool color) {
  const Paint paint{color};
  const std::string_view tint = diagnostic.severity == Severity::kError ? "1;31" : "1;33";
  const TextSpan& span = diagnostic.span;
  std::string out =
      paint("1", span.line == 0 ? diagnostic.file
                                : fmt::format("{}:{}:{}", diagnostic.file, span.line, span.column));
  out += ": " + paint(tint, fmt::format("{}[{}]", to_string(diagnostic.severity), diagnostic.code));
  out += ": " + paint("1", diagnostic.message) + "\n";

  const std::string number = span.line == 0 ? "" : std::to_string(span.line);
  const std::string margin(number.size() + 2, ' ');
  if (span.line > 0) {
    const Excerpt excerpt = cut_excerpt(diagnostic);
    const std::string carets(excerpt.length, '^');
    out += margin + paint("34", "|") + "\n";
    out += paint("34", fmt::format(" {} |", number)) + " " + excerpt.text + "\n";
    out += margin + paint("34", "|") + " " + std::string(excerpt.caret, ' ') + paint(tint, carets) +
           "\n";
  }
  if (!diagnostic.allowed.empty())
    out += fmt::format("{}= allowed: {}\n", margin, diagnostic.allowed);
  if (!diagnostic.help.empty()) out += fmt::format("{}= help: {}\n", margin, diagnostic.help);
  return out;
}

std::string render(const Diagnostics& diagnostics, bool color) {
  if (diagnostics.items().empty()) return {};
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics.items()) out += render(diagnostic, color) + "\n";
  const size_t total = diagnostics.num_errors() + diagnostics.num_warnings();
  out +=
      fmt::format("{}: {}, {}", diagnostics.file(), count_noun(diagnostics.num_errors(), "error"),
                  count_noun(diagnostics.num_warnings(), "warning"));
  if (total > diagnostics.items().size()) {
    out += fmt::format(" ({} not shown)", total - diagnostics.items().size());
  }
  return out + "\n";
}

std::string to_json(const Diagnostics& diagnostics) {
  json::array items;
  for (const Diagnostic& d : diagnostics.items()) {
    json::object item{{"code", d.code},          {"severity", to_string(d.severity)},
                      {"file", d.file},          {"line", d.span.line},
                      {"column", d.span.column}, {"length", d.span.length},
                      {"message", d.message}};
    if (!d.allowed.empty()) item["allowed"] = d.allowed;
    if (!d.help.empty()) item["help"] = d.help;
    if (d.span.line > 0) item["excerpt"] = d.excerpt;
    items.push_back(std::move(item));
  }
  return json::to_pretty_text(json::object{{"file", diagnostics.file()},
                                           {"errors", diagnostics.num_errors()},
                                           {"warnings", diagnostics.num_warnings()},
                                           {"diagnostics", std::move(items)}});
}

std::string printable(std::string_view text, size_t max_bytes) {
  size_t end = std::min(text.size(), max_bytes);
  while (end < text.size() && end > 0 && is_continuation(text[end])) --end;
  std::string out;
  for (size_t i = 0; i < end; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < end && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else if (c1) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else {
      out += text[i];
    }
  }
  return end < text.size() ? out + "..." : out;
}

}  // namespace millrace
