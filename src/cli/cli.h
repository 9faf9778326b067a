// The command line: flags into configs, one function a command.
#pragma once

namespace millrace {

// Exit status: 0 well; 1 the work failed; 2 the command line or the config is wrong.
int run_cli(int argc, char** argv);

}  // namespace millrace
