// The routes of the tokenizer, in TEI's way: /tokenize of encoders, /decode of all models.
#pragma once

#include "server/endpoints.h"

namespace millrace {

class Service;

// The text of such answers has many times the bytes of the request. Throws RequestError.
void require_answer_size(const std::string& answer, int64_t max_bytes);

// Throw RequestError.
void answer_tei_tokenize(const Service& service, const ExchangePtr& exchange);
void answer_decode(const Service& service, const ExchangePtr& exchange);

}  // namespace millrace
