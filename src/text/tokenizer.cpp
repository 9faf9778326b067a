// The C++ side of the bridge's tokenizer: limits, errors with remedies, vectors of our own.
#include "text/tokenizer.h"

#include <millrace_bridge.h>

#include <limits>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "text/bridge_bytes.h"

namespace millrace {

namespace {

// Throws what a call reported; `what` names its input.
void throw_if_failed(const MrError& error, std::string_view what) {
  if (error.code == MR_ERROR_CODE_OK) return;
  const std::string message = fmt::format("{}: {}", what, take(error.message));
  switch (error.code) {
    case MR_ERROR_CODE_INVALID_UTF8:
      throw Error(ErrorCode::kInvalidArgument, message, "send text encoded as UTF-8");
    case MR_ERROR_CODE_CORRUPT:
      throw Error(ErrorCode::kCorrupt, message,
                  "use the tokenizer.json that `save_pretrained` of a fast tokenizer writes");
    case MR_ERROR_CODE_FAILED: throw Error(ErrorCode::kInvalidArgument, message);
    default: throw InternalError(message);
  }
}

void check_text(std::string_view text) {
  if (text.size() <= Tokenizer::kMaxTextBytes) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("the text has {} bytes, the limit for one text is {}", text.size(),
                          Tokenizer::kMaxTextBytes),
              "send it in parts");
}

MrOffsetUnit offset_unit(OffsetUnit unit) {
  switch (unit) {
    case OffsetUnit::kNone: return MR_OFFSET_UNIT_NONE;
    case OffsetUnit::kBytes: return MR_OFFSET_UNIT_BYTES;
    case OffsetUnit::kCharacters: return MR_OFFSET_UNIT_CHARACTERS;
  }
  throw InternalError("an OffsetUnit outside its enumeration");
}

}  // namespace

struct Tokenizer::Handle {
  explicit Handle(MrTokenizer* made) : tokenizer(made), info(mr_tokenizer_info(made)) {}
  ~Handle() { mr_tokenizer_free(tokenizer); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  Encoding encode(std::string_view text, const std::string_view* pair,
                  const EncodeOptions& options) const;

  MrTokenizer* tokenizer;
  MrTokenizerInfo info;
};

Encoding Tokenizer::Handle::encode(std::string_view text, const std::string_view* pair,
                                   const EncodeOptions& options) const {
  check_text(text);
  if (pair) check_text(*pair);
  const size_t num_special = !options.add_special_tokens ? 0
                             : pair                      ? info.num_special_tokens_pair
                                                         : info.num_special_tokens;
  const auto max_tokens = static_cast<size_t>(options.max_tokens);
  if (options.max_tokens < 0 || (max_tokens > 0 && max_tokens < num_special)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("max_tokens is {}, this tokenizer's special tokens alone are {}",
                            options.max_tokens, num_special),
                "raise max_tokens, or leave it at 0 for no limit");
  }

  const MrSlice pair_slice = pair ? as_slice(*pair) : MrSlice{};
  const MrEncodeOptions bridge_options{
      .max_tokens = max_tokens,
      .truncate_left = options.truncation_direction == TruncationDirection::kLeft,
      .add_special_tokens = options.add_special_tokens,
      .offsets = offset_unit(options.offsets),
  };
  MrEncoding made{};
  MrError error{};
  if (!mr_tokenizer_encode(tokenizer, as_slice(text), pair ? &pair_slice : nullptr, bridge_options,
                           &made, &error)) {
    throw_if_failed(error, "the text");
  }
  const std::unique_ptr<MrEncodingOwner, decltype(&mr_encoding_free)> owner(made.owner,
                                                                            mr_encoding_free);
  if (max_tokens > 0 && made.num_tokens > max_tokens) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the tokenizer's post-processor makes {} tokens of at most {}",
                            made.num_tokens, max_tokens),
                "use a tokenizer.json whose template names each text once");
  }

  Encoding out;
  out.token_ids.assign(made.token_ids, made.token_ids + made.num_tokens);
  out.token_type_ids.assign(made.type_ids, made.type_ids + made.num_tokens);
  out.num_tokens_untruncated = static_cast<int>(made.num_tokens_untruncated);
  if (made.spans) {
    out.spans.reserve(made.num_tokens);
    for (const MrTokenSpan& span : std::span(made.spans, made.num_tokens)) {
      out.spans.push_back({.begin = static_cast<int32_t>(span.begin),
                           .end = static_cast<int32_t>(span.end),
                           .special = span.special});
    }
  }
  return out;
}

Tokenizer::Tokenizer(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::from_file(const std::string& path) {
  return from_json(read_file(path, kMaxFileBytes), path);
}

Tokenizer Tokenizer::from_json(std::string_view bytes, std::string_view what) {
  if (bytes.size() > kMaxFileBytes) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{} has {} bytes, the limit for a tokenizer file is {}", what,
                            bytes.size(), kMaxFileBytes));
  }
  MrError error{};
  MrTokenizer* made = mr_tokenizer_from_json(as_slice(bytes), &error);
  // A file that makes the library panic is the file's fault as far as the user can act on it.
  if (error.code == MR_ERROR_CODE_PANIC || error.code == MR_ERROR_CODE_FAILED) {
    error.code = MR_ERROR_CODE_CORRUPT;
  }
  throw_if_failed(error, what);
  auto handle = std::make_unique<Handle>(made);
  if (handle->info.max_token_id > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: token id {} is over the limit of 2^31 - 1",
                                                 what, handle->info.max_token_id));
  }
  return Tokenizer(std::move(handle));
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return handle_->encode(text, nullptr, options);
}

Encoding Tokenizer::encode_pair(std::string_view text, std::string_view pair,
                                const EncodeOptions& options) const {
  return handle_->encode(text, &pair, options);
}

std::string Tokenizer::decode(std::span<const int32_t> token_ids, bool skip_special_tokens) const {
  MrError error{};
  MrBuffer text =
      mr_tokenizer_decode(handle_->tokenizer, reinterpret_cast<const uint32_t*>(token_ids.data()),
                          token_ids.size(), skip_special_tokens, &error);
  throw_if_failed(error, "the token ids");
  return take(text);
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(handle_->info.vocab_size);
}

int32_t Tokenizer::max_token_id() const {
  return static_cast<int32_t>(handle_->info.max_token_id);
}

int Tokenizer::num_special_tokens(bool pair) const {
  return static_cast<int>(pair ? handle_->info.num_special_tokens_pair
                               : handle_->info.num_special_tokens);
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  uint32_t id = 0;
  MrError error{};
  const bool found = mr_tokenizer_token_to_id(handle_->tokenizer, as_slice(token), &id, &error);
  throw_if_failed(error, "the token");
  if (!found) return std::nullopt;
  return static_cast<int32_t>(id);
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  MrBuffer token{};
  MrError error{};
  const bool found =
      mr_tokenizer_id_to_token(handle_->tokenizer, static_cast<uint32_t>(id), &token, &error);
  throw_if_failed(error, "the token id");
  if (!found) return std::nullopt;
  return take(token);
}

const MrTokenizer* Tokenizer::bridge() const {
  return handle_->tokenizer;
}

}  // namespace millrace
