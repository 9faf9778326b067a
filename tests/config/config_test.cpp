// The reader against tests/cases/config: every file's findings, or what it was read as, stand
// beside it in a .expected file. MILLRACE_UPDATE_GOLDEN=1 writes those files and docs/config.md.
#include "config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "config/config_fields.h"
#include "config/config_reference.h"
#include "config/config_value.h"
#include "config/nearest.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

bool is_updating() {
  return std::getenv("MILLRACE_UPDATE_GOLDEN") != nullptr;
}

void expect_file(const std::string& path, const std::string& text) {
  if (is_updating()) write_file(path, text);
  EXPECT_EQ(read_file(path), text) << path << " differs; MILLRACE_UPDATE_GOLDEN=1 writes it anew";
}

std::vector<std::string> case_files() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator("tests/cases/config")) {
    const auto extension = entry.path().extension();
    if (extension == ".yaml" || extension == ".yml") out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string case_name(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

class ConfigCase : public ::testing::TestWithParam<std::string> {};

TEST_P(ConfigCase, MatchesExpected) {
  Diagnostics diagnostics;
  const ConfigFile config = load_config(GetParam(), diagnostics);
  std::string text = render(diagnostics, false);
  if (!diagnostics.has_errors()) {
    text += "\n[build]\n" + to_string(config.build) + "\n[runtime]\n" + to_string(config.runtime);
  }
  expect_file(std::filesystem::path(GetParam()).replace_extension(".expected").string(), text);

  // The name of the file says what it is about.
  const std::string name = case_name(GetParam());
  EXPECT_EQ(diagnostics.has_errors(), !name.starts_with("ok_")) << text;
  if (name.starts_with("e1") && name.find("xx") == std::string::npos) {
    const std::string code = "MR" + name.substr(1, 4);
    EXPECT_TRUE(std::any_of(diagnostics.items().begin(), diagnostics.items().end(),
                            [&](const Diagnostic& d) { return d.code == code; }))
        << "no " << code << " in\n"
        << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ConfigCase, ::testing::ValuesIn(case_files()),
                         [](const auto& file) { return case_name(file.param); });

TEST(Config, ReferencePageIsCurrent) {
  expect_file("docs/config.md", config_reference_markdown());
}

TEST(Config, EveryCodeHasACaseOrATest) {
  std::string all;
  for (const std::string& path : case_files()) {
    all += read_file(std::filesystem::path(path).replace_extension(".expected").string());
  }
  for (const DiagnosticCode& code : diagnostic_codes()) {
    // Tested below: they need no readable file, a large one, or a checkpoint.
    if (code.code == "MR1001" || code.code == "MR1002" || code.code == "MR1312") continue;
    EXPECT_THAT(all, HasSubstr("[" + std::string(code.code) + "]"));
  }
}

TEST(Config, DefaultsOfTheTableAreThoseOfTheStructs) {
  for (const Field& field : config_fields()) {
    if (!field.store || field.fallback.empty()) continue;
    if (field.path == "trt_llm.build.base_model") continue;  // absent without a file
    ConfigFile config;
    const CheckedValue checked = check_flag_value(field, field.fallback);
    ASSERT_FALSE(checked.problem) << field.path;
    field.store(config, checked.value);
    EXPECT_EQ(config.build, BuildConfig{}) << field.path;
    EXPECT_EQ(config.runtime, RuntimeConfig{}) << field.path;
  }
}

TEST(Config, TheTableIsSound) {
  for (const Field& field : config_fields()) {
    EXPECT_EQ(find_field(field.path), &field) << field.path << " stands twice";
    EXPECT_FALSE(field.about.empty()) << field.path;
    EXPECT_EQ(field.type == FieldType::kWord, !field.words.empty()) << field.path;
    EXPECT_EQ(field.support == Support::kRefused || field.support == Support::kIgnored,
              !field.missing.empty())
        << field.path;
    if (!field.section().empty()) {
      const Field* section = find_field(field.section());
      ASSERT_NE(section, nullptr) << field.path;
      EXPECT_EQ(section->type, FieldType::kSection) << field.path;
    }
    // "Supported" is a promise: somebody stores the value, or a rule reads it.
    if (field.type != FieldType::kSection && !field.store &&
        effective_support(field) == Support::kSupported) {
      const std::vector<std::string_view> ruled = {
          "inference_stack",         "tensor_parallel_count", "pipeline_parallel_count",
          "sequence_parallel_count", "skip_build_result",     "kind",
          "is_websocket_endpoint"};
      EXPECT_THAT(ruled, ::testing::Contains(field.name())) << field.path;
    }
  }
  for (const SpecialValue& special : special_values()) {
    EXPECT_NE(find_field(special.path), nullptr) << special.path;
  }
}

TEST(Config, MissingAndLargeFilesAreReported) {
  Diagnostics missing;
  load_config("tests/cases/config/none.yaml", missing);
  EXPECT_THAT(render(missing, false), HasSubstr("error[MR1001]"));
  Diagnostics folder;
  load_config("tests/cases/config", folder);
  EXPECT_THAT(render(folder, false), HasSubstr("error[MR1001]"));
  Diagnostics large;
  parse_config(std::string(1024 * 1024 + 1, ' '), "large.yaml", large);
  EXPECT_THAT(render(large, false), HasSubstr("error[MR1002]"));
}

TEST(Config, AByteOrderMarkIsNoPartOfTheFirstKey) {
  Diagnostics diagnostics;
  parse_config("\xEF\xBB\xBFno_such_key: 1\n", "c.yaml", diagnostics);
  const auto& items = diagnostics.items();
  const auto unknown = std::find_if(items.begin(), items.end(),
                                    [](const Diagnostic& d) { return d.code == "MR1101"; });
  ASSERT_NE(unknown, items.end());
  EXPECT_EQ(unknown->message, "unknown key `no_such_key`");
  EXPECT_EQ(unknown->span, (TextSpan{.line = 1, .column = 1, .length = 11}));
  EXPECT_EQ(unknown->excerpt, "no_such_key: 1");
}

TEST(Config, ErrorsBeyondTheShownOnesStillCount) {
  std::string text = "model_metadata:\n";
  for (size_t i = 0; i <= Diagnostics::kMax; ++i) text += "  twice: 1\n";
  text += "unheard_of: 1\n";
  Diagnostics diagnostics;
  parse_config(text, "c.yaml", diagnostics);
  EXPECT_EQ(diagnostics.items().size(), Diagnostics::kMax);
  EXPECT_TRUE(diagnostics.has_errors());
  EXPECT_THAT(render(diagnostics, false), HasSubstr("c.yaml: 2 errors, 50 warnings (2 not shown)"));
}

TEST(Config, DiagnosticsAsJson) {
  Diagnostics diagnostics;
  load_config("tests/cases/config/e1207_directory.yaml", diagnostics);
  const json::value root = json::parse(to_json(diagnostics), "diagnostics");
  const json::object& first = root.at("diagnostics").at(0).as_object();
  EXPECT_EQ(root.at("errors").to_number<int>(), 1);
  EXPECT_EQ(first.at("code").as_string(), "MR1207");
  EXPECT_EQ(first.at("severity").as_string(), "error");
  EXPECT_EQ(first.at("line").to_number<int>(), 6);
  EXPECT_EQ(first.at("column").to_number<int>(), 13);
  EXPECT_EQ(first.at("excerpt").as_string(), "      repo: ./no/such/model");
}

TEST(Config, ColorFramesTheSameText) {
  Diagnostics diagnostics;
  load_config("tests/cases/config/e12xx_values.yaml", diagnostics);
  std::string colored = render(diagnostics, true);
  EXPECT_THAT(colored, HasSubstr("\033[1;31m"));
  for (size_t at = colored.find('\033'); at != std::string::npos; at = colored.find('\033')) {
    colored.erase(at, colored.find('m', at) - at + 1);
  }
  EXPECT_EQ(colored, render(diagnostics, false));
}

TEST(Config, OriginsAreKept) {
  Diagnostics diagnostics;
  const std::string path = "tests/cases/config/ok_embeddings.yaml";
  ConfigFile config = load_config(path, diagnostics);
  EXPECT_EQ(config.origin_of("millrace.port"), path + ":11");
  EXPECT_EQ(config.origin_of("millrace.host"), "default");
  EXPECT_EQ(config.runtime.served_model_name, "minilm");
  set_option(config, "millrace.port", "9000", "--port");
  EXPECT_EQ(config.origin_of("millrace.port"), "--port");
  EXPECT_EQ(config.runtime.port, 9000);
}

TEST(Config, RepositoriesAreRelativeToTheFile) {
  Diagnostics diagnostics;
  const ConfigFile config = load_config("tests/cases/config/ok_embeddings.yaml", diagnostics);
  EXPECT_EQ(config.build.source.repo, "tests/cases/config/model");
}

TEST(Config, AModelDirectoryNeedsNoFile) {
  ConfigFile config = config_for_model("tests/cases/config/model/");
  EXPECT_EQ(config.build.source.kind, SourceKind::kLocal);
  EXPECT_FALSE(config.build.base_model);
  set_option(config, "millrace.dtype", "bf16", "--dtype");
  EXPECT_EQ(config.build.dtype, ComputeDType::kBF16);
  EXPECT_EQ(config.runtime.dtype, ComputeDType::kBF16);
  set_option(config, "millrace.host", "10.0.0.1", "--host");
  EXPECT_EQ(config.runtime.host, "10.0.0.1");
  set_option(config, "millrace.device", "cpu", "--device");
  EXPECT_EQ(config.runtime.device, Device{});
}

TEST(Config, WhatIsNoDirectoryIsARepository) {
  const auto source_of = [](const std::string& model) {
    return to_string(config_for_model(model).build.source);
  };
  EXPECT_EQ(source_of("sentence-transformers/all-MiniLM-L6-v2"),
            "HF:sentence-transformers/all-MiniLM-L6-v2");
  EXPECT_EQ(source_of("gpt2"), "HF:gpt2");
  EXPECT_EQ(source_of("hf://BAAI/bge-m3@refs/pr/7"), "HF:BAAI/bge-m3@refs/pr/7");
  EXPECT_EQ(source_of("hf://tests/cases"), "HF:tests/cases");
  for (const char* neither :
       {"./model", "/no/such/model", "a/b/c", "hf://a/b/c", "hf://", "a b", "../model", "org/"}) {
    try {
      config_for_model(neither);
      FAIL() << neither;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNotFound);
      EXPECT_THAT(error.what(), HasSubstr("there is no directory"));
      EXPECT_THAT(error.hint(), HasSubstr("owner/name"));
    }
  }
}

TEST(Config, FlagsAreCheckedLikeTheFile) {
  ConfigFile config;
  const auto refusal = [&](std::string_view path, std::string_view value) -> std::string {
    try {
      set_option(config, path, value, "--flag");
    } catch (const Error& error) {
      return error.what();
    }
    return "taken";
  };
  EXPECT_EQ(refusal("millrace.port", "70000"),
            "--flag cannot be 70000; it takes an integer in 0..65535");
  EXPECT_EQ(refusal("millrace.port", "http"),
            "--flag cannot be http; it takes an integer in 0..65535");
  EXPECT_EQ(refusal("millrace.dtype", "float"),
            "--flag cannot be float; it takes auto, fp32, fp16, bf16");
  EXPECT_THAT(refusal("trt_llm.build.base_model", "encoder"), HasSubstr("not built yet"));
  EXPECT_EQ(config, ConfigFile{});
  EXPECT_THROW(set_option(config, "no.such", "1", "--flag"), InternalError);
}

TEST(Config, ArchitectureAgainstBaseModel) {
  const std::string path = "tests/cases/config/ok_embeddings.yaml";
  Diagnostics quiet;
  const ConfigFile config = load_config(path, quiet);
  check_architecture(config, "BertModel", quiet);
  EXPECT_TRUE(quiet.items().empty());
  check_architecture(config, "LlamaForCausalLM", quiet);
  ASSERT_EQ(quiet.items().size(), 1u);
  EXPECT_EQ(quiet.items().front().code, "MR1312");
  EXPECT_EQ(quiet.items().front().span, (TextSpan{.line = 5, .column = 17, .length = 12}));
  EXPECT_FALSE(quiet.has_errors());
}

TEST(Config, NearestWord) {
  const std::vector<std::string_view> words = {"port", "host", "device", "dtype"};
  EXPECT_EQ(nearest("prot", words), "");
  EXPECT_EQ(nearest("prt", words), "port");
  EXPECT_EQ(nearest("Device", words), "device");
  EXPECT_EQ(nearest("temperature", words), "");
}

// Any bytes end in findings or in a config, never in a crash: cheap mutations of the case files.
TEST(Config, MutatedFilesNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string_view spice = "[]{}:,&*!|>'\"%@`#- \n\t?<~0aZ\xC3\x04";
  for (const std::string& path : case_files()) {
    const std::string original = read_file(path);
    for (int round = 0; round < 20; ++round) {
      std::string text = original;
      for (int edit = 0; edit < 4 && !text.empty(); ++edit) {
        const size_t at = random() % text.size();
        if (random() % 3 == 0) {
          text.erase(at, random() % 8);
        } else {
          text.insert(at, 1, spice[random() % spice.size()]);
        }
      }
      Diagnostics diagnostics;
      parse_config(text, "mutated.yaml", diagnostics);
      render(diagnostics, true);
    }
  }
}

}  // namespace
}  // namespace millrace
