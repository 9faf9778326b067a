// Fuzzes the reader of engine manifests. The input is a manifest without its digest, which no
// fuzzer finds: what is read before the digest is compared is read of altered files as well.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/engine.h"

using namespace millrace;

static void read(const std::string& text) {
  EngineManifest manifest;
  try {
    manifest = parse_manifest(text, "input");
  } catch (const Error& error) {
    CHECK(!error.hint().empty(), "no remedy: {}", error.what());
    return;
  }
  for (const FileIdentity& file : manifest.files) {
    CHECK(!file.name.starts_with('/') && file.name.find("..") == std::string::npos);
  }
  const EngineManifest again = parse_manifest(manifest_text(manifest), "written");
  CHECK(again.files == manifest.files && again.sources == manifest.sources);
  CHECK(again.formats == manifest.formats && again.targets == manifest.targets);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  text += "\"manifest_sha256\": ";
  read(text + "\"" + sha256_hex(text.substr(0, size)) + "\"\n}\n");
  return 0;
}
