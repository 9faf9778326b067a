// Digests through OpenSSL's EVP interface.
#include "base/hash.h"

#include <openssl/evp.h>

#include <array>

#include "base/error.h"

namespace millrace {

struct Digest::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Digest::Digest(Algorithm algorithm) : context_(std::make_unique<Context>()) {
  const EVP_MD* type = algorithm == Algorithm::kSha1 ? EVP_sha1() : EVP_sha256();
  CHECK(context_->evp && EVP_DigestInit_ex(context_->evp, type, nullptr) == 1);
}

Digest::~Digest() = default;

void Digest::update(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
}

std::string Digest::hex_digest() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(context_->evp, digest.data(), &size) == 1);
  std::string out;
  for (unsigned char byte : std::span(digest).first(size)) out += fmt::format("{:02x}", byte);
  return out;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex_digest();
}

std::string sha256_hex(std::string_view bytes) {
  return sha256_hex(std::as_bytes(std::span(bytes)));
}

}  // namespace millrace
