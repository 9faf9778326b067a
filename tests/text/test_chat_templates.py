"""Chat templates render as transformers renders them: llama.cpp's collection, a corpus of chats, equal or both refused.

The templates are read from llama-cpp-python's source package, which pip fetches once (77 MB, .cache/). They are
not part of this repository.
"""

import datetime
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chat_corpus import requests  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MILLRACE_RENDER_CHAT", ROOT / "build" / "render_chat"))
PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
NOW = datetime.datetime(2031, 5, 7, 15, 4, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def fetch_package():
    """The path of the source package, in a cache that the repository ignores."""
    cache = ROOT / ".cache" / "packages"
    path = cache / f"{PACKAGE.replace('-', '_')}-{VERSION}.tar.gz"
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    wanted = cache / "chat-templates.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
         "--no-binary", PACKAGE, "--require-hashes", "-r", wanted, "-d", cache], capture_output=True, text=True)
    if done.returncode or not path.is_file():
        message = f"{PACKAGE} {VERSION} cannot be had, and with it the templates: {done.stderr[-300:]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


@pytest.fixture(scope="module")
def templates():
    with tarfile.open(fetch_package()) as package:
        found = {}
        for member in package:
            name = member.name
            if "/models/templates/" in name and name.endswith(".jinja"):
                found[Path(name).stem] = package.extractfile(member).read().decode()
    assert len(found) >= 60
    return found


@pytest.fixture(scope="module")
def reference():
    """What transformers makes of a request: ("text", it), or ("refused", why)."""
    import transformers
    from tokenizers import Tokenizer, models
    from transformers.utils import chat_template_utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Clock
    stub = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>")), **TOKENS)

    def render(template, request):
        request = dict(request)
        try:
            return "text", stub.apply_chat_template(
                request.pop("messages"), chat_template=template, tokenize=False,
                **request.pop("chat_template_kwargs", {}), **request)
        except Exception as error:  # whatever Python raises inside a template
            return "refused", f"{type(error).__name__}: {error}"

    return render


class Renderer:
    """Our renderer, a program that answers line by line."""

    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def open(self, template, **members):
        config = json.dumps(dict(TOKENS, chat_template=template))
        return self.ask(files={"tokenizer_config.json": config}, **members)

    def render(self, request, **members):
        line = dict(members, local_seconds=int((NOW - datetime.datetime(1970, 1, 1)).total_seconds()))
        for key, value in request.items():
            text = key in ("messages", "tools", "documents", "chat_template_kwargs")
            line[key] = json.dumps(value, ensure_ascii=False) if text else value
        return self.ask(**line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


@pytest.fixture
def renderer():
    running = Renderer()
    yield running
    running.close()


def compare(renderer, reference, template):
    """Counts of (equal, both refused), and the requests where the two differ."""
    opened = renderer.open(template)
    assert "error" not in opened, opened
    equal, refused, different = 0, 0, []
    for name, request in requests():
        kind, expected = reference(template, request)
        made = renderer.render(request)
        if kind == "text" and made.get("text") == expected:
            equal += 1
        elif kind == "refused" and "error" in made:
            refused += 1
        else:
            different.append((name, (kind, expected), made))
    return equal, refused, different


def test_every_template_renders_as_in_transformers(templates, reference, renderer):
    lines, wrong = [], []
    for name, template in sorted(templates.items()):
        equal, refused, different = compare(renderer, reference, template)
        lines.append(f"{name:55} {equal:4} equal {refused:4} both refuse {len(different):4} differ")
        wrong += [(name, *entry) for entry in different]
    print("\n" + "\n".join(lines))
    samples = {(name, str(made)[:40]): entry for entry in reversed(wrong) for name, made in [(entry[0], entry[3])]}
    for name, request, expected, made in samples.values():
        print(f"\n{name}: {request}\n  transformers: {expected}\n  ours:         {made}")
    assert not wrong, f"{len(wrong)} renderings differ"
