// The tokenizer of the model that ships with Millrace.
#pragma once

#include <string>

#include "support/source_dir.h"
#include "text/tokenizer.h"

namespace millrace {

inline const Tokenizer& demo_tokenizer() {
  static const Tokenizer demo =
      Tokenizer::from_file(test::source_dir().string() + "/examples/demo-model/tokenizer.json");
  return demo;
}

}  // namespace millrace
