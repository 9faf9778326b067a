// Generation: one request's way through a generator, from prompts in tokens to an answer, whole or
// streamed.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "http/exchange.h"
#include "server/choice.h"
#include "server/generation_metrics.h"
#include "server/generation_options.h"

namespace millrace {

class GeneratorEndpoints;
class Service;

// Used on an HTTP worker: make it, add() each prompt, run(). What they throw answers the request.
// The engine's thread only hands chunks over; workers make text and JSON of them, one at a time.
// Lives in a shared_ptr, which the engine holds while it works on the request.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Throws RequestError: kTimeout, kInvalid.
  Generation(GeneratorEndpoints& endpoints, std::shared_ptr<http::Exchange> exchange,
             GenerationOptions options);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // The next prompt, which fits; `echo` comes before its output. Takes a place among the requests
  // in work until the answer is given: throws RequestError{kOverloaded}.
  void add(std::vector<int32_t> prompt, std::string echo, int64_t max_tokens, bool inside_text);

  // Submits the prompts, and answers as chunks come.
  void run(std::unique_ptr<AnswerWriter> writer);

 private:
  // A prompt and what it is answered with.
  struct Prompt {
    std::vector<int32_t> tokens;
    std::string echo;
    int64_t max_tokens = 0;  // 0: what is drawn is not shown
    std::vector<Choice> choices;
    std::vector<Clock::time_point> last_token_at;  // of each choice
    std::vector<bool> opened;                      // of each choice: its first chunk was written
    std::vector<AnswerToken> logprobs;             // of the prompt's tokens, where asked for
    std::shared_ptr<RequestHandle> handle;
    GenerationTimes times;
    int64_t num_cached_tokens = 0;
    size_t num_open = 0;  // choices that have not finished
  };
  struct Arrived {
    size_t prompt = 0;
    GenerationChunk chunk;
    Clock::time_point at;
  };

  GenerationRequest request_of(size_t index);
  void start_stream();
  void arrive(size_t prompt, GenerationChunk chunk);  // on the engine's thread
  void work();                                        // on a worker, one at a time
  void take(Arrived& arrived);
  void begin(Prompt& prompt, GenerationChunk& chunk);
  void observe(Prompt& prompt, size_t choice, Clock::time_point at);
  void end_choice(Prompt& prompt, size_t choice);
  void tell_news();
  void tell(Prompt& prompt, size_t choice);
  void finish();
  void answer_whole();
  void fail(const std::exception_ptr& error);
  void give_up();  // nobody waits any more
  bool reserve(size_t more_bytes);
  AnswerUsage usage() const;
  size_t index_of(const Prompt& prompt, size_t choice) const;

  GeneratorEndpoints& endpoints_;
  Service& service_;
  std::shared_ptr<http::Exchange> exchange_;
  std::shared_ptr<http::ResponseStream> stream_;
  GenerationOptions options_;
  std::unique_ptr<AnswerWriter> writer_;
  std::vector<Prompt> prompts_;
  size_t num_open_ = 0;        // prompts that have not finished
  size_t num_slots_ = 0;       // held
  size_t held_bytes_ = 0;      // of an answer in the making
  size_t reserved_bytes_ = 0;  // for it, among those of all requests
  Clock::time_point deadline_;
  bool ended_ = false;  // answered, or given up

  std::mutex mutex_;
  std::vector<Arrived> arrived_;  // guarded by mutex_, as the next
  bool working_ = true;           // work() runs or will; nothing is worked on before run() says
};

}  // namespace millrace
