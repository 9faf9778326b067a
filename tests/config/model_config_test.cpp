// Hugging Face's config files, in every spelling that checkpoints use, and those that are refused.
#include "config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "support/errors.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ConfigTexts golden_texts(const std::string& name) {
  const fs::path directory = test::source_dir() / "tests" / "golden" / name;
  ConfigTexts texts;
  std::vector<std::string> files = hf_config_files();
  files.push_back("1_Pooling/config.json");  // the folder that modules.json names
  for (const std::string& file : files) {
    if (fs::exists(directory / file)) texts[file] = read_file((directory / file).string());
  }
  return texts;
}

// A small sound BertModel with sentence-transformers' files.
ConfigTexts sound() {
  return {{"config.json", R"({"architectures": ["BertModel"], "model_type": "bert",
             "vocab_size": 100, "max_position_embeddings": 64, "hidden_size": 32,
             "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4})"},
          {"modules.json", R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
             {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])"},
          {"1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true})"}};
}

// `sound` with the field of one file set to a JSON text, or removed by an empty one.
ConfigTexts with(const std::string& file, const std::string& key, const std::string& text) {
  ConfigTexts texts = sound();
  json::value parsed = json::parse(texts.contains(file) ? texts.at(file) : "{}", file);
  if (text.empty()) {
    parsed.as_object().erase(key);
  } else {
    parsed.as_object()[key] = json::parse(text, key);
  }
  texts[file] = json::to_text(parsed);
  return texts;
}

ModelConfig read(const ConfigTexts& texts) {
  return ModelConfig::from_hf(texts, "dir");
}

TEST(ModelConfigTest, ReadsBertMean) {
  const ModelConfig config = read(golden_texts("bert_mean"));
  EXPECT_EQ(config.architecture, "BertModel");
  EXPECT_EQ(config.model_type, "bert");
  EXPECT_EQ(config.dtype, DType::kF32);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.type_vocab_size, 2);
  EXPECT_EQ(config.max_position_embeddings, 130);
  EXPECT_EQ(config.hidden_size, 72);
  EXPECT_EQ(config.intermediate_size, 200);
  EXPECT_EQ(config.num_layers, 3);
  EXPECT_EQ(config.num_heads, 6);
  EXPECT_EQ(config.head_dim, 12);
  EXPECT_EQ(config.hidden_act, ActivationFunction::kGelu);
  EXPECT_EQ(config.norm_eps, 1e-12f);
  EXPECT_EQ(config.max_input_tokens, 130);  // no max_seq_length; model_max_length is no limit
  EXPECT_EQ(config.pooling, PoolingMode::kMean);
  EXPECT_FALSE(config.normalize);
  EXPECT_FALSE(config.is_classifier());
}

TEST(ModelConfigTest, ReadsBertCls) {
  const ModelConfig config = read(golden_texts("bert_cls"));
  EXPECT_EQ(config.architecture, "BertForPreTraining");
  EXPECT_EQ(config.dtype, DType::kF32);
  EXPECT_EQ(config.max_position_embeddings, 48);
  EXPECT_EQ(config.hidden_size, 96);
  EXPECT_EQ(config.intermediate_size, 136);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 3);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.hidden_act, ActivationFunction::kGeluTanh);
  EXPECT_EQ(config.max_input_tokens, 40);
  EXPECT_EQ(config.pooling, PoolingMode::kCls);
  EXPECT_TRUE(config.normalize);
}

TEST(ModelConfigTest, ReadsBertBf16) {
  const ModelConfig config = read(golden_texts("bert_bf16"));
  EXPECT_EQ(config.architecture, "BertModel");
  EXPECT_EQ(config.dtype, DType::kBF16);
  EXPECT_EQ(config.hidden_size, 128);
  EXPECT_EQ(config.intermediate_size, 512);
  EXPECT_EQ(config.num_heads, 2);
  EXPECT_EQ(config.hidden_act, ActivationFunction::kRelu);
  EXPECT_EQ(config.max_input_tokens, 35);
  EXPECT_EQ(config.pooling, PoolingMode::kMean);
  EXPECT_TRUE(config.normalize);
}

TEST(ModelConfigTest, ReadsTheClassifiers) {
  const ModelConfig rerank = read(golden_texts("bert_rerank"));
  EXPECT_EQ(rerank.architecture, "BertForSequenceClassification");
  EXPECT_EQ(rerank.dtype, DType::kF16);
  EXPECT_THAT(rerank.labels, ElementsAre("LABEL_0"));
  EXPECT_EQ(rerank.max_position_embeddings, 50);
  const ModelConfig classify = read(golden_texts("bert_classify"));
  EXPECT_THAT(classify.labels, ElementsAre("negative", "neutral", "very positive"));
  EXPECT_TRUE(classify.is_classifier());
  EXPECT_EQ(classify.max_input_tokens, 44);
}

