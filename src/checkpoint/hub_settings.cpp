// Variables of the environment, in huggingface_hub's order of precedence.
#include "checkpoint/hub_settings.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"

namespace millrace {

namespace fs = std::filesystem;

namespace {

// The value of the first variable that is set and not empty.
class Variables {
 public:
  explicit Variables(const HubSettings::Environment& environment) : environment_(environment) {}

  std::optional<std::string> first(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      auto value = environment_(name);
      if (value && !value->empty()) return value;
    }
    return std::nullopt;
  }

  fs::path home() const { return first({"HOME"}).value_or("/"); }

  // A leading ~ is the home directory.
  std::optional<fs::path> path(std::initializer_list<const char*> names) const {
    const auto value = first(names);
    if (!value) return std::nullopt;
    if (*value == "~") return home();
    if (value->starts_with("~/")) return home() / value->substr(2);
    return fs::path(*value);
  }

 private:
  const HubSettings::Environment& environment_;
};

bool is_true(const std::optional<std::string>& value) {
  std::string upper = value.value_or("");
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

// What is no token must not become part of a header.
void set_token(HubSettings& settings, const std::string& text, const std::string& origin) {
  settings.token = trim(text);
  settings.token_origin = origin;
  const bool plain = std::all_of(settings.token.begin(), settings.token.end(),
                                 [](char c) { return c > ' ' && c < '\x7f'; });
  if (plain && settings.token.size() <= 4096) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("what {} holds is no access token: one word of printable ASCII", origin),
              "write the token alone into it (it begins with hf_)");
}

bool set_token_from_file(HubSettings& settings, const fs::path& file) {
  constexpr size_t kMaxBytes = 64 * 1024;
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  const std::string text = read_file(file.string(), kMaxBytes);
  if (trim(text).empty()) return false;
  set_token(settings, text, file.string());
  return true;
}

void find_token(HubSettings& settings, const Variables& variables, const fs::path& home,
                std::string_view secret_name, const fs::path& secrets) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const auto value = variables.first({name})) return set_token(settings, *value, name);
  }
  const fs::path file = variables.path({"HF_TOKEN_PATH"}).value_or(home / "token");
  if (set_token_from_file(settings, file)) return;
  const bool plain = !secret_name.empty() && secret_name.find('/') == std::string_view::npos &&
                     secret_name.front() != '.';
  if (plain) set_token_from_file(settings, secrets / secret_name);
}

}  // namespace

HubSettings HubSettings::from_environment(const Environment& environment,
                                          std::string_view secret_name, const fs::path& secrets) {
  const Variables variables(environment);
  HubSettings settings;
  if (const auto endpoint = variables.first({"HF_ENDPOINT"})) {
    settings.endpoint = trim(*endpoint);
    while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
    if (!parse_address(settings.endpoint)) {
      throw Error(ErrorCode::kInvalidArgument, "HF_ENDPOINT is no http or https address",
                  "write it as https://host, or unset it");
    }
  }
  const fs::path cache_home =
      variables.path({"XDG_CACHE_HOME"}).value_or(variables.home() / ".cache");
  const fs::path hf_home = variables.path({"HF_HOME"}).value_or(cache_home / "huggingface");
  settings.cache =
      variables.path({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}).value_or(hf_home / "hub");
  settings.offline = is_true(variables.first({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  settings.web.ca_file =
      variables.first({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}).value_or("");
  find_token(settings, variables, hf_home, secret_name, secrets);
  return settings;
}

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) return std::nullopt;
  return value;
}

}  // namespace millrace
