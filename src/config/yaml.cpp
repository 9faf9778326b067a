// yaml-cpp's events made into our tree. Its own node classes are not used: they expand aliases and
// nest without limits, and drop duplicate keys silently. The handler throws at a limit, which ends
// the parser's recursion before the stack does.
#include "config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>

namespace millrace {

namespace {

struct LimitReached {
  std::string_view code;
  TextSpan span;
  std::string message;
  std::string help = {};
};

TextSpan to_span(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {.line = mark.line + 1, .column = mark.column + 1};
}

constexpr size_t kNodeBytes = 64;

size_t expanded_bytes(const YamlNode& node) {
  size_t bytes = kNodeBytes + node.scalar.size();
  for (const YamlNode& item : node.items) bytes += expanded_bytes(item);
  for (const YamlEntry& entry : node.entries) {
    bytes += kNodeBytes + entry.key.size() + expanded_bytes(entry.value);
  }
  return bytes;
}

// The tags that say no more than what the text itself or the field says: !!str and its like.
bool is_harmless_tag(std::string_view tag) {
  constexpr std::string_view kStandard = "tag:yaml.org,2002:";
  constexpr std::array kTypes = {"str", "int", "float", "bool", "null", "seq", "map"};
  if (tag.empty() || tag == "?" || tag == "!") return true;
  return tag.starts_with(kStandard) &&
         std::find(kTypes.begin(), kTypes.end(), tag.substr(kStandard.size())) != kTypes.end();
}

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(Diagnostics& diagnostics, YamlLimits limits)
      : diagnostics_(diagnostics), limits_(limits) {}

  YamlNode take_root() { return std::move(root_); }
  std::optional<TextSpan> second_document() const { return second_document_; }

