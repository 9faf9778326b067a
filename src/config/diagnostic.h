// Diagnostics: what is wrong in a text file, where, what is allowed and how to fix it, as a good
// compiler says it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

enum class Severity : uint8_t { kError, kWarning };

std::string_view to_string(Severity severity);  // "error", "warning"

// A stretch of one line. `line` 0: the file as a whole.
struct TextSpan {
  int line = 0;    // from 1
  int column = 0;  // from 1, in bytes
  int length = 1;  // bytes to underline

  bool operator==(const TextSpan&) const = default;
};

struct Diagnostic {
  std::string code;  // "MR1203": stable, listed by diagnostic_codes()
  Severity severity = Severity::kError;
  std::string file;
  TextSpan span;
  std::string message;  // what is wrong
  std::string allowed;  // what is allowed; may be empty
  std::string help;     // how to fix it; may be empty
  std::string excerpt;  // the line of the span, without its end

  bool operator==(const Diagnostic&) const = default;
};

// What a code means, for the reference page.
struct DiagnosticCode {
  std::string_view code;
  Severity severity;
  std::string_view meaning;
};

// Every code, ascending: MR10xx file and syntax, MR11xx structure, MR12xx single values,
// MR13xx rules across fields, MR14xx what is understood but not supported.
std::span<const DiagnosticCode> diagnostic_codes();

// The findings about one file. Collects up to kMax of them; says so when there were more.
class Diagnostics {
 public:
  static constexpr size_t kMax = 50;

  // The text that excerpts are taken from. `file` is how the user named it.
  void set_source(std::string file, std::string_view text);
  const std::string& file() const { return file_; }

  struct Finding {
    std::string_view code;  // of diagnostic_codes(), which says the severity
    TextSpan span;
    std::string message;
    std::string allowed = {};
    std::string help = {};
  };
  void add(Finding finding);

  void sort();  // by place in the file; findings of one place keep their order
  bool full() const { return items_.size() >= kMax; }
  bool has_errors() const { return num_errors_ > 0; }
  bool has_error_at(const TextSpan& span) const;         // one that starts there
  size_t num_errors() const { return num_errors_; }      // those beyond kMax included
  size_t num_warnings() const { return num_warnings_; }  // likewise
  const std::vector<Diagnostic>& items() const { return items_; }
  std::string_view line(int number) const;  // of the source, from 1, without its end

 private:
  std::string file_;
  std::string text_;
  std::vector<size_t> line_starts_;  // offsets into text_
  std::vector<Diagnostic> items_;
  size_t num_errors_ = 0;
  size_t num_warnings_ = 0;
};

// Several lines, the last with its end: place, severity, code and message; the excerpt with a caret
// under the span; what is allowed; help. `color` uses ANSI escapes.
std::string render(const Diagnostic& diagnostic, bool color);

// All of them, and a last line with the totals. Empty when there is none.
std::string render(const Diagnostics& diagnostics, bool color);

// {"file", "errors", "warnings", "diagnostics": [{"code", "severity", "line", ...}]}, indented.
std::string to_json(const Diagnostics& diagnostics);

// Text from a file as it may be shown on a terminal: control characters escaped, at most
// `max_bytes` (the rest an ellipsis).
std::string printable(std::string_view text, size_t max_bytes = 60);

}  // namespace millrace
