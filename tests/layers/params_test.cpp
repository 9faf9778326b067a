// Params finds, merges and checks weights, and lists all that is wrong at once.
#include "layers/params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "ops/trace/trace_ops.h"
#include "support/errors.h"

namespace millrace {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

// Tensors from memory, each filled with 0, 1, 2, ...
class MemorySource : public WeightSource {
 public:
  explicit MemorySource(WeightNaming naming) : naming_(naming) {}

  void add(const std::string& name, const Shape& shape, DType dtype = DType::kF32) {
    Buffer& memory = memory_.emplace_back(Buffer::host(shape.numel() * size_of(dtype)));
    Tensor tensor = Tensor::contiguous(memory.data(), dtype, shape);
    const auto bytes = tensor.as<std::byte>();
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i);
    tensors_[name] = tensor;
  }
  void remove(const std::string& name) { tensors_.erase(name); }

  std::optional<Tensor> find(const std::string& name, const Shape&) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : tensors_) out.push_back(name);
    return out;
  }
  WeightNaming naming() const override { return naming_; }

 private:
  WeightNaming naming_;
  std::vector<Buffer> memory_;
  std::map<std::string, Tensor> tensors_;
};

// The trace ops, which also keep what was handed to them before they drop its values.
class RecordingOps : public TraceOps {
 public:
  RecordingOps() : OpsContext(Device{}, Precision{}, Arena()), TraceOps(Device{}, Precision{}) {}

  void prepare(Linear& linear) override {
    if (linear.weight.data) {
      const auto bytes = linear.weight.as<const std::byte>();
      weight_bytes.assign(bytes.begin(), bytes.end());
    }
    TraceOps::prepare(linear);
  }

  std::vector<std::byte> weight_bytes;  // of the last Linear
};

const std::vector<LinearPart> kQkv = {{"query", 2}, {"key", 2}, {"value", 3}};

// The construction that the tests share: a module of a merged Linear and a LayerNorm.
void construct(const Params& p) {
  const Params self = p / "layer" / "0";
  self.merged_linear("qkv", kQkv, 4);
  self.layer_norm("LayerNorm", 4, 1e-12f);
}

MemorySource checkpoint(const std::string& prefix = "") {
  MemorySource source(WeightNaming::kCheckpoint);
  for (const LinearPart& part : kQkv) {
    source.add(prefix + "layer.0." + part.name + ".weight", {part.rows, 4});
    source.add(prefix + "layer.0." + part.name + ".bias", {part.rows});
  }
  source.add(prefix + "layer.0.LayerNorm.weight", {4});
  source.add(prefix + "layer.0.LayerNorm.bias", {4});
  return source;
}

std::vector<std::string> parameter_names(const ParameterList& list) {
  std::vector<std::string> out;
  for (const Parameter& parameter : list.parameters) out.push_back(parameter.name);
  return out;
}

class ParamsTest : public testing::Test {
 protected:
  RecordingOps ops_;
  ParameterList list_;
};

TEST_F(ParamsTest, MergesThePartsOfACheckpoint) {
  const MemorySource source = checkpoint();
  const Linear linear = (Params(source, ops_, list_) / "layer" / "0").merged_linear("qkv", kQkv, 4);
  EXPECT_EQ(linear.weight.shape, (Shape{7, 4}));
  EXPECT_EQ(linear.bias->shape, (Shape{7}));
  ASSERT_EQ(linear.parts.size(), 3u);
  EXPECT_EQ(linear.parts[2].name, "value");
  // Rows follow each other: 2 x 16 bytes, 2 x 16 bytes, 3 x 16 bytes, each counted from zero.
  ASSERT_EQ(ops_.weight_bytes.size(), 112u);
  EXPECT_EQ(ops_.weight_bytes[31], std::byte{31});
  EXPECT_EQ(ops_.weight_bytes[32], std::byte{0});
  EXPECT_EQ(ops_.weight_bytes[64], std::byte{0});
  EXPECT_EQ(ops_.weight_bytes[111], std::byte{47});
  EXPECT_THAT(parameter_names(list_), ElementsAre("layer.0.qkv.weight", "layer.0.qkv.bias"));
  EXPECT_EQ(list_.parameters[0].parts.size(), 3u);
  EXPECT_EQ(list_.numel(), 7 * 4 + 7);
  EXPECT_EQ(list_.bytes(), (7 * 4 + 7) * 4);
}

