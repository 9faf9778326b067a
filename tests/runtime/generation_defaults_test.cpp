// What generation_config.json and its neighbours say, and what they must not say.
#include "runtime/generation_defaults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "checkpoint/model_files.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GenerationDefaults read(const ConfigTexts& texts, const Tokenizer* tokenizer = nullptr) {
  ModelConfig config;
  config.vocab_size = 100;
  return read_generation_defaults(texts, config, tokenizer, "model");
}

TEST(GenerationDefaults, WhatIsNotSaidIsAbsent) {
  EXPECT_EQ(read({}), GenerationDefaults{});
  EXPECT_EQ(read({{"generation_config.json", R"({"do_sample": true, "temperature": null})"}}),
            GenerationDefaults{});
}

TEST(GenerationDefaults, AreThoseOfTheFile) {
  const GenerationDefaults defaults = read({{"generation_config.json", R"({
      "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.05,
      "max_new_tokens": 2048, "eos_token_id": [7, 9, 7], "bos_token_id": 1, "pad_token_id": -1,
      "transformers_version": "4.51.0", "do_sample": true})"}});
  EXPECT_EQ(defaults.temperature, 0.6f);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.top_p, 0.95f);
  EXPECT_EQ(defaults.min_p, 0.05f);
  EXPECT_EQ(defaults.repetition_penalty, 1.05f);
  EXPECT_EQ(defaults.max_new_tokens, 2048);
  EXPECT_THAT(defaults.end_token_ids, ElementsAre(7, 9));
  EXPECT_EQ(defaults.bos_token_id, 1);
  EXPECT_EQ(defaults.pad_token_id, std::nullopt) << "-1: there is none";
}

TEST(GenerationDefaults, EndTokensOfAllFilesCount) {
  const auto directory = test::source_dir() / "examples" / "demo-model";
  ModelFiles files = open_hf_directory(directory);
  const Tokenizer tokenizer = Tokenizer::from_json(files.tokenizer_json);
  const ModelConfig config = ModelConfig::from_hf(files.config_texts, "demo");
  files.config_texts["tokenizer_config.json"] =
      R"({"eos_token": {"content": "<|im_start|>", "special": true}})";
  const GenerationDefaults defaults =
      read_generation_defaults(files.config_texts, config, &tokenizer, "demo");
  EXPECT_THAT(defaults.end_token_ids, ElementsAre(3065, 3063, 3064));
  EXPECT_EQ(defaults.pad_token_id, 3063);
}

TEST(GenerationDefaults, WrongValuesNameFileKeyAndRange) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"temperature": -1})", "temperature"},
      {R"({"temperature": "hot"})", "temperature"},
      {R"({"top_p": 0})", "top_p"},
      {R"({"top_k": 1.5})", "top_k"},
      {R"({"min_p": 2})", "min_p"},
      {R"({"repetition_penalty": 0})", "repetition_penalty"},
      {R"({"max_new_tokens": 0})", "max_new_tokens"},
      {R"({"eos_token_id": 100})", "eos_token_id"},
      {R"({"eos_token_id": [1, -1]})", "eos_token_id"},
      {R"({"eos_token_id": "</s>"})", "eos_token_id"},
      {R"([1, 2])", "generation_config.json"},
      {R"({"temperature": 1)", "generation_config.json"}};
  for (const auto& [text, key] : cases) {
    try {
      read({{"generation_config.json", text}});
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << text;
      EXPECT_THAT(error.message(), HasSubstr("model/generation_config.json"));
      EXPECT_THAT(error.message(), HasSubstr(key));
    }
  }
}

}  // namespace
}  // namespace millrace
