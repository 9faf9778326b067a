// ConfigFile: one deployment, as config.yaml, or a model directory and flags, describe it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/build_config.h"
#include "config/diagnostic.h"
#include "config/runtime_config.h"

namespace millrace {

// A value that somebody wrote, for the start-up report.
struct Setting {
  std::string path;        // "trt_llm.build.max_batch_size"
  std::string value;       // "64"
  std::string origin;      // "config.yaml:7" or "--port"
  bool has_effect = true;  // false: part of the schema, accepted, and without effect here

  bool operator==(const Setting&) const = default;
};

struct ConfigFile {
  std::string path;        // as given; empty: no file, flags only
  std::string model_name;  // may be empty
  BuildConfig build;
  RuntimeConfig runtime;
  std::vector<Setting> settings;  // what differs from the defaults by somebody's hand

  // Who set it: "default", "config.yaml:7", "--port".
  std::string origin_of(std::string_view setting_path) const;

  bool operator==(const ConfigFile&) const = default;
};

// Reads and checks a file. Everything wrong is reported, sorted by place; the result is to be used
// only when `diagnostics` has no errors. A relative LOCAL repository is relative to the file.
ConfigFile load_config(const std::string& path, Diagnostics& diagnostics);

// The same from text; `path` names it and says what it is relative to.
ConfigFile parse_config(std::string_view text, const std::string& path, Diagnostics& diagnostics);

// The defaults for a checkpoint, without a file: a directory; or, where there is none of that name,
// a repository of the Hugging Face Hub, as owner/name or hf://owner/name[@revision]. Throws
// Error{kNotFound} for what is neither.
ConfigFile config_for_model(const std::string& model);

// A flag's word over whatever the file said: set_option(config, "millrace.port", "8000", "--port").
// The field's type, range and support are checked as in a file. Throws Error{kInvalidArgument,
// kUnsupported} that names the flag.
void set_option(ConfigFile& config, std::string_view setting_path, std::string_view value,
                std::string_view flag);

// What the checkpoint's architecture ("BertModel") has to say about base_model, once it is known.
// Reports rule V12; `config` and `diagnostics` are those of one load_config().
void check_architecture(const ConfigFile& config, std::string_view architecture,
                        Diagnostics& diagnostics);

}  // namespace millrace
