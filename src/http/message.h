// HTTP messages as plain data: headers, requests, responses.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::http {

// Names compare without regard to (ASCII) case, as RFC 9110 §5.1 has it.
bool equals_ignoring_case(std::string_view a, std::string_view b);

// Header fields in the order in which they came; a name may occur several times.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;  // name, value

  Headers() = default;
  Headers(std::initializer_list<Field> fields) : fields_(fields) {}

  std::optional<std::string_view> find(std::string_view name) const;  // the first of that name
  size_t count(std::string_view name) const;
  void add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  void set(std::string_view name, std::string value);  // replaces all of that name
  void clear() { fields_.clear(); }

  size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

struct Request {
  std::string method;  // as sent: "POST"
  std::string target;  // as sent: "/v1/models/a%2Fb?x=1"
  std::string path;    // percent-decoded, without query: "/v1/models/a/b"
  std::string query;   // after the '?', not decoded: "x=1"
  int version = 11;    // 10 or 11
  Headers headers;
  std::string body;
  std::string remote;  // "127.0.0.1:40312"
  std::string id;      // x-request-id as sent, or made here; every answer carries it back
  std::string route;   // the pattern that the router matched; empty when none did
  std::chrono::steady_clock::time_point received_at{};  // the whole request was there
};

// Content-Length, Connection and the framing of the body are the server's to write, not the
// handler's. Control characters in a header's value are written as '?'.
struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// For clients: an answer as it arrives, instead of as a whole. Where `on_body` is set, the body is
// not collected in the response.
struct BodyHooks {
  std::function<void(const Response& head)> on_head;  // status and headers; the body is empty
  // Bytes of the body, as they come and cut anywhere. False: no more of it, close the connection.
  std::function<bool(std::string_view piece)> on_body;
};

// What an error that a handler never saw is answered with. `request` holds what is known of it:
// nothing when its head could not be read.
using ErrorBody =
    std::function<Response(int status, std::string_view message, const Request& request)>;

Response json_response(int status, std::string body);
Response text_response(int status, std::string body);

std::string_view status_text(int status);  // "Not Found"; "Unknown" for numbers without a name

}  // namespace millrace::http
