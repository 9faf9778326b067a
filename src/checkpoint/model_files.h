// ModelFiles: all that a model is made of, whether it comes from a checkpoint or from an engine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "config/build_config.h"
#include "config/model_config.h"

namespace millrace {

struct ModelFiles {
  std::filesystem::path path;
  ConfigTexts config_texts;    // Hugging Face's config files, as found
  std::string tokenizer_json;  // the bytes of tokenizer.json
  Checkpoint weights;
  WeightNaming naming = WeightNaming::kCheckpoint;
  BuildConfig build;  // of an engine: what it was built for; of a checkpoint: defaults
};

// A Hugging Face directory. Throws Error naming the missing file and the remedy.
ModelFiles open_hf_directory(const std::filesystem::path& directory);

// The folders of this directory that its modules.json gives to sentence-transformers' modules; none
// when there is no such file.
std::vector<std::string> module_folders(const std::filesystem::path& directory);

// The config texts of a Hugging Face directory alone: enough for a plan.
ConfigTexts read_config_texts(const std::filesystem::path& directory);

}  // namespace millrace