TEST(ModelConfigTest, BothSpellingsOfDtype) {
  struct Row {
    const char* key;
    const char* name;
    DType dtype;
  };
  for (const Row& row :
       {Row{"dtype", "\"bfloat16\"", DType::kBF16},
        Row{"torch_dtype", "\"bfloat16\"", DType::kBF16},
        Row{"torch_dtype", "\"float16\"", DType::kF16}, Row{"torch_dtype", "null", DType::kF32}}) {
    EXPECT_EQ(read(with("config.json", row.key, row.name)).dtype, row.dtype) << row.name;
  }
  EXPECT_EQ(read(sound()).dtype, DType::kF32);
}

TEST(ModelConfigTest, DefaultsAreTransformers) {
  const ModelConfig config = read(sound());
  EXPECT_EQ(config.type_vocab_size, 2);
  EXPECT_EQ(config.hidden_act, ActivationFunction::kGelu);
  EXPECT_EQ(config.norm_eps, 1e-12f);
  EXPECT_THAT(config.labels, IsEmpty());
}

TEST(ModelConfigTest, KnowsTheNamesOfActivations) {
  struct Row {
    const char* name;
    ActivationFunction function;
  };
  for (const Row& row :
       {Row{"\"gelu_pytorch_tanh\"", ActivationFunction::kGeluTanh},
        Row{"\"gelu_fast\"", ActivationFunction::kGeluTanh},
        Row{"\"silu\"", ActivationFunction::kSilu}, Row{"\"swish\"", ActivationFunction::kSilu},
        Row{"\"tanh\"", ActivationFunction::kTanh}, Row{"\"relu\"", ActivationFunction::kRelu}}) {
    EXPECT_EQ(read(with("config.json", "hidden_act", row.name)).hidden_act, row.function)
        << row.name;
  }
}

TEST(ModelConfigTest, PoolingInEverySpelling) {
  struct Row {
    const char* text;
    PoolingMode mode;
  };
  for (const Row& row :
       {Row{R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})",
            PoolingMode::kCls},
        Row{R"({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false})",
            PoolingMode::kMean},
        Row{R"({"pooling_mode_lasttoken": true})", PoolingMode::kLastToken},
        Row{R"({"pooling_mode": "cls"})", PoolingMode::kCls},
        Row{R"({"pooling_mode": "mean", "embedding_dimension": 32})", PoolingMode::kMean},
        Row{R"({"pooling_mode": "lasttoken"})", PoolingMode::kLastToken},
        Row{R"({"pooling_mode": "mean", "pooling_mode_mean_tokens": true})", PoolingMode::kMean}}) {
    ConfigTexts texts = sound();
    texts["1_Pooling/config.json"] = row.text;
    EXPECT_EQ(read(texts).pooling, row.mode) << row.text;
  }
}

TEST(ModelConfigTest, RefusesOtherPoolings) {
  for (const char* text :
       {"{}", R"({"pooling_mode_max_tokens": true})", R"({"pooling_mode": "max"})",
        R"({"pooling_mode": ["mean", "cls"]})",
        R"({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true})",
        R"({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})",
        R"({"pooling_mode_mean_tokens": true, "pooling_mode_mean_sqrt_len_tokens": true})",
        R"({"pooling_mode": "mean", "pooling_mode_weightedmean_tokens": true})"}) {
    SCOPED_TRACE(text);
    ConfigTexts texts = sound();
    texts["1_Pooling/config.json"] = text;
    const Error error = error_of([&] { read(texts); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("dir/1_Pooling/config.json"),
                                    HasSubstr("exactly one of the pooling modes")));
  }
}

TEST(ModelConfigTest, AMissingPoolingConfigIsNamed) {
  ConfigTexts texts = sound();
  texts.erase("1_Pooling/config.json");
  const Error error = error_of([&] { read(texts); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(),
              HasSubstr("dir/modules.json names 1_Pooling/config.json, which is missing"));
}

TEST(ModelConfigTest, ModulesDecideNormalization) {
  ConfigTexts texts = sound();
  EXPECT_FALSE(read(texts).normalize);
  texts["modules.json"] = R"([{"type": "a.Transformer"}, {"type": "b.Pooling", "path": "1_Pooling"},
                              {"type": "c.d.Normalize", "path": "2_Normalize"}])";
  EXPECT_TRUE(read(texts).normalize);
}

