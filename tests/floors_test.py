"""The floors check finds planted violations, and only those."""

import importlib.machinery
import importlib.util
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "check_floors"

# file, its text, part of the expected complaint (None: in order)
CASES = [
    ("base/a.h", "#include <string>\n", None),
    ("server/a.cpp", '#include "runtime/engine_core.h"\n', None),
    ("ops/cpu/a.cpp", '#include "ops/ops.h"\n#include "kernels/cpu/gemm.h"\n', None),
    ("http/a.cpp", "#include <boost/beast/http.hpp>\n", None),
    ("checkpoint/a.cpp", '#include "base/json.h"\n#include <boost/json.hpp>\n', None),
    ("server/types.h", '#include "base/json.h"\n', None),
    ("layers/CMakeLists.txt", "millrace_library(layers DEPS base ops fmt::fmt)\n", None),
    ("base/a.h", '\n#include "tensor/tensor.h"\n', "base/a.h:2: base (floor 0) includes tensor/tensor.h"),
    ("text/a.cpp", '#include "checkpoint/safetensors.h"\n', "text (floor 3) includes checkpoint"),
    ("runtime/a.h", '  #  include "server/routes.h"\n', "runtime (floor 7) includes server"),
    ("models/a.cpp", '#include "models/a.h"\n#include "build/builder.h"\n', "a.cpp:2: models"),
    ("runtime/a.cpp", "#include <boost/beast/core.hpp>\n", "Beast"),
    ("cli/a.cpp", "#include <boost/asio.hpp>\n", "Beast and Asio"),
    ("checkpoint/a.h", "#include <boost/json.hpp>\n", "JSON headers"),
    ("config/a.h", '#include "base/json.h"\n', "JSON headers"),
    ("models/a.cpp", "#include <cuda_runtime.h>\n", "CUDA headers"),
    ("server/a.cpp", '#include "millrace_bridge.h"\n', "bridge"),
    ("utils/a.cpp", "\n", "folder utils has no floor"),
    ("base/a.h", "namespace a {\nstruct X {\n};\nstruct X;\n}  // namespace a\nnamespace b {\nstruct X {\n};\n}  // namespace b\n", None),
    ("base/a.h", "namespace a {\nstruct X::Impl {\n};\nnamespace {\nstruct X {};\n}  // namespace\nclass X : Y {\n", None),
    ("base/a.h", "namespace a {\nstruct X {};\nnamespace b {\n}  // namespace b\nclass X : public Y,\n", "a.h:5: a::X is the name"),
    ("kernels/CMakeLists.txt", "millrace_library(kernels/cpu DEPS base\n  ops)\n", "kernels links ops"),
]


class FloorsTest(unittest.TestCase):
    def test_cases(self):
        for name, text, complaint in CASES:
            with self.subTest(name=name, text=text), tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.parent.mkdir(parents=True)
                path.write_text(text)
                run = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)
                self.assertEqual(run.returncode, 1 if complaint else 0, run.stdout + run.stderr)
                if complaint:
                    self.assertEqual(len(run.stdout.splitlines()), 1, run.stdout)
                    self.assertIn(complaint, run.stdout)

    def test_architecture_page_shows_the_same_table(self):
        loader = importlib.machinery.SourceFileLoader("check_floors", str(SCRIPT))
        check_floors = importlib.util.module_from_spec(
            importlib.util.spec_from_loader(loader.name, loader))
        sys.dont_write_bytecode = True
        loader.exec_module(check_floors)
        page = (ROOT / "docs" / "architecture.md").read_text()
        rows = re.findall(r"^\| (\d) \| `(\w+)` \|", page, re.MULTILINE)
        self.assertEqual({folder: int(floor) for floor, folder in rows}, check_floors.FLOORS)


if __name__ == "__main__":
    unittest.main()
