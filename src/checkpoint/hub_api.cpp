// Two routes of the hub, and the checks on what they answer.
#include "checkpoint/hub_api.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/hub_files.h"

namespace millrace {

namespace {

constexpr size_t kMaxApiBytes = 64 * 1024 * 1024;
constexpr uint64_t kMaxWeightBytes = uint64_t{1} << 44;  // of one file: 16 TiB
constexpr uint64_t kMaxOtherBytes = 512 * 1024 * 1024;   // of a file that is not safetensors

constexpr std::string_view kNoHub =
    "check HF_ENDPOINT and the proxy: that address does not seem to serve a hub";

// The quotes and the W/ of RFC 9110 §8.8.3 removed, in lower case; empty for what is no hash.
std::string hash_of(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"')
    etag = etag.substr(1, etag.size() - 2);
  std::string out(etag);
  for (char& c : out)
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c + 32);
  const bool hex = out.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hex && (out.size() == 40 || out.size() == 64) ? out : std::string();
}

// What the answers of a redirected HEAD said, the later over the earlier.
struct FileHeaders {
  std::string commit;
  std::string linked_etag;
  std::string linked_size;

  void merge(const http::Headers& headers) {
    const auto take = [&](std::string& into, std::string_view name) {
      if (const auto value = headers.find(name)) into = std::string(*value);
    };
    take(commit, "X-Repo-Commit");
    take(linked_etag, "X-Linked-Etag");
    take(linked_size, "X-Linked-Size");
  }
};

}  // namespace

std::string percent_encode(std::string_view text, bool keep_slashes) {
  std::string out;
  for (char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       std::string_view("-._~").find(c) != std::string_view::npos ||
                       (keep_slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string HubApi::name_of(std::string_view path) const {
  return fmt::format("{} of {}", path, repo_);
}

HubRevision HubApi::resolve(HubConnection& connection, std::string_view revision) const {
  const std::string what = fmt::format("{} at {}", repo_, revision);
  const std::string url = fmt::format("{}/api/models/{}/revision/{}", settings_.endpoint, repo_,
                                      percent_encode(revision, false));
  return parse_hub_revision(connection.read_text(url, kMaxApiBytes, what), repo_,
                            "the hub's answer about " + what);
}

HubRevision parse_hub_revision(std::string_view text, const std::string& repo,
                               const std::string& what) {
  json::value parsed;
  try {
    parsed = json::parse(text, what);
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, error.message(), std::string(kNoHub));
  }
  const json::Reader answer(json::as_object(parsed, what), what);
  HubRevision out{.commit = answer.require_string("sha")};
  if (!is_commit(out.commit)) answer.fail("sha", "not a commit of 40 hex digits");
  const json::value* siblings = answer.find("siblings");
  if (!siblings || !siblings->is_array()) answer.fail("siblings", "not a list of files");
  if (siblings->get_array().size() > kMaxRepositoryFiles) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} has {} files, the limit is {}", repo, siblings->get_array().size(),
                            kMaxRepositoryFiles));
  }
  for (const json::value& sibling : siblings->get_array()) {
    const json::Reader file(json::as_object(sibling, what + ": siblings"), what + ": siblings");
    out.files.push_back(file.require_string("rfilename"));
    check_hub_path(out.files.back(), repo);
  }
  std::sort(out.files.begin(), out.files.end());
  return out;
}

HubFile HubApi::find_file(HubConnection& connection, const std::string& commit,
                          const std::string& path) const {
  const std::string what = name_of(path);
  std::string url = fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, repo_, commit,
                                percent_encode(path, true));
  FileHeaders said;
  std::string etag;
  std::string size;
  for (int hop = 0;; ++hop) {
    const WebReply reply = connection.head(url);
    if (reply.failure != WebFailure::kNone) connection.fail(reply, url, what);
    if (!is_redirect(reply) && reply.status != 200) connection.fail(reply, url, what);
    said.merge(reply.headers);
    etag = said.linked_etag;
    size = said.linked_size;
    if (reply.status == 200) {
      if (etag.empty()) etag = std::string(reply.headers.find("ETag").value_or(""));
      if (size.empty()) size = std::string(reply.headers.find("Content-Length").value_or(""));
      break;
    }
    const std::string target = redirect_target(reply, url);
    const bool away = !same_origin(target, url);
    url = target;
    if (away && !etag.empty() && !size.empty()) break;  // the content network: asked when read
    if (hop == kMaxRedirects) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("the hub redirects more than {} times for {}", kMaxRedirects, what));
    }
  }
  if (!said.commit.empty() && said.commit != commit) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("the hub gives {} of commit {} instead of {}", what,
                            said.commit.substr(0, 40), commit),
                std::string(kNoHub));
  }
  HubFile out{.path = path, .etag = hash_of(etag), .url = url};
  if (out.etag.empty()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("the hub gives no hash of {}, so it could not be checked (its ETag "
                            "must be a SHA-256 or a git SHA-1)",
                            what),
                std::string(kNoHub));
  }
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), out.size);
  const uint64_t limit = path.ends_with(".safetensors") ? kMaxWeightBytes : kMaxOtherBytes;
  if (size.empty() || error != std::errc() || end != size.data() + size.size() ||
      out.size > limit) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("the hub gives \"{}\" as the size of {}; it must be a number of bytes "
                            "up to {}",
                            size.substr(0, 40), what, limit),
                std::string(kNoHub));
  }
  return out;
}

}  // namespace millrace
