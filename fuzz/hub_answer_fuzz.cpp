// Fuzzes what a hub says: the input is its answer about a revision, an address and the target of a
// redirect from there, with zero bytes between.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "checkpoint/hub_api.h"
#include "checkpoint/web_client.h"

using namespace millrace;

namespace {

std::string_view take(std::string_view& rest) {
  const size_t zero = rest.find('\0');
  const std::string_view part = rest.substr(0, zero);
  rest = zero == std::string_view::npos ? std::string_view() : rest.substr(zero + 1);
  return part;
}

void check_listing(std::string_view text) {
  HubRevision revision;
  try {
    revision = parse_hub_revision(text, "org/name", "the answer");
  } catch (const Error&) {
    return;
  }
  CHECK(revision.commit.size() == 40);
  const std::filesystem::path root = "/cache/snapshot";
  for (const std::string& file : revision.files) {
    const auto path = (root / file).lexically_normal();
    CHECK(path.string().starts_with(root.string() + "/"), "{} leaves the cache", file);
    CHECK(file.find('\0') == std::string::npos);
  }
}

void check_addresses(const std::string& base, const std::string& location) {
  for (const std::string& url : {base, resolve_url(base, location)}) {
    const auto address = parse_address(url);
    if (!address) continue;
    CHECK(address->scheme == "http" || address->scheme == "https");
    CHECK(!address->host.empty() && !address->port.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view listing = take(rest);
  const std::string base(take(rest));
  check_listing(listing);
  check_addresses(base, std::string(rest));
  return 0;
}