  // What the parser's words mean to whoever wrote the file.
  Diagnostics::Finding explain(const YAML::Exception& error) const {
    Diagnostics::Finding out{.code = "MR1004",
                             .span = to_span(error.mark),
                             .message = "not valid YAML: " + printable(error.msg, 200)};
    const std::string_view line = diagnostics_.line(out.span.line);
    const std::string_view indent = line.substr(0, line.find_first_not_of(" \t"));
    const bool unclosed = error.msg == YAML::ErrorMsg::END_OF_MAP_FLOW ||
                          error.msg == YAML::ErrorMsg::END_OF_SEQ_FLOW;
    if (unclosed && !frames_.empty()) {
      out.span = frames_.back().node.span;
      out.message = "not valid YAML: this bracket is never closed, or a comma is missing after it";
    } else if (indent.find('\t') != std::string_view::npos) {
      out.help = "indent with spaces; YAML allows no tabs there";
    } else if (error.msg == YAML::ErrorMsg::END_OF_MAP || error.msg == YAML::ErrorMsg::END_OF_SEQ) {
      out.help = "the keys of one mapping start in the same column";
    } else if (error.msg == YAML::ErrorMsg::MAP_VALUE) {
      out.help = "put text that holds a colon in quotes";
    }
    return out;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (num_documents_++ > 0 && !second_document_) second_document_ = to_span(mark);
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add({.kind = YamlKind::kNull, .span = to_span(mark)}, anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(tag, mark);
    YamlNode node{.kind = YamlKind::kScalar, .scalar = value, .span = to_span(mark)};
    node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    node.span.length = token_length(node);
    add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      throw LimitReached{"MR1006", to_span(mark), "this alias lies inside the value it names"};
    }
    reserve(expanded_bytes(found->second), to_span(mark));
    YamlNode copy = found->second;
    copy.span = to_span(mark);
    add(std::move(copy), YAML::NullAnchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check_tag(tag, mark);
    open(YamlKind::kSequence, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check_tag(tag, mark);
    open(YamlKind::kMapping, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  // A collection that is being read.
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    std::optional<YamlEntry> pending;     // a key whose value comes next
    std::map<std::string, size_t> index;  // of entries by key
    std::vector<YamlNode> merges;         // values of <<
  };

  void check_tag(const std::string& tag, const YAML::Mark& mark) const {
    if (is_harmless_tag(tag)) return;
    throw LimitReached{"MR1004", to_span(mark), fmt::format("unknown YAML tag {}", printable(tag)),
                       "remove the tag"};
  }

  // Where the scalar is written as it reads, or in quotes on one line, all of it; else its start.
  int token_length(const YamlNode& node) const {
    std::string_view line = diagnostics_.line(node.span.line);
    line.remove_prefix(std::min(line.size(), static_cast<size_t>(node.span.column - 1)));
    if (line.starts_with(node.scalar)) return std::max(1, static_cast<int>(node.scalar.size()));
    if (line.starts_with('"') || line.starts_with('\'')) {
      const size_t end = line.find(line.front(), 1);
      if (end != std::string_view::npos) return static_cast<int>(end + 1);
    }
    return 1;
  }

  void reserve(size_t bytes, TextSpan span) {
    expanded_bytes_ += bytes;
    if (expanded_bytes_ > limits_.max_expanded_bytes) {
      throw LimitReached{
          "MR1006", span,
          fmt::format("the values up to here expand to more than {} MiB",
                      limits_.max_expanded_bytes / (1024 * 1024)),
          "write fewer values, and write them out instead of repeating them by alias"};
    }
  }

  void open(YamlKind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (static_cast<int>(frames_.size()) >= limits_.max_depth) {
      throw LimitReached{
          "MR1005", to_span(mark),
          fmt::format("mappings and lists are nested more than {} deep", limits_.max_depth)};
    }
    frames_.push_back({.node = {.kind = kind, .span = to_span(mark)}, .anchor = anchor});
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (const YamlNode& merge : frame.merges) merge_into(frame, merge);
    add(std::move(frame.node), frame.anchor);
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    reserve(kNodeBytes + node.scalar.size(), node.span);
    if (anchor != YAML::NullAnchor) {
      reserve(expanded_bytes(node), node.span);
      anchors_[anchor] = node;
    }
    if (frames_.empty()) {
      if (!second_document_) root_ = std::move(node);
    } else if (frames_.back().node.kind == YamlKind::kSequence) {
      frames_.back().node.items.push_back(std::move(node));
    } else if (!frames_.back().pending) {
      frames_.back().pending = make_key(node);
    } else {
      add_entry(frames_.back(), std::move(node));
    }
  }

  YamlEntry make_key(const YamlNode& node) {
    if (node.kind != YamlKind::kScalar) {
      diagnostics_.add({.code = "MR1104", .span = node.span, .message = "a key must be a word"});
    }
    return {.key = node.scalar, .key_span = node.span, .value = {}};
  }

  void add_entry(Frame& frame, YamlNode node) {
    YamlEntry entry = std::move(*frame.pending);
    frame.pending.reset();
    if (entry.key == "<<") {
      frame.merges.push_back(std::move(node));
      return;
    }
    entry.value = std::move(node);
    const auto [place, is_new] = frame.index.try_emplace(entry.key, frame.node.entries.size());
    if (is_new) {
      frame.node.entries.push_back(std::move(entry));
      return;
    }
    YamlEntry& earlier = frame.node.entries[place->second];
    diagnostics_.add({.code = "MR1008",
                      .span = entry.key_span,
                      .message = fmt::format("`{}` is written twice; this one counts, not line {}",
                                             printable(entry.key), earlier.key_span.line),
                      .help = "remove one of them"});
    earlier = std::move(entry);
  }

  // Merge keys as YAML 1.1 has them: what the mapping says itself wins, then earlier merges.
  void merge_into(Frame& frame, const YamlNode& merge) {
    if (merge.kind == YamlKind::kSequence) {
      for (const YamlNode& item : merge.items) {
        if (item.kind == YamlKind::kMapping) merge_into(frame, item);
      }
      return;
    }
    if (merge.kind != YamlKind::kMapping) {
      throw LimitReached{"MR1004", merge.span, "`<<` merges mappings only"};
    }
    for (const YamlEntry& entry : merge.entries) {
      const bool is_new = frame.index.try_emplace(entry.key, frame.node.entries.size()).second;
      if (is_new) frame.node.entries.push_back(entry);
    }
  }

  Diagnostics& diagnostics_;
  YamlLimits limits_;
  YamlNode root_;
  std::vector<Frame> frames_;
  std::unordered_map<YAML::anchor_t, YamlNode> anchors_;
  size_t expanded_bytes_ = 0;
  int num_documents_ = 0;
  std::optional<TextSpan> second_document_;
};

struct BadByte {
  size_t offset;
  std::string_view what;
};

// The first byte that is no UTF-8, or the first control character that YAML 1.1 does not allow.
// yaml-cpp would take some of them for the end of the file or for another encoding.
std::optional<BadByte> find_bad_byte(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      if ((lead < 0x20 && lead != '\t' && lead != '\n' && lead != '\r') || lead == 0x7F) {
        return BadByte{i, "a control character"};
      }
      ++i;
      continue;
    }
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    uint32_t point = lead & (0xFFu >> (length + 1));
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return BadByte{i, "no UTF-8"};
    for (size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xC0) != 0x80) return BadByte{i, "no UTF-8"};
      point = (point << 6) | (byte & 0x3F);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    const bool surrogate = point >= 0xD800 && point < 0xE000;
    if (overlong || surrogate || point > 0x10FFFF) return BadByte{i, "no UTF-8"};
    if (point < 0xA0 && point != 0x85) return BadByte{i, "a control character"};
    i += length;
  }
  return std::nullopt;
}

TextSpan span_of_offset(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = newline == std::string_view::npos ? offset : offset - newline - 1;
  return {.line = static_cast<int>(line) + 1, .column = static_cast<int>(column) + 1};
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const YamlEntry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &found->value;
}

YamlNode parse_yaml(std::string_view text, Diagnostics& diagnostics, YamlLimits limits) {
  if (text.size() > limits.max_bytes) {
    diagnostics.add({.code = "MR1002",
                     .message = fmt::format("the file has {} bytes, the limit is {}", text.size(),
                                            limits.max_bytes)});
    return {};
  }
  if (const auto bad = find_bad_byte(text)) {
    // Without a span on the line: the excerpt would carry the bad byte to the terminal.
    const TextSpan span = span_of_offset(text, bad->offset);
    diagnostics.add(
        {.code = "MR1003",
         .message = fmt::format("line {}, column {}: byte 0x{:02x} is {}", span.line, span.column,
                                static_cast<unsigned char>(text[bad->offset]), bad->what),
         .help = "save the file as UTF-8 text"});
    return {};
  }

  TreeBuilder builder(diagnostics, limits);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (!builder.second_document() && parser.HandleNextDocument(builder)) {
    }
    if (const auto second = builder.second_document()) {
      diagnostics.add({.code = "MR1007",
                       .span = *second,
                       .message = "a second YAML document starts here",
                       .help = "keep one document per file"});
    }
  } catch (const LimitReached& limit) {
    diagnostics.add(
        {.code = limit.code, .span = limit.span, .message = limit.message, .help = limit.help});
  } catch (const YAML::Exception& error) {
    diagnostics.add(builder.explain(error));
  }
  return builder.take_root();
}

}  // namespace millrace
