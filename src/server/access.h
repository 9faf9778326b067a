// Access: who may ask, by key, and by the address that was asked where there is none.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/runtime_config.h"
#include "http/message.h"
#include "server/request_error.h"

namespace millrace {

// Immutable: any thread.
class Access {
 public:
  // Reads the file of keys. Throws Error when it is not readable or holds none, and when the server
  // would be open to other machines without a key.
  Access(const AccessConfig& config, const std::string& host);

  bool has_keys() const { return !digests_.empty(); }

  // The request carries one of the keys, as "Authorization: Bearer KEY", "Authorization: Api-Key
  // KEY" or "X-Api-Key: KEY"; always true where no key is set. Takes the same time for any key.
  bool authenticated(const http::Request& request) const;

  // Who asks, as far as keys tell: what belongs to one key is not shown to another. Empty where no
  // key is set.
  std::string tenant(const http::Request& request) const;

  // Why this request is not let in. Without keys, a server for this machine only takes requests
  // that name this machine: a web page whose name was pointed here must not reach it.
  std::optional<RequestError> refusal(const http::Request& head) const;

 private:
  std::vector<std::string> digests_;  // SHA-256 of the keys, in hexadecimal
  bool local_only_ = false;
};

bool is_loopback(const std::string& host);  // of an address or name, without a port

}  // namespace millrace