TEST_F(ParamsTest, FindsMergedWeightsUnderTheirCanonicalName) {
  MemorySource source(WeightNaming::kCanonical);
  source.add("layer.0.qkv.weight", {7, 4}, DType::kBF16);
  source.add("layer.0.qkv.bias", {7}, DType::kBF16);
  source.add("layer.0.LayerNorm.weight", {4});
  source.add("layer.0.LayerNorm.bias", {4});
  construct(Params(source, ops_, list_));
  EXPECT_NO_THROW(list_.require_complete(source, {}));
  EXPECT_EQ(list_.parameters[0].format.dtype, DType::kBF16);
  EXPECT_EQ(list_.parameters[0].parts.size(), 1u);
  EXPECT_EQ(ops_.weight_bytes.size(), 56u);
}

TEST_F(ParamsTest, CheckpointAndEngineGiveOneListOfParameters) {
  const MemorySource source = checkpoint();
  construct(Params(source, ops_, list_));
  EXPECT_NO_THROW(list_.require_complete(source, {}));

  MemorySource engine(WeightNaming::kCanonical);
  for (const Parameter& parameter : list_.parameters) engine.add(parameter.name, parameter.shape);
  ParameterList again;
  construct(Params(engine, ops_, again));
  EXPECT_NO_THROW(again.require_complete(engine, {}));
  EXPECT_EQ(parameter_names(again), parameter_names(list_));
}

TEST_F(ParamsTest, APlanAnswersEveryName) {
  const PlanSource source(DType::kF16);
  construct(Params(source, ops_, list_));
  EXPECT_NO_THROW(list_.require_complete(source, {}));
  EXPECT_THAT(parameter_names(list_),
              ElementsAre("layer.0.qkv.weight", "layer.0.qkv.bias", "layer.0.LayerNorm.weight",
                          "layer.0.LayerNorm.bias"));
  EXPECT_EQ(list_.bytes(), (28 + 7 + 4 + 4) * 2);
  EXPECT_EQ(list_.parameters[0].parts[0].data, nullptr);
}

TEST_F(ParamsTest, APrefixOfTheCheckpointIsOptional) {
  for (const char* prefix : {"", "bert."}) {
    const MemorySource source = checkpoint(prefix);
    ParameterList list;
    construct(Params(source, ops_, list).within_optional("bert"));
    EXPECT_NO_THROW(list.require_complete(source, {})) << prefix;
    EXPECT_EQ(list.parameters[0].name, "layer.0.qkv.weight");
  }
}

TEST_F(ParamsTest, HasKnowsTensorsAndModules) {
  const MemorySource source = checkpoint("bert.");
  const Params params(source, ops_, list_);
  EXPECT_TRUE(params.has("bert"));
  EXPECT_TRUE((params / "bert").has("layer.0.query"));
  EXPECT_TRUE((params / "bert").has("layer.0.query.weight"));
  EXPECT_FALSE(params.has("ber"));
  EXPECT_FALSE(params.has("layer"));
  EXPECT_THAT(list_.used, IsEmpty());
}

TEST_F(ParamsTest, ListsEveryProblemAtOnceByFullPath) {
  MemorySource source = checkpoint();
  source.remove("layer.0.key.weight");
  source.add("layer.0.value.bias", {5});
  source.add("layer.0.LayerNorm.weight", {4}, DType::kF64);
  source.remove("layer.0.LayerNorm.bias");
  source.add("layer.0.extra", {1});
  source.add("pooler.dense.weight", {4, 4});
  construct(Params(source, ops_, list_));
  const Error error = error_of([&] { list_.require_complete(source, {"pooler."}); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("(5 problems)"), HasSubstr("\n  missing: layer.0.key.weight [2, 4]"),
                    HasSubstr("\n  misshaped: layer.0.value.bias is [5], the config asks for [3]"),
                    HasSubstr("\n  wrong type: layer.0.LayerNorm.weight is F64, allowed are F32, "
                              "F16 and BF16"),
                    HasSubstr("\n  missing: layer.0.LayerNorm.bias [4]"),
                    HasSubstr("\n  unexpected: layer.0.extra"), Not(HasSubstr("pooler"))));
  EXPECT_THAT(error.hint(), HasSubstr("config.json"));
}

TEST_F(ParamsTest, WithoutIgnorablePrefixesAllLeftoversAreUnexpected) {
  MemorySource source = checkpoint();
  source.add("pooler.dense.weight", {4, 4});
  construct(Params(source, ops_, list_));
  EXPECT_THAT(error_of([&] { list_.require_complete(source, {}); }).message(),
              HasSubstr("unexpected: pooler.dense.weight"));
}

// The first part is the smaller type: a copy sized by it would be written past its end.
TEST_F(ParamsTest, PartsOfSeveralTypesAreRefusedAndNotCopied) {
  MemorySource source = checkpoint();
  source.add("layer.0.query.weight", {2, 4}, DType::kF16);
  construct(Params(source, ops_, list_));
  EXPECT_THAT(list_.problems,
              ElementsAre("mixed types: the parts of layer.0.qkv.weight are not of one type"));
  EXPECT_THAT(ops_.weight_bytes, IsEmpty());
}

