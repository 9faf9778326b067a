// AccessLog: one line for each answered request, without what it carried.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "http/server.h"

namespace millrace {

class AccessLog {
 public:
  AccessLog(log::Form form, std::string model);

  void write(const http::AccessRecord& record) const;  // any thread

 private:
  void write_json(const http::AccessRecord& record) const;

  log::Form form_;
  std::string model_;
  std::shared_ptr<spdlog::logger> json_;  // writes whole lines as they are
};

}  // namespace millrace
