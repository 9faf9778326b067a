// Which files of a model directory travel with it.
#include "checkpoint/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(ModelFilesTest, ChatTemplatesAndDefaultsOfGenerationTravel) {
  const test::TempDir temp;
  const fs::path& directory = temp.path();
  fs::create_directories(directory / "additional_chat_templates" / "folder.jinja");
  for (const std::string name :
       {"config.json", "generation_config.json", "chat_template.jinja", "modeling.py",
        "additional_chat_templates/tool_use.jinja", "additional_chat_templates/notes.txt"})
    write_file((directory / name).string(), "text of " + name);
  write_file((directory / "modules.json").string(), "[]");
  EXPECT_THAT(
      read_config_texts(directory),
      UnorderedElementsAre(Pair("config.json", "text of config.json"), Pair("modules.json", "[]"),
                           Pair("generation_config.json", "text of generation_config.json"),
                           Pair("chat_template.jinja", "text of chat_template.jinja"),
                           Pair("additional_chat_templates/tool_use.jinja",
                                "text of additional_chat_templates/tool_use.jinja")));
}

}  // namespace
}  // namespace millrace
