// millrace chat: a conversation on the terminal.
#pragma once

namespace CLI {
class App;
}  // namespace CLI

namespace millrace {

// Adds the subcommand; running it sets `status`. Both arguments outlive the parsing.
void add_chat_command(CLI::App& app, int& status);

}  // namespace millrace
