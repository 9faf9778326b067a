// Rules over several settings: Truss's V rules as far as they concern what is built, and what is
// understood but not built.
#pragma once

#include <vector>

#include "config/config_fields.h"

namespace millrace {

// A setting with its row and its place in the file.
struct PlacedSetting {
  const Field* field = nullptr;
  FieldValue value;
  TextSpan key;
  TextSpan span;  // of the value
};

// The settings of one file that are well formed by themselves.
struct PlacedSettings {
  std::vector<PlacedSetting> items;
  std::vector<PlacedSetting> sections;  // the value is unused
  std::vector<const Field*> broken;     // written, but not well formed
  std::vector<std::string> tags;        // of model_metadata
  std::string directory;                // what LOCAL repositories are relative to; may be empty

  bool is_written(std::string_view path) const;  // well formed or not
  bool is_broken(std::string_view path) const;
  const PlacedSetting* find(std::string_view path) const;  // among both; nullptr when absent
  std::string text(std::string_view path) const;           // as written, or the default
  int64_t integer(std::string_view path) const;            // likewise
  bool boolean(std::string_view path) const { return text(path) == "true"; }  // likewise
  bool is_v2() const { return text("trt_llm.inference_stack") == "v2"; }
};

// A rule says nothing where a setting that it needs is broken, nor where a value has its error.
void check_rules(const PlacedSettings& settings, Diagnostics& diagnostics);

// LOCAL repositories relative to `directory`, and the limits of encoder_bert: what is left to do
// when every setting is stored.
void finish_config(ConfigFile& config, const std::string& directory);

}  // namespace millrace
