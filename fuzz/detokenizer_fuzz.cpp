// Fuzzes decoders and ids: the input is a decoder in JSON, a zero byte, and ids of two bytes each.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/detokenizer.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const json::value file =
      json::parse_file(MILLRACE_SOURCE_DIR "/tests/text/tokenizers/llama.json");
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  try {
    json::value changed = file;
    changed.as_object()["decoder"] = json::parse(input.substr(0, zero), "the decoder");
    const Tokenizer tokenizer = Tokenizer::from_json(json::to_text(changed));
    const TokenPieces pieces(tokenizer);
    std::vector<int32_t> ids;
    for (size_t i = zero + 1; i + 1 < size; i += 2) ids.push_back(data[i] << 8 | data[i + 1]);
    for (const bool skip : {true, false}) {
      const std::string whole = tokenizer.decode(ids, skip);
      Detokenizer detokenizer(pieces, skip);
      std::string streamed;
      for (int32_t id : ids) streamed.append(detokenizer.add(id));
      streamed.append(detokenizer.finish());
      CHECK(streamed == whole);
    }
  } catch (const Error&) {
    return 0;  // no decoder
  } catch (const InternalError& error) {
    // A decoder so odd that the library panics (Strip beyond the text): caught at the border.
    if (std::string_view(error.what()).find("streamed") != std::string_view::npos) throw;
  }
  return 0;
}
