// A YAML file as a tree with positions, read within limits that no input can break.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace millrace {

enum class YamlKind : uint8_t { kNull, kScalar, kSequence, kMapping };

struct YamlEntry;

// Aliases are expanded, merge keys (<<) merged, duplicate keys resolved to the last.
struct YamlNode {
  YamlKind kind = YamlKind::kNull;
  std::string scalar;              // kScalar
  bool quoted = false;             // kScalar: written in quotes, as a block, or tagged !!str
  std::vector<YamlNode> items;     // kSequence
  std::vector<YamlEntry> entries;  // kMapping, in the order of the file
  TextSpan span;                   // of a block mapping or list: where its first element starts

  const YamlNode* find(std::string_view key) const;  // of a mapping; nullptr when absent
};

struct YamlEntry {
  std::string key;
  TextSpan key_span;
  YamlNode value;
};

struct YamlLimits {
  size_t max_bytes = 1024 * 1024;
  int max_depth = 32;                           // nested mappings and lists
  size_t max_expanded_bytes = 4 * 1024 * 1024;  // 64 per key and value, and their text
};

// The one document of `text`, whose name and lines `diagnostics` knows already. Reports errors
// MR1002..MR1008 and MR1104, after which the tree may be partial. An empty file is kNull.
YamlNode parse_yaml(std::string_view text, Diagnostics& diagnostics, YamlLimits limits = {});

}  // namespace millrace
