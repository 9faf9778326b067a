// What /v1/embeddings takes and refuses, and that what it writes says what went in.
#include "server/openai_types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "server/request_error.h"

namespace millrace {
namespace {

using testing::ElementsAre;

constexpr BodyLimits kBodyLimits{.max_inputs = 4, .vocab_size = 1000};

EmbeddingsRequest parse_embeddings(const std::string& body) {
  return parse_embeddings_request(body, kBodyLimits);
}

std::string text(const Input& input) {
  return std::get<std::string>(input);
}

std::vector<int32_t> ids(const Input& input) {
  return std::get<std::vector<int32_t>>(input);
}

TEST(EmbeddingsRequest, TakesTheFourFormsOfInput) {
  const auto one = parse_embeddings(R"({"input":"a \u00e9\n"})");
  ASSERT_EQ(one.inputs.size(), 1u);
  EXPECT_EQ(text(one.inputs[0]), "a \xc3\xa9\n");

  const auto several = parse_embeddings(R"({"input":["a","b"," "]})");
  ASSERT_EQ(several.inputs.size(), 3u);
  EXPECT_EQ(text(several.inputs[1]), "b");

  const auto tokens = parse_embeddings(R"({"input":[0,7,999]})");
  ASSERT_EQ(tokens.inputs.size(), 1u);
  EXPECT_THAT(ids(tokens.inputs[0]), ElementsAre(0, 7, 999));

  const auto lists = parse_embeddings(R"({"input":[[1],[2,3]]})");
  ASSERT_EQ(lists.inputs.size(), 2u);
  EXPECT_THAT(ids(lists.inputs[1]), ElementsAre(2, 3));
}

TEST(EmbeddingsRequest, TokenIdsOfOneInputAreNotCountedAsInputs) {
  EXPECT_EQ(parse_embeddings(R"({"input":[1,2,3,4,5,6,7]})").inputs.size(), 1u);
}

TEST(EmbeddingsRequest, ReadsTheOtherFields) {
  const auto plain = parse_embeddings(R"({"input":"a"})");
  EXPECT_EQ(plain.encoding_format, EncodingFormat::kFloat);
  EXPECT_EQ(plain.vector.dimensions, std::nullopt);
  EXPECT_EQ(plain.text.truncate, std::nullopt);
  EXPECT_EQ(plain.vector.normalize, std::nullopt);
  EXPECT_EQ(plain.text.truncation_direction, TruncationDirection::kRight);

  const auto full = parse_embeddings(
      R"({"model":"m","input":"a","encoding_format":"base64","dimensions":64,"user":"u",)"
      R"("truncate":false,"normalize":true,"truncation_direction":"Left"})");
  EXPECT_EQ(full.encoding_format, EncodingFormat::kBase64);
  EXPECT_EQ(full.vector.dimensions, 64);
  EXPECT_EQ(full.text.truncate, false);
  EXPECT_EQ(full.vector.normalize, true);
  EXPECT_EQ(full.text.truncation_direction, TruncationDirection::kLeft);
  EXPECT_TRUE(full.ignored_fields.empty());
}

TEST(EmbeddingsRequest, NullMeansAbsent) {
  const auto request = parse_embeddings(
      R"({"input":"a","model":null,"encoding_format":null,"dimensions":null,"user":null,)"
      R"("truncate":null,"unknown":null})");
  EXPECT_EQ(request.vector.dimensions, std::nullopt);
  EXPECT_EQ(request.encoding_format, EncodingFormat::kFloat);
}

TEST(EmbeddingsRequest, ListsUnknownFieldsSafely) {
  const auto request =
      parse_embeddings("{\"input\":\"a\",\"priority\":1,\"b\\r\\nc, d\":{\"x\":[1]},\"" +
                       std::string(1000, 'z') + "\":0}");
  ASSERT_EQ(request.ignored_fields.size(), 3u);
  EXPECT_EQ(request.ignored_fields[0], "priority");
  EXPECT_EQ(request.ignored_fields[1], "b??c??d");
  EXPECT_LE(request.ignored_fields[2].size(), 100u);

  std::string many = R"({"input":"a")";
  for (int i = 0; i < 1000; ++i) many += ",\"f" + std::to_string(i) + "\":1";
  EXPECT_LE(parse_embeddings(many + "}").ignored_fields.size(), 100u);
}

struct BadBody {
  const char* body;
  const char* param;  // "" where the body as a whole is at fault
};

TEST(EmbeddingsRequest, RefusesBadBodiesAndNamesTheField) {
  const std::vector<BadBody> rows = {
      {"", ""},
      {"nonsense", ""},
      {"[]", ""},
      {"\"input\"", ""},
      {"null", ""},
      {R"({"input":"a")", ""},
      {R"({"input":"a"} x)", ""},
      {R"({"input":"a",})", ""},
      {R"({'input':'a'})", ""},
      {R"({"input":NaN})", ""},
      {R"({"input":[1e999]})", "input"},
      {"{\"input\":\"\xff\"}", ""},          // not UTF-8
      {"{\"input\":\"\xed\xa0\x80\"}", ""},  // a surrogate in UTF-8
      {R"({"input":"\ud800"})", ""},         // half a surrogate pair
      {"{\"input\":\"a\nb\"}", ""},          // a raw control character
      {"{}", "input"},
      {R"({"input":null})", "input"},
      {R"({"input":""})", "input"},
      {R"({"input":[]})", "input"},
      {R"({"input":[[]]})", "input"},
      {R"({"input":["a",""]})", "input"},
      {R"({"input":[[1],[]]})", "input"},
      {R"({"input":5})", "input"},
      {R"({"input":true})", "input"},
      {R"({"input":{}})", "input"},
      {R"({"input":[{}]})", "input"},
      {R"({"input":[true]})", "input"},
      {R"({"input":[null]})", "input"},
      {R"({"input":["a",1]})", "input"},
      {R"({"input":[1,"a"]})", "input"},
      {R"({"input":["a",[1]]})", "input"},
      {R"({"input":[[1],"a"]})", "input"},
      {R"({"input":[["a"]]})", "input"},
      {R"({"input":[[[1]]]})", "input"},
      {R"({"input":["a","b","c","d","e"]})", "input"},
      {R"({"input":[-1]})", "input"},
      {R"({"input":[1000]})", "input"},
      {R"({"input":[1.5]})", "input"},
      {R"({"input":[1.0]})", "input"},
      {R"({"input":[4294967297]})", "input"},
      {R"({"input":[9223372036854775808]})", "input"},
      {R"({"input":[100000000000000000000000000]})", "input"},
      {R"({"input":"a","model":1})", "model"},
      {R"({"input":"a","encoding_format":"int8"})", "encoding_format"},
      {R"({"input":"a","encoding_format":1})", "encoding_format"},
      {R"({"input":"a","dimensions":0})", "dimensions"},
      {R"({"input":"a","dimensions":-1})", "dimensions"},
      {R"({"input":"a","dimensions":1.5})", "dimensions"},
      {R"({"input":"a","dimensions":"64"})", "dimensions"},
      {R"({"input":"a","dimensions":18446744073709551615})", "dimensions"},
      {R"({"input":"a","dimensions":1e999})", "dimensions"},
      {R"({"input":"a","user":7})", "user"},
      {R"({"input":"a","truncate":"yes"})", "truncate"},
      {R"({"input":"a","normalize":1})", "normalize"},
      {R"({"input":"a","truncation_direction":"Middle"})", "truncation_direction"},
  };
  for (const BadBody& row : rows) {
    SCOPED_TRACE(testing::PrintToString(row.body));
    try {
      parse_embeddings(row.body);
      ADD_FAILURE() << "accepted";
    } catch (const RequestError& error) {
      EXPECT_TRUE(error.refusal() == Refusal::kInvalid || error.refusal() == Refusal::kEmpty);
      EXPECT_EQ(error.param(), row.param) << error.what();
      EXPECT_NE(std::string_view(error.what()), "");
    }
  }
}

TEST(EmbeddingsRequest, DepthIsLimited) {
  const auto nested = [](int depth) {
    return "{\"input\":\"a\",\"x\":" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + "}";
  };
  EXPECT_EQ(parse_embeddings(nested(31)).inputs.size(), 1u);
  EXPECT_THROW(parse_embeddings(nested(32)), RequestError);
  EXPECT_THROW(parse_embeddings(nested(100'000)), RequestError);
}

// Decodes RFC 4648 §4 without mercy: whole groups, padding only at the end.
std::string decode_base64(std::string_view text) {
  const std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  EXPECT_EQ(text.size() % 4, 0u);
  std::string out;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    size_t num_digits = 0;
    for (size_t k = 0; k < 4; ++k) {
      group <<= 6;
      if (text[i + k] == '=') continue;
      EXPECT_EQ(num_digits, k);
      EXPECT_NE(alphabet.find(text[i + k]), std::string_view::npos);
      group |= static_cast<uint32_t>(alphabet.find(text[i + k]));
      ++num_digits;
    }
    EXPECT_GE(num_digits, 2u);
    for (size_t k = 0; k + 1 < num_digits; ++k) out += static_cast<char>(group >> (16 - 8 * k));
  }
  return out;
}

std::vector<float> random_vector(size_t size, std::mt19937& random) {
  std::vector<float> out;
  while (out.size() < size) {  // any bits that are a finite number
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(value)) out.push_back(value);
  }
  return out;
}

TEST(EmbeddingsResponse, SaysExactlyWhatWentIn) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (const size_t size : {1, 2, 3, 4, 384}) {
    std::vector<float> first = random_vector(size, random);
    const std::vector<float> second = random_vector(size, random);
    first[0] = size == 1 ? -0.0F : std::numeric_limits<float>::denorm_min();
    for (const auto format : {EncodingFormat::kFloat, EncodingFormat::kBase64}) {
      EmbeddingsResponseWriter writer(format, 2, size);
      writer.add(first, false);
      writer.add(second, true);
      const auto body = json::parse(writer.finish("a \"model\"\n", 17), "response");
      EXPECT_EQ(body.at("object").as_string(), "list");
      EXPECT_EQ(body.at("model").as_string(), "a \"model\"\n");
      EXPECT_EQ(body.at("usage").at("prompt_tokens").as_int64(), 17);
      EXPECT_EQ(body.at("usage").at("total_tokens").as_int64(), 17);
      const auto& data = body.at("data").as_array();
      ASSERT_EQ(data.size(), 2u);
      for (size_t i = 0; i < 2; ++i) {
        const auto& item = data[i].as_object();
        const auto& wanted = i == 0 ? first : second;
        EXPECT_EQ(item.at("object").as_string(), "embedding");
        EXPECT_EQ(item.at("index").as_int64(), static_cast<int64_t>(i));
        EXPECT_EQ(item.contains("truncated"), i == 1);
        if (format == EncodingFormat::kBase64) {
          const std::string bytes = decode_base64(item.at("embedding").as_string());
          EXPECT_EQ(bytes, std::string(reinterpret_cast<const char*>(wanted.data()),
                                       wanted.size() * sizeof(float)));
          continue;
        }
        ASSERT_EQ(item.at("embedding").as_array().size(), size);
        for (size_t k = 0; k < size; ++k) {
          const auto got = static_cast<float>(item.at("embedding").at(k).to_number<double>());
          EXPECT_EQ(got, wanted[k]);  // JSON has no negative zero: readers take -0 as 0
        }
      }
    }
  }
}

// The vectors of RFC 4648 §10 have no float form; this is one that the official client decodes.
TEST(EmbeddingsResponse, Base64IsLittleEndian) {
  EmbeddingsResponseWriter writer(EncodingFormat::kBase64, 1, 2);
  writer.add(std::vector<float>{1.0F, -2.0F}, false);  // 00 00 80 3f 00 00 00 c0
  const std::string body = writer.finish("m", 1);
  EXPECT_NE(body.find(R"("embedding":"AACAPwAAAMA=")"), std::string::npos) << body;
}

}  // namespace
}  // namespace millrace