TEST_F(ParamsTest, AMissingPartIsOneProblemWhateverTheTypesOfTheOthers) {
  MemorySource source(WeightNaming::kCheckpoint);
  for (const LinearPart& part : kQkv) {
    source.add(part.name + ".weight", {part.rows, 4}, DType::kBF16);
    source.add(part.name + ".bias", {part.rows}, DType::kBF16);
  }
  source.remove("key.bias");
  Params(source, ops_, list_).merged_linear("qkv", kQkv, 4);
  EXPECT_THAT(list_.problems, ElementsAre("missing: key.bias [2]"));
}

TEST_F(ParamsTest, ASingleTensorIsPlacedAndNoted) {
  MemorySource source(WeightNaming::kCheckpoint);
  source.add("word.weight", {5, 4}, DType::kF16);
  const Tensor placed = Params(source, ops_, list_).tensor("word.weight", {5, 4});
  EXPECT_EQ(placed.shape, (Shape{5, 4}));
  EXPECT_EQ(placed.dtype, DType::kF32);  // what the ops compute in
  EXPECT_EQ(list_.parameters[0].format.dtype, DType::kF16);
  EXPECT_THAT(list_.used, UnorderedElementsAre("word.weight"));
}

TEST_F(ParamsTest, APlainLinearKeepsItsName) {
  MemorySource source(WeightNaming::kCheckpoint);
  source.add("output.dense.weight", {3, 4});
  source.add("output.dense.bias", {3});
  const Linear linear = (Params(source, ops_, list_) / "output").linear("dense", 3, 4);
  EXPECT_EQ(linear.out_features(), 3);
  EXPECT_EQ(linear.in_features(), 4);
  EXPECT_NO_THROW(list_.require_complete(source, {}));
  EXPECT_THAT(parameter_names(list_), ElementsAre("output.dense.weight", "output.dense.bias"));
}

TEST(DecoderParamsTest, ReordersRowsOfACheckpointAndFindsThemInOrderInAnEngine) {
  MemorySource checkpoint(WeightNaming::kCheckpoint);
  checkpoint.add("a.wqkv.weight", {6, 1});
  RecordingOps ops;
  ParameterList list;
  const std::vector<RowRange> order = {{4, 6}, {0, 1}, {1, 4}};
  (Params(checkpoint, ops, list) / "a").reordered_linear("qkv", "wqkv", order, 1, Bias::kNo);
  EXPECT_THAT(list.problems, IsEmpty());
  ASSERT_EQ(list.parameters.size(), 1u);
  EXPECT_EQ(list.parameters[0].name, "a.qkv.weight");
  std::vector<int> first_bytes;
  for (const Tensor& part : list.parameters[0].parts)
    for (size_t row = 0; row < static_cast<size_t>(part.rows()); ++row)
      first_bytes.push_back(static_cast<int>(part.as<std::byte>()[4 * row]));
  EXPECT_THAT(first_bytes, ElementsAre(16, 20, 0, 4, 8, 12));

  MemorySource engine(WeightNaming::kCanonical);
  engine.add("a.qkv.weight", {6, 1});
  ParameterList found;
  (Params(engine, ops, found) / "a").reordered_linear("qkv", "wqkv", order, 1, Bias::kNo);
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_EQ(found.parameters[0].parts.size(), 1u);
}

TEST(DecoderParamsTest, ATiedLinearIsNoParameterOfItsOwn) {
  MemorySource source(WeightNaming::kCheckpoint);
  source.add("embed.weight", {6, 2});
  RecordingOps ops;
  ParameterList list;
  const Params p = Params(source, ops, list) / "embed";
  p.table("weight", {6, 2});
  const Linear head = p.tied_linear("weight", {6, 2});
  EXPECT_EQ(head.out_features(), 6);
  EXPECT_FALSE(head.bias.has_value());
  EXPECT_EQ(list.parameters.size(), 1u);

  const MemorySource nothing(WeightNaming::kCheckpoint);
  ParameterList missing;
  const Params absent(nothing, ops, missing);
  absent.table("weight", {6, 2});
  absent.tied_linear("weight", {6, 2});
  EXPECT_THAT(missing.problems, ElementsAre("missing: weight [6, 2]"));
}

TEST(DecoderParamsTest, TensorsAreIgnoredByPrefixOrSuffix) {
  MemorySource source(WeightNaming::kCheckpoint);
  source.add("layers.0.rotary.inv_freq", {2});
  source.add("old.weight", {2});
  source.add("inv_freq.weight", {2});
  EXPECT_THAT(ParameterList().all_problems(source, {"old.", "*.inv_freq"}),
              ElementsAre("unexpected: inv_freq.weight"));
}

}  // namespace
}  // namespace millrace