TEST(ModelConfigTest, APlainCheckpointPoolsTheFirstToken) {
  ConfigTexts texts = sound();
  texts.erase("modules.json");
  texts.erase("1_Pooling/config.json");
  const ModelConfig config = read(texts);
  EXPECT_EQ(config.pooling, PoolingMode::kCls);
  EXPECT_FALSE(config.normalize);
}

struct BadModules {
  const char* text;
  const char* problem;
};

TEST(ModelConfigTest, RefusesModulesItDoesNotKnow) {
  for (const auto& [text, problem] : {
           BadModules{R"([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])",
                      "module sentence_transformers.models.Dense is not supported; allowed: "
                      "Transformer, Pooling, Normalize"},
           BadModules{"{}", "expected an array of modules"},
           BadModules{"[1]", "expected an object, found an integer"},
           BadModules{"[{}]", "type: missing"},
           BadModules{R"([{"type": "a.Transformer"}])", "no module is a Pooling"},
           BadModules{"[]", "no module is a Pooling"},
           BadModules{"[", "not valid JSON"},
       }) {
    SCOPED_TRACE(text);
    ConfigTexts texts = sound();
    texts["modules.json"] = text;
    EXPECT_THAT(error_of([&] { read(texts); }).what(),
                AllOf(HasSubstr("dir/modules.json"), HasSubstr(problem)));
  }
}

TEST(ModelConfigTest, TheInputLimitIsTheSmallerOfTheTwo) {
  EXPECT_EQ(read(sound()).max_input_tokens, 64);
  const char* file = "sentence_bert_config.json";
  EXPECT_EQ(read(with(file, "max_seq_length", "20")).max_input_tokens, 20);
  EXPECT_EQ(read(with(file, "max_seq_length", "65")).max_input_tokens, 64);
  EXPECT_EQ(read(with(file, "max_seq_length", "9223372036854775807")).max_input_tokens, 64);
  EXPECT_EQ(read(with(file, "max_seq_length", "null")).max_input_tokens, 64);
  EXPECT_EQ(read(with(file, "do_lower_case", "false")).max_input_tokens, 64);
  for (const char* bad : {"0", "-1", "\"20\"", "20.5", "1e30"}) {
    EXPECT_THAT(error_of([&] { read(with(file, "max_seq_length", bad)); }).what(),
                HasSubstr("dir/sentence_bert_config.json: max_seq_length: "))
        << bad;
  }
}

TEST(ModelConfigTest, HugeNumbersInUnreadFilesDoNoHarm) {
  ConfigTexts texts = sound();
  texts["tokenizer_config.json"] =
      R"({"model_max_length": 1000000000000000019884624838656, "other": 1e30})";
  EXPECT_EQ(read(texts).max_input_tokens, 64);
}

ModelConfig classifier(const std::string& key, const std::string& text) {
  ConfigTexts texts = with("config.json", key, text);
  const std::string from = "\"BertModel\"";
  std::string& config = texts["config.json"];
  config.replace(config.find(from), from.size(), "\"BertForSequenceClassification\"");
  texts.erase("modules.json");
  return read(texts);
}

