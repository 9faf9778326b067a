// What TEI's routes, and those of Cohere and Jina, take and refuse.
#include "server/tei_types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "server/rerank_types.h"

namespace millrace {
namespace {

using testing::ElementsAre;

constexpr BodyLimits kTeiLimits{.max_inputs = 3, .vocab_size = 1000};

TEST(PredictRequest, TakesATextAPairAndABatch) {
  const auto one = parse_predict_request(R"({"inputs":"a"})", kTeiLimits);
  EXPECT_FALSE(one.batch);
  EXPECT_EQ(std::get<std::string>(one.inputs.at(0)), "a");
  const auto pair = parse_predict_request(R"({"inputs":["a","b"],"raw_scores":true})", kTeiLimits);
  EXPECT_FALSE(pair.batch);
  EXPECT_EQ(std::get<TextPair>(pair.inputs.at(0)).second, "b");
  EXPECT_TRUE(pair.raw_scores);
  const auto batch = parse_predict_request(R"({"inputs":[["a"],["b","c"]]})", kTeiLimits);
  EXPECT_TRUE(batch.batch);
  ASSERT_EQ(batch.inputs.size(), 2u);
  EXPECT_EQ(std::get<TextPair>(batch.inputs[1]).first, "b");
  const auto single = parse_predict_request(R"({"inputs":["a"]})", kTeiLimits);  // as TEI reads it
  EXPECT_FALSE(single.batch);
}

TEST(RerankRequest, ReadsItsFields) {
  const auto request = parse_rerank_request(
      R"({"query":"q","texts":["a","b"],"truncate":true,"truncation_direction":"left",)"
      R"("return_text":true,"model":"m","extra":1})",
      kTeiLimits);
  EXPECT_EQ(request.query, "q");
  EXPECT_THAT(request.texts, ElementsAre("a", "b"));
  EXPECT_EQ(request.text.truncate, true);
  EXPECT_EQ(request.text.truncation_direction, TruncationDirection::kLeft);
  EXPECT_TRUE(request.return_text);
  EXPECT_FALSE(request.raw_scores);
  EXPECT_THAT(request.ignored_fields, ElementsAre("extra"));
}

TEST(RerankDocuments, ReadsBothFormsOfADocumentAndWritesTheAnswer) {
  const auto request = parse_rerank_documents_request(
      R"({"query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true})",
      kTeiLimits);
  EXPECT_THAT(request.documents, ElementsAre("a", "b"));
  EXPECT_EQ(request.top_n, 1u);
  const std::vector<size_t> order = {1};
  const std::vector<float> scores = {0.25F, 0.5F};
  const auto answer =
      json::parse(write_rerank_response(request, order, scores, "m", "id", 7), "answer");
  const auto& result = answer.at("results").at(0);
  EXPECT_EQ(result.at("index").as_int64(), 1);
  EXPECT_EQ(result.at("relevance_score").as_double(), 0.5);
  EXPECT_EQ(result.at("document").at("text").as_string(), "b");
  EXPECT_EQ(answer.at("usage").at("total_tokens").as_int64(), 7);
}

TEST(EmbedRequest, NormalizesUnlessTold) {
  EXPECT_EQ(parse_embed_request(R"({"inputs":"a"})", kTeiLimits).vector.normalize, true);
  EXPECT_EQ(parse_embed_request(R"({"inputs":"a","normalize":false})", kTeiLimits).vector.normalize,
            false);
  EXPECT_EQ(parse_embed_request(R"({"inputs":""})", kTeiLimits).inputs.size(),
            1u);  // unlike OpenAI's
  EXPECT_EQ(
      parse_embed_request(R"({"inputs":"a","prompt_name":"query"})", kTeiLimits).text.prompt_name,
      "query");
}

TEST(SimilarityRequest, ReadsInputsAndParameters) {
  const auto request = parse_similarity_request(
      R"({"inputs":{"source_sentence":"s","sentences":["a","b"]},"parameters":{"truncate":true}})",
      kTeiLimits);
  EXPECT_EQ(request.source_sentence, "s");
  EXPECT_THAT(request.sentences, ElementsAre("a", "b"));
  EXPECT_EQ(request.text.truncate, true);
}

