// JSON with limits, and typed reads that name the path of what is wrong.
// Includes Boost.JSON: include this header from .cpp files only (server may include it in headers).
#pragma once

#include <boost/json.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::json {

using boost::json::array;
using boost::json::object;
using boost::json::value;

struct ParseLimits {
  int max_depth = 32;  // nested arrays and objects
  size_t max_bytes = 64 * 1024 * 1024;
  // Of the parsed value, bytes: sixteen times those of the text where it nests small things.
  size_t max_memory = std::numeric_limits<size_t>::max();
};

// Parses strict JSON. Throws Error{kCorrupt} naming `what`, line and column; {kInvalidArgument}
// beyond max_memory.
value parse(std::string_view text, std::string_view what, ParseLimits limits = {});

// The first key that one object of `text` (valid JSON) gives twice, escapes decoded, with the keys
// of the objects around it; empty when there is none. Parsing alone keeps the last of equal keys.
std::vector<std::string> find_duplicate_key(std::string_view text);

// Reads and parses a file; `what` of errors is its path.
value parse_file(const std::string& path, ParseLimits limits = {});

// Compact text; keys in insertion order.
std::string to_text(const value& v);

// Indented by two spaces, with a final newline: the form of every JSON file that Millrace writes.
std::string to_pretty_text(const value& v);

// A cursor over an object whose reads throw Error{kCorrupt} naming "<what>: <path>".
// Holds a reference: `object` must outlive it.
class Reader {
 public:
  Reader(const object& object, std::string what) : object_(object), what_(std::move(what)) {}

  bool has(std::string_view key) const;           // present and not null
  const value* find(std::string_view key) const;  // nullptr when absent or null

  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  std::optional<Reader> child(std::string_view key) const;       // an object
  std::vector<std::string> strings(std::string_view key) const;  // empty when absent

  int64_t require_integer(std::string_view key, int64_t min, int64_t max) const;
  std::string require_string(std::string_view key) const;

  const object& raw() const { return object_; }
  const std::string& what() const { return what_; }
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;

 private:
  const object& object_;
  std::string what_;
};

// The object of a parsed file, or Error{kCorrupt} naming `what`.
const object& as_object(const value& v, std::string_view what);

}  // namespace millrace::json
