// Tokenization on one thread: short texts per second, bytes per second on longer ones.
//
//   bench_text [--benchmark_filter=...], with MILLRACE_TOKENIZER=<a tokenizer.json> for another
//   model
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "text/tokenizer.h"

namespace millrace {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = [] {
    const char* named = std::getenv("MILLRACE_TOKENIZER");
    return Tokenizer::from_file(named ? named
                                      : std::string(MILLRACE_SOURCE_DIR) +
                                            "/tests/golden/bert_mean/tokenizer.json");
  }();
  return loaded;
}

std::string text_of(size_t num_bytes) {
  static constexpr std::string_view kSentence =
      "The mill stands where two streams meet, and the wheel turns slowly all night. ";
  std::string text;
  while (text.size() < num_bytes) text += kSentence;
  text.resize(num_bytes);
  return text;
}

void run(benchmark::State& state, const std::string& text, const EncodeOptions& options) {
  int num_tokens = 0;
  for (auto _ : state) num_tokens = tokenizer().encode(text, options).num_tokens_untruncated;
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.counters["tokens"] = num_tokens;
}

void ShortText(benchmark::State& state) {
  run(state, "how tall is it?", {.max_tokens = 256});
}
BENCHMARK(ShortText);

void LongText(benchmark::State& state) {
  run(state, text_of(static_cast<size_t>(state.range(0))), {});
}
BENCHMARK(LongText)->Arg(100)->Arg(1'000)->Arg(10'000)->Arg(1'000'000);

// An over-long text costs its whole length: its token count is promised to the client.
void TruncatedText(benchmark::State& state) {
  run(state, text_of(100'000), {.max_tokens = 256});
}
BENCHMARK(TruncatedText);

void LongTextWithOffsets(benchmark::State& state) {
  run(state, text_of(10'000), {.offsets = OffsetUnit::kCharacters});
}
BENCHMARK(LongTextWithOffsets);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
