// Boost.JSON behind explicit limits; errors carry line, column and path.
#include "base/json.h"

#include <algorithm>
#include <limits>
#include <new>
#include <set>

#include "base/error.h"
#include "base/file.h"

namespace millrace::json {

namespace {

std::string_view kind_name(const value& v) {
  switch (v.kind()) {
    case boost::json::kind::null: return "null";
    case boost::json::kind::bool_: return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64: return "an integer";
    case boost::json::kind::double_: return "a number";
    case boost::json::kind::string: return "a string";
    case boost::json::kind::array: return "an array";
    case boost::json::kind::object: return "an object";
  }
  return "something else";
}

void write_pretty(const value& v, int indent, std::string& out) {
  const std::string pad(static_cast<size_t>(indent) * 2, ' ');
  if (const auto* object = v.if_object(); object && !object->empty()) {
    out += "{\n";
    size_t left = object->size();
    for (const auto& member : *object) {
      out += pad + "  " + boost::json::serialize(member.key()) + ": ";
      write_pretty(member.value(), indent + 1, out);
      out += --left ? ",\n" : "\n";
    }
    out += pad + "}";
  } else if (const auto* array = v.if_array();
             array && !array->empty() && array->front().is_object()) {
    out += "[\n";
    size_t left = array->size();
    for (const auto& element : *array) {
      out += pad + "  ";
      write_pretty(element, indent + 1, out);
      out += --left ? ",\n" : "\n";
    }
    out += pad + "]";
  } else {
    out += boost::json::serialize(v);
  }
}

struct OutOfBudget {};

// Memory of one parsed value, up to a limit.
class BoundedResource : public boost::json::memory_resource {
 public:
  explicit BoundedResource(size_t limit) : limit_(limit) {}

 private:
  void* do_allocate(size_t bytes, size_t alignment) override {
    CHECK(alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    if (bytes > limit_ - used_) throw OutOfBudget();
    void* memory = ::operator new(bytes);
    used_ += bytes;
    return memory;
  }
  void do_deallocate(void* memory, size_t bytes, size_t) override {
    used_ -= bytes;
    ::operator delete(memory);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  size_t limit_;
  size_t used_ = 0;
};

}  // namespace

value parse(std::string_view text, std::string_view what, ParseLimits limits) {
  if (text.size() > limits.max_bytes) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: {} bytes of JSON, the limit is {}", what,
                                                 text.size(), limits.max_bytes));
  }
  boost::json::parse_options options;
  options.max_depth = static_cast<size_t>(limits.max_depth);
  boost::json::stream_parser parser({}, options);
  if (limits.max_memory != std::numeric_limits<size_t>::max())
    parser.reset(boost::json::make_shared_resource<BoundedResource>(limits.max_memory));
  boost::system::error_code error;
  size_t used = 0;
  try {
    used = parser.write_some(text.data(), text.size(), error);
    if (!error && used == text.size()) parser.finish(error);
  } catch (const OutOfBudget&) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: its values need more than {} bytes of memory, which is the limit",
                            what, limits.max_memory),
                "send less at once");
  }
  if (!error && used < text.size()) error = boost::json::error::extra_data;
  if (error) {
    std::string_view read = text.substr(0, std::min(used, text.size()));
    const auto line = std::count(read.begin(), read.end(), '\n') + 1;
    const size_t newline = read.rfind('\n');
    const size_t column =
        newline == std::string_view::npos ? read.size() + 1 : read.size() - newline;
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}:{}:{}: not valid JSON: {}", what, line, column, error.message()));
  }
  return parser.release();
}

std::vector<std::string> find_duplicate_key(std::string_view text) {
  struct Object {
    std::set<std::string> keys;
    std::string current;  // the key whose value is being read
  };
  std::vector<Object> open;  // one per object and array that surrounds position i
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{' || text[i] == '[') open.emplace_back();
    if ((text[i] == '}' || text[i] == ']') && !open.empty()) open.pop_back();
    if (text[i] != '"') continue;
    const size_t begin = i++;
    while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
    const size_t next = text.find_first_not_of(" \t\r\n", i + 1);
    if (next == std::string_view::npos || text[next] != ':' || open.empty()) continue;  // a value
    Object& object = open.back();
    object.current = boost::json::parse(text.substr(begin, i + 1 - begin)).as_string();
    if (object.keys.insert(object.current).second) continue;
    std::vector<std::string> path;
    for (const Object& around : open) path.push_back(around.current);
    return path;
  }
  return {};
}

value parse_file(const std::string& path, ParseLimits limits) {
  return parse(read_file(path, limits.max_bytes), path, limits);
}

std::string to_text(const value& v) {
  return boost::json::serialize(v);
}

std::string to_pretty_text(const value& v) {
  std::string out;
  write_pretty(v, 0, out);
  out += '\n';
  return out;
}

const object& as_object(const value& v, std::string_view what) {
  if (const auto* object = v.if_object()) return *object;
  throw Error(ErrorCode::kCorrupt,
              fmt::format("{}: expected an object, found {}", what, kind_name(v)));
}

const value* Reader::find(std::string_view key) const {
  const value* found = object_.if_contains(key);
  return found && !found->is_null() ? found : nullptr;
}

bool Reader::has(std::string_view key) const {
  return find(key) != nullptr;
}

void Reader::fail(std::string_view key, std::string_view problem) const {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}: {}", what_, key, problem));
}

std::optional<int64_t> Reader::integer(std::string_view key) const {
  const value* v = find(key);
  if (!v) return std::nullopt;
  if (const auto* i = v->if_int64()) return *i;
  if (const auto* u = v->if_uint64()) {
    if (*u <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return static_cast<int64_t>(*u);
    fail(key, "the integer is too large");
  }
  fail(key, fmt::format("expected an integer, found {}", kind_name(*v)));
}

std::optional<double> Reader::number(std::string_view key) const {
  const value* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_number()) fail(key, fmt::format("expected a number, found {}", kind_name(*v)));
  return v->to_number<double>();
}

std::optional<bool> Reader::boolean(std::string_view key) const {
  const value* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_bool()) fail(key, fmt::format("expected true or false, found {}", kind_name(*v)));
  return v->get_bool();
}

std::optional<std::string> Reader::string(std::string_view key) const {
  const value* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_string()) fail(key, fmt::format("expected a string, found {}", kind_name(*v)));
  return std::string(v->get_string());
}

std::optional<Reader> Reader::child(std::string_view key) const {
  const value* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_object()) fail(key, fmt::format("expected an object, found {}", kind_name(*v)));
  return Reader(v->get_object(), fmt::format("{}: {}", what_, key));
}

std::vector<std::string> Reader::strings(std::string_view key) const {
  const value* v = find(key);
  if (!v) return {};
  if (!v->is_array())
    fail(key, fmt::format("expected an array of strings, found {}", kind_name(*v)));
  std::vector<std::string> out;
  for (const value& element : v->get_array()) {
    if (!element.is_string())
      fail(key, fmt::format("expected strings, found {}", kind_name(element)));
    out.emplace_back(element.get_string());
  }
  return out;
}

int64_t Reader::require_integer(std::string_view key, int64_t min, int64_t max) const {
  const auto found = integer(key);
  if (!found) fail(key, "missing");
  if (*found < min || *found > max) {
    fail(key, fmt::format("{} is outside {}..{}", *found, min, max));
  }
  return *found;
}

std::string Reader::require_string(std::string_view key) const {
  auto found = string(key);
  if (!found) fail(key, "missing");
  return *std::move(found);
}

}  // namespace millrace::json
