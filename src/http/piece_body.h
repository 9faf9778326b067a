// A body for Beast's parser that is collected, or handed out piece by piece as it arrives.
// Internal to src/http: includes Beast.
#pragma once

#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "http/message.h"

namespace millrace::http {

// Status and headers, as our type.
inline Response head_of(const boost::beast::http::response_header<>& head) {
  Response out{.status = static_cast<int>(head.result_int())};
  for (const auto& field : head) {
    out.headers.add(std::string(field.name_string()), std::string(field.value()));
  }
  return out;
}

struct PieceBody {
  struct value_type {
    const BodyHooks* hooks = nullptr;
    std::string collected;  // where no hook takes it
    bool told_head = false;
    bool declined = false;  // by on_body
  };

  class reader {
   public:
    template <bool kRequest, typename Fields>
    reader(boost::beast::http::header<kRequest, Fields>& head, value_type& body) : body_(body) {
      // The other headers that Beast's concepts try never come here.
      if constexpr (!kRequest && std::is_same_v<Fields, boost::beast::http::fields>) head_ = &head;
    }

    void init(const boost::optional<std::uint64_t>&, boost::system::error_code& ec) {
      ec = {};
      if (!body_.hooks || !body_.hooks->on_head) return;
      body_.told_head = true;
      body_.hooks->on_head(head_of(*head_));
    }

    template <typename Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& ec) {
      ec = {};
      size_t count = 0;
      for (const auto buffer : boost::beast::buffers_range_ref(buffers)) {
        const std::string_view piece(static_cast<const char*>(buffer.data()), buffer.size());
        count += piece.size();
        if (!body_.hooks || !body_.hooks->on_body) {
          body_.collected += piece;
        } else if (!body_.hooks->on_body(piece)) {
          body_.declined = true;
          ec = boost::beast::http::error::short_read;
          break;
        }
      }
      return count;
    }

    void finish(boost::system::error_code& ec) { ec = {}; }

   private:
    value_type& body_;
    const boost::beast::http::response_header<>* head_ = nullptr;
  };
};

}  // namespace millrace::http