TEST(TokenRequests, TakeOneAndMany) {
  EXPECT_EQ(parse_tokenize_request(R"({"inputs":"a"})", kTeiLimits).inputs.size(), 1u);
  EXPECT_FALSE(parse_tokenize_request(R"({"inputs":["a"],"add_special_tokens":false})", kTeiLimits)
                   .add_special_tokens);
  EXPECT_THAT(parse_decode_request(R"({"ids":[1,2]})", kTeiLimits).ids,
              ElementsAre(ElementsAre(1, 2)));
  EXPECT_EQ(parse_decode_request(R"({"ids":[[1],[2]]})", kTeiLimits).ids.size(), 2u);
}

struct BadTeiBody {
  const char* body;
  const char* param;
  Refusal refusal = Refusal::kInvalid;
};

template <typename Parse>
void expect_tei_refused(const Parse& parse, const std::vector<BadTeiBody>& rows) {
  for (const BadTeiBody& row : rows) {
    SCOPED_TRACE(row.body);
    try {
      parse(row.body, kTeiLimits);
      ADD_FAILURE() << "accepted";
    } catch (const RequestError& error) {
      EXPECT_EQ(error.refusal(), row.refusal);
      EXPECT_EQ(error.param(), row.param) << error.what();
    }
  }
}

TEST(TeiRequests, RefuseBadBodiesAndNameTheField) {
  expect_tei_refused(parse_predict_request, {{"{}", "inputs"},
                                             {R"({"inputs":1})", "inputs"},
                                             {R"({"inputs":[]})", "inputs", Refusal::kEmpty},
                                             {R"({"inputs":[[]]})", "inputs"},
                                             {R"({"inputs":["a","b","c"]})", "inputs"},
                                             {R"({"inputs":[["a","b","c"]]})", "inputs"},
                                             {R"({"inputs":[["a"],"b"]})", "inputs"},
                                             {R"({"inputs":["a",["b"]]})", "inputs"},
                                             {R"({"inputs":[["a"],["a"],["a"],["a"]]})", "inputs"},
                                             {R"({"inputs":"a","raw_scores":1})", "raw_scores"}});
  expect_tei_refused(
      parse_rerank_request,
      {{R"({"texts":["a"]})", "query"},
       {R"({"query":"q"})", "texts"},
       {R"({"query":"q","texts":[]})", "texts", Refusal::kEmpty},
       {R"({"query":["q"],"texts":["a"]})", "query"},
       {R"({"query":"q","texts":"a"})", "texts"},
       {R"({"query":"q","texts":[1]})", "texts"},
       {R"({"query":"q","texts":["a","a","a","a"]})", "texts"},
       {R"({"query":"q","texts":["a"],"truncation_direction":"Up"})", "truncation_direction"}});
  expect_tei_refused(parse_rerank_documents_request,
                     {{R"({"query":"q"})", "documents"},
                      {R"({"query":"q","documents":[]})", "documents", Refusal::kEmpty},
                      {R"({"query":"q","documents":[{"title":"a"}]})", "documents"},
                      {R"({"query":"q","documents":["a"],"top_n":0})", "top_n"}});
  expect_tei_refused(
      parse_similarity_request,
      {{"{}", "inputs"},
       {R"({"inputs":"a"})", "inputs"},
       {R"({"inputs":{"sentences":["a"]}})", "inputs.source_sentence"},
       {R"({"inputs":{"source_sentence":"s","sentences":[]}})", "inputs.sentences",
        Refusal::kEmpty},
       {R"({"inputs":{"source_sentence":"s","sentences":["a","b","c"]}})", "inputs"},
       {R"({"inputs":{"source_sentence":"s","sentences":["a"]},"parameters":1})", "parameters"},
       {R"({"inputs":{"source_sentence":"s","sentences":["a"]},)"
        R"("parameters":{"truncate":1}})",
        "parameters.truncate"}});
  expect_tei_refused(parse_tokenize_request,
                     {{R"({"inputs":[1]})", "inputs"},
                      {R"({"inputs":[]})", "inputs", Refusal::kEmpty},
                      {R"({"inputs":"a","add_special_tokens":"no"})", "add_special_tokens"}});
  expect_tei_refused(parse_decode_request, {{"{}", "ids"},
                                            {R"({"ids":5})", "ids"},
                                            {R"({"ids":[]})", "ids", Refusal::kEmpty},
                                            {R"({"ids":[[]]})", "ids"},
                                            {R"({"ids":[1000]})", "ids"},
                                            {R"({"ids":[-1]})", "ids"},
                                            {R"({"ids":[[1],2]})", "ids"}});
}

}  // namespace
}  // namespace millrace