TEST(ModelConfigTest, LabelsByIndexWhateverTheirOrder) {
  EXPECT_THAT(classifier("id2label", R"({"2": "c", "0": "a", "1": "b"})").labels,
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(classifier("num_labels", "3").labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_THAT(classifier("use_cache", "true").labels, ElementsAre("LABEL_0", "LABEL_1"));
}

TEST(ModelConfigTest, RefusesLabelsWithGaps) {
  for (const char* text : {R"({"0": "a", "2": "c"})", R"({"1": "b"})", R"({"0": "a", "00": "b"})",
                           R"({"0": "a", "x": "b"})", R"({"0": "a", "-1": "b"})", R"({"": "a"})",
                           R"({"99999999999999999999": "a"})"}) {
    EXPECT_THAT(
        error_of([&] { classifier("id2label", text); }).what(),
        AllOf(HasSubstr("dir/config.json: id2label: "), HasSubstr("is not an index of 0..")))
        << text;
  }
  EXPECT_THAT(error_of([&] { classifier("id2label", "{}"); }).what(), HasSubstr("id2label"));
  EXPECT_THAT(error_of([&] { classifier("id2label", R"({"0": 1})"); }).what(),
              HasSubstr("id2label: 0: expected a string"));
  EXPECT_THAT(error_of([&] { classifier("num_labels", "100001"); }).what(),
              HasSubstr("num_labels: 100001 is outside 1..100000"));
}

struct BadField {
  const char* key;
  const char* text;  // empty: the field is absent
  const char* problem;
};

TEST(ModelConfigTest, RefusesBadFieldsByName) {
  for (const auto& [key, text, problem] : {
           BadField{"architectures", "", "\"architectures\" is missing"},
           BadField{"architectures", "[]", "\"architectures\" is missing"},
           BadField{"architectures", R"(["A", "B"])", "2 architectures are named"},
           BadField{"architectures", R"("A")", "architectures: expected an array of strings"},
           BadField{"architectures", "[1]", "architectures: expected strings"},
           BadField{"model_type", "1", "model_type: expected a string"},
           BadField{"dtype", R"("float8_e4m3fn")", "dtype \"float8_e4m3fn\" is not one of"},
           BadField{"dtype", "32", "dtype: expected a string"},
           BadField{"vocab_size", "", "vocab_size: missing"},
           BadField{"vocab_size", "0", "vocab_size: 0 is outside"},
           BadField{"vocab_size", "-5", "vocab_size: -5 is outside"},
           BadField{"vocab_size", "1e3", "vocab_size: expected an integer"},
           BadField{"vocab_size", "\"100\"", "vocab_size: expected an integer"},
           BadField{"vocab_size", "9223372036854775807", "is outside"},
           BadField{"vocab_size", "9223372036854775808", "vocab_size: the integer is too large"},
           BadField{"type_vocab_size", "0", "type_vocab_size: 0 is outside"},
           BadField{"max_position_embeddings", "4294967296", "max_position_embeddings: "},
           BadField{"max_position_embeddings", "", "max_position_embeddings: missing"},
           BadField{"hidden_size", "0", "hidden_size: 0 is outside"},
           BadField{"hidden_size", "1048576", "hidden_size: 1048576 is outside"},
           BadField{"hidden_size", "33", "num_attention_heads: 4 does not divide hidden_size 33"},
           BadField{"num_attention_heads", "0", "num_attention_heads: 0 is outside"},
           BadField{"num_attention_heads", "64", "64 does not divide hidden_size 32"},
           BadField{"num_hidden_layers", "10001", "num_hidden_layers: 10001 is outside 1..10000"},
           BadField{"intermediate_size", "2000000", "intermediate_size: 2000000 is outside"},
           BadField{"hidden_act", R"("gelu_python_9")",
                    "hidden_act \"gelu_python_9\" is not known; allowed: gelu,"},
           BadField{"hidden_act", "{}", "hidden_act: expected a string, found an object"},
           BadField{"layer_norm_eps", "\"small\"", "layer_norm_eps: expected a number"},
           BadField{"layer_norm_eps", "0", "layer_norm_eps: 0 is outside"},
           BadField{"layer_norm_eps", "-1e-5", "layer_norm_eps: -1e-05 is outside"},
           BadField{"layer_norm_eps", "1e300", "layer_norm_eps: 1e+300 is outside"},
           BadField{"position_embedding_type", R"("relative_key")",
                    "position_embedding_type \"relative_key\" is not supported"},
       }) {
    SCOPED_TRACE(std::string(key) + ": " + text);
    EXPECT_THAT(error_of([&] { read(with("config.json", key, text)); }).what(),
                AllOf(HasSubstr("dir/config.json"), HasSubstr(problem)));
  }
}

TEST(ModelConfigTest, RefusesADirectoryWithoutConfig) {
  const Error error = error_of([] { read({}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(), HasSubstr("dir has no config.json"));
  EXPECT_THAT(error_of([] {
                read({{"config.json", "[]"}});
              }).what(),
              HasSubstr("dir/config.json: expected an object, found an array"));
  EXPECT_THAT(error_of([] {
                read({{"config.json", "{\n"}});
              }).what(),
              HasSubstr("dir/config.json:2:1: not valid JSON"));
}

TEST(ModelConfigTest, NamesOfEnumerations) {
  EXPECT_EQ(to_string(ActivationFunction::kGeluTanh), "gelu_tanh");
  EXPECT_EQ(to_string(ActivationFunction::kNone), "none");
  EXPECT_EQ(to_string(PoolingMode::kLastToken), "lasttoken");
}

}  // namespace
}  // namespace millrace
