// Files read within limits, maps, and directories that appear whole or not at all.
#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TempDir;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(directory)) out.push_back(entry.path());
  return out;
}

TEST(ReadFileTest, ReturnsTheBytes) {
  const TempDir dir;
  const std::string bytes("a\0b\xff\n", 5);
  EXPECT_EQ(read_file(dir.write("a", bytes)), bytes);
  EXPECT_EQ(read_file(dir.write("empty", "")), "");
}

TEST(ReadFileTest, RefusesMoreThanTheLimit) {
  const TempDir dir;
  const std::string path = dir.write("a", "12345");
  EXPECT_EQ(read_file(path, 5), "12345");
  const Error error = error_of([&] { read_file(path, 4); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_THAT(error.what(), HasSubstr(path + " has 5 bytes, the limit for such a file is 4"));
}

TEST(ReadFileTest, NamesWhatIsNotAReadableFile) {
  const TempDir dir;
  EXPECT_EQ(error_of([&] { read_file(dir / "none"); }).code(), ErrorCode::kNotFound);
  EXPECT_THAT(error_of([&] { read_file(dir / "none"); }).what(), HasSubstr(dir / "none"));
  EXPECT_THAT(error_of([&] { read_file(dir.path().string()); }).what(),
              HasSubstr("is not a regular file"));
}

TEST(ReadFileTest, DoesNotWaitForAPipe) {
  const TempDir dir;
  const std::string pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_file(pipe); }).what(), HasSubstr("is not a regular file"));
  EXPECT_THAT(error_of([&] { MappedFile mapped(pipe); }).what(),
              HasSubstr("is not a regular file"));
}

TEST(WriteFileTest, ReplacesAndNamesWhatItCannotCreate) {
  const TempDir dir;
  const std::string path = dir.write("a", "longer than the next");
  write_file(path, "short");
  EXPECT_EQ(read_file(path), "short");
  EXPECT_THAT(error_of([&] { write_file(dir / "none/a", "x"); }).what(), HasSubstr(dir / "none/a"));
}

TEST(FileWriterTest, WritesInOrder) {
  const TempDir dir;
  FileWriter writer(dir / "a");
  writer.write("one ");
  writer.write("");
  writer.write("two");
  writer.close();
  EXPECT_EQ(read_file(dir / "a"), "one two");
}

TEST(MappedFileTest, ShowsTheBytesAndMoves) {
  const TempDir dir;
  MappedFile first(dir.write("a", "abc"));
  const std::byte* data = first.bytes().data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), data);
  EXPECT_THAT(second.bytes(), SizeIs(3));
  EXPECT_EQ(second.bytes()[2], std::byte('c'));
  MappedFile third(dir.write("b", "defg"));
  third = std::move(second);
  EXPECT_EQ(third.bytes().data(), data);
  EXPECT_EQ(third.path(), dir / "a");
}

TEST(MappedFileTest, AnEmptyFileHasNoBytes) {
  const TempDir dir;
  EXPECT_THAT(MappedFile(dir.write("empty", "")).bytes(), IsEmpty());
}

TEST(StagedDirectoryTest, AppearsOnlyWithCommit) {
  const TempDir dir;
  const fs::path target = dir.path() / "deep" / "target";
  {
    StagedDirectory staged(target);
    write_file((staged.path() / "a").string(), "a");
    EXPECT_FALSE(fs::exists(target));
    EXPECT_EQ(staged.path().parent_path(), target.parent_path());  // renames stay on one disk
    staged.commit();
  }
  EXPECT_EQ(read_file((target / "a").string()), "a");
  EXPECT_THAT(entries(dir.path() / "deep"), SizeIs(1));
}

TEST(StagedDirectoryTest, LeavesNothingWithoutCommit) {
  const TempDir dir;
  {
    StagedDirectory staged(dir.path() / "target");
    write_file((staged.path() / "a").string(), "a");
  }
  EXPECT_THAT(entries(dir.path()), IsEmpty());
}

TEST(StagedDirectoryTest, ReplacesTheOldWholly) {
  const TempDir dir;
  dir.write("target/old", "old");
  {
    StagedDirectory staged(dir.path() / "target/");  // the final slash changes nothing
    write_file((staged.path() / "new").string(), "new");
    EXPECT_TRUE(fs::exists(dir / "target/old"));
    staged.commit();
  }
  EXPECT_TRUE(fs::exists(dir / "target/new"));
  EXPECT_FALSE(fs::exists(dir / "target/old"));
  EXPECT_THAT(entries(dir.path()), SizeIs(1));
}

TEST(StagedDirectoryTest, AFailedCommitKeepsTheOld) {
  const TempDir dir;
  dir.write("target/old", "old");
  {
    StagedDirectory staged(dir.path() / "target");
    fs::remove_all(staged.path());
    EXPECT_THROW(staged.commit(), Error);
  }
  EXPECT_EQ(read_file(dir / "target/old"), "old");
  EXPECT_THAT(entries(dir.path()), SizeIs(1));
}

TEST(StagedDirectoryTest, CanBeReadByOthersLikeAnyDirectory) {
  const TempDir dir;
  StagedDirectory staged(dir.path() / "target");
  EXPECT_EQ(fs::status(staged.path()).permissions(), fs::perms(0755));
}

TEST(StagedDirectoryTest, NamesThePlaceItCannotUse) {
  const TempDir dir;
  dir.write("file", "x");
  EXPECT_THAT(error_of([&] { StagedDirectory staged(dir.path() / "file" / "target"); }).what(),
              HasSubstr(dir / "file"));
}

}  // namespace
}  // namespace millrace
