// SHA-256 against the examples of FIPS 180-2, and in pieces.
#include "base/hash.h"

#include <gtest/gtest.h>

#include <random>

namespace millrace {
namespace {

TEST(Sha256Test, MatchesThePublishedExamples) {
  EXPECT_EQ(sha256_hex(std::string_view()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PiecesHashLikeTheWhole) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::string text(10'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  Sha256 hash;
  for (size_t at = 0; at < text.size();) {
    const size_t size = std::min<size_t>(random() % 300, text.size() - at);
    hash.update(std::string_view(text).substr(at, size));
    at += size;
  }
  EXPECT_EQ(hash.hex_digest(), sha256_hex(text));
}

}  // namespace
}  // namespace millrace
