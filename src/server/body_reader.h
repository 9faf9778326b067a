// BodyReader: typed reads of a request's JSON object; a wrong type names its field.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "http/message.h"
#include "server/request_error.h"
#include "text/tokenizer.h"

namespace millrace {

struct BodyLimits {
  int max_depth = 32;       // nested arrays and objects
  size_t max_inputs = 128;  // entries of a batch
  int64_t vocab_size = 0;   // token ids are below it
  bool strict = false;      // a field that nobody asks for is an error
};

// A field that is null counts as absent. Every read throws RequestError.
class BodyReader {
 public:
  // The object that `body` is, or the object in its field `within`.
  BodyReader(std::string_view body, const BodyLimits& limits);

  const json::value* find(std::string_view name);     // nullptr when absent or null
  const json::value& require(std::string_view name);  // kInvalid when absent

  std::string require_string(std::string_view name);
  std::vector<std::string> require_strings(std::string_view name);  // 1 to max_inputs of them
  std::optional<std::string> string(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max);
  std::optional<double> number(std::string_view name);  // may be infinite, where 1e400 was sent
  std::optional<TruncationDirection> direction(std::string_view name);  // "Left", "Right"

  // From now on fields are those of the object `name`, when there is one.
  void enter(std::string_view name);

  // To be called when all has been read: the fields that nobody asked for, fit for a header; at
  // most a few. kInvalid where the limits are strict and there is one.
  std::vector<std::string> ignored() const;

  const BodyLimits& limits() const { return limits_; }

 private:
  json::value body_;
  const json::object* object_;
  std::string prefix_;  // of names in errors: "parameters."
  std::set<std::string, std::less<>> asked_;
  BodyLimits limits_;
};

// Token ids that this model has. `name` is the field at fault.
std::vector<int32_t> read_token_ids(const json::value& list, std::string_view name,
                                    int64_t vocab_size);

[[noreturn]] void refuse(const std::string& message, std::string_view param);

// kInvalid when a batch has more entries than the limit.
void check_batch_size(size_t size, const BodyLimits& limits, std::string_view name);

}  // namespace millrace
